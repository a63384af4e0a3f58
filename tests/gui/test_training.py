"""Training from a real window: started, watched to its end, and attached to again after the window was killed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from made_runs import write_clips
from napari_window import OUTPUT, Window, close, started_here, wait, wait_until
from PIL import Image

from flowcut_napari.core.run_control import last_start
from flowcut_napari.core.run_list import list_runs

pytestmark = [pytest.mark.gui, pytest.mark.timeout(600)]
_CHANGES = (("run.log_every", "1"), ("loss.points", "32"), ("run.preview_every", "2"))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clips(tmp_path_factory.mktemp("clips"))


def start(window: Window, dataset: Path, run: Path, steps: int) -> None:
    """Start a run by the controls of the Train tab."""
    panel = window.panel
    panel.pages.show_page(panel.training)
    controller = panel.training.train.controller
    wait_until(lambda: controller.about, "an answer of the interpreter", 90)
    for name, text in (("train dataset", str(dataset)), ("run folder", str(run))):
        line = window.find(name)
        line.setText(text)
        line.editingFinished.emit()
    box = window.find("configuration")
    box.setCurrentText("tiny")
    box.activated.emit(box.currentIndex())
    for name, text in (*_CHANGES, ("optimizer.steps", str(steps))):
        controller.change(name, text)
    wait_until(lambda: controller.findings.dataset and not controller.findings.is_checking, "a check", 90)
    window.click("start training")


def state(run: Path) -> str:
    found = list_runs(run) if run.is_dir() else ()
    return found[0].state.state if found else "none"


def screenshot(window: Window, name: str) -> Any:
    wait(300)
    picture = window.viewer.screenshot(canvas_only=False, flash=False)
    OUTPUT.mkdir(exist_ok=True)
    Image.fromarray(picture).save(OUTPUT / f"{name}.png")
    return picture


def test_a_run_is_started_and_watched_to_its_end(window: Window, dataset: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    start(window, dataset, run, steps=6)
    training = window.panel.training
    assert training.tabs.tabText(training.tabs.currentIndex()) == "Watch"
    wait_until(lambda: state(run) == "done", "its end", 240)
    watch = training.watch.controller
    wait_until(lambda: watch.watched is not None and watch.state.state == "done", "its end shown")
    view = watch.watched.view
    assert view.figure("loss").shape == (6,)
    assert [preview.step for preview in view.previews] == [2, 4, 6]
    screenshot(window, "training done")
    # It is in the list of runs, and can be predicted with.
    training.show_tab("Runs")
    wait_until(lambda: training.runs.table.model().rowCount() == 1, "the list of runs")
    # Nothing of it is left.
    wait_until(lambda: not window.panel.training.train.controller.launcher.at_work, "its process gone")


_WINDOW = """
import sys
import napari
from qtpy.QtCore import QTimer
from flowcut_napari.widgets.menu import show_panel
viewer = napari.Viewer(show=True)
panel = show_panel(viewer)
controller = panel.training.train.controller
controller.ask()

def start():
    if controller.about is None:
        return
    timer.stop()
    for name, value in (("configuration", "tiny"), ("dataset", sys.argv[1]), ("run", sys.argv[2])):
        controller.edit(name, value)
    for name, text in (("run.log_every", "1"), ("loss.points", "32"), ("optimizer.steps", "100000")):
        controller.change(name, text)
    panel.training.train.start()

timer = QTimer()
timer.timeout.connect(start)
timer.start(100)
napari.run()
"""


def test_a_window_that_is_killed_leaves_its_run_and_the_next_one_attaches_to_it(
    windows: Callable[[], Window], dataset: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    script = tmp_path / "window.py"
    script.write_text(_WINDOW)
    first = subprocess.Popen([sys.executable, str(script), str(dataset), str(run)])
    try:
        wait_until(lambda: state(run) == "running" and list_runs(run)[0].state.step >= 2, "a run", 240)
        first.kill()
        first.wait()
        before = list_runs(run)[0].state.step
        window = windows()
        wait_until(lambda: window.panel.session.offers.items, "an offer", 60)
        assert "still being trained" in window.panel.session.offers.items[-1].text
        window.click("watch_run")
        training = window.panel.training
        assert window.panel.pages.current is training
        watch = training.watch.controller
        wait_until(lambda: watch.state.state == "running" and watch.state.step > before, "it going on", 90)
        screenshot(window, "training attached")
        window.click("stop_run")
        wait_until(lambda: watch.state.state == "stopped", "its end", 120)
        wait_until(lambda: not [one for one in started_here() if one.pid != os.getpid()], "all processes gone", 30)
    finally:
        first.kill()
        start_event = last_start(run)
        if start_event is not None and start_event.pid is not None and psutil.pid_exists(start_event.pid):
            os.kill(start_event.pid, 9)


def test_closing_the_window_asks_what_becomes_of_the_run(
    windows: Callable[[], Window], dataset: Path, tmp_path: Path
) -> None:
    from qtpy.QtCore import QTimer
    from qtpy.QtWidgets import QApplication, QMessageBox

    run, window = tmp_path / "run", windows()
    start(window, dataset, run, steps=100000)
    wait_until(lambda: state(run) == "running", "it at work", 120)
    said: list[str] = []

    def answer(name: str) -> Callable[[], None]:
        def press() -> None:
            box = next(one for one in QApplication.topLevelWidgets() if one.objectName() == "close while training")
            assert isinstance(box, QMessageBox)
            said.append(box.text())
            next(button for button in box.buttons() if button.objectName() == name).click()

        return press

    main = window.viewer.window._qt_window
    QTimer.singleShot(500, answer("stay"))
    main.close()
    wait(200)
    assert main.isVisible() and said == ["Training goes on: run"] and state(run) == "running"
    QTimer.singleShot(500, answer("stop runs"))
    main.close()
    assert state(run) == "stopped" and len(said) == 2


def test_a_program_that_closes_the_viewer_is_asked_nothing_and_its_run_is_stopped(
    windows: Callable[[], Window], dataset: Path, tmp_path: Path
) -> None:
    run, window = tmp_path / "run", windows()
    start(window, dataset, run, steps=100000)
    wait_until(lambda: state(run) == "running", "it at work", 120)
    close(window.viewer)
    wait_until(lambda: state(run) == "stopped", "its end", 30)
