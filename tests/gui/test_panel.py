"""The panel in a real window: what is seen, what survives, and that nothing outlives it."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from conftest import write_frames
from napari_window import Window, close, layer_names, of_module, settle, shown_masks, started_here, wait, wait_until

import flowcut_napari

pytestmark = pytest.mark.gui

CUTTER = "flowcut_napari.live.cutter"
WHOLE_RUN = "flowcut_napari.live.whole_run"
# The preset takes up to three cuts.
OURS = {"toys", "flow", "masks", "seeds", *(f"{role} {n}" for role in ("eigenvector", "cut") for n in (1, 2, 3))}


def test_all_layers_of_the_sample_share_one_time_axis(window: Window) -> None:
    window.open_sample()
    wait_until(lambda: set(layer_names(window.viewer)) == OURS, "all layers")
    assert window.viewer.dims.ndim == 3
    assert window.viewer.dims.nsteps[0] == 24
    for layer in window.viewer.layers:
        if layer.name != "seeds":  # points are where they are
            assert layer.extent.world[:, 0].tolist() == [0, 23], layer.name
        # Coarse layers cover the same pixels as the frame, from edge to edge.
        if layer.name in ("flow", "eigenvector 1", "cut 1", "masks"):
            edges = layer._extent_world_augmented[:, 1:]
            np.testing.assert_allclose(edges, [[-0.5, -0.5], [359.5, 639.5]], atol=1e-3)
    assert shown_masks(window.viewer).any()


def test_every_step_of_the_time_axis_gets_masks_of_its_own(window: Window) -> None:
    window.open_sample()
    window.viewer.dims.set_current_step(0, 4)
    settle(window.bench)
    first = shown_masks(window.viewer)
    window.viewer.dims.set_current_step(0, 20)
    assert window.bench.frame == 20
    settle(window.bench)
    later = shown_masks(window.viewer)
    assert later.any()
    assert (first != later).mean() > 0.01
    window.viewer.dims.set_current_step(0, 4)
    # What was known is there at once.
    assert window.bench.results.is_complete(4)
    np.testing.assert_array_equal(shown_masks(window.viewer), first)


def test_moving_a_slider_changes_the_masks_in_the_canvas(window: Window) -> None:
    window.open_sample()
    before = shown_masks(window.viewer)
    picture = window.viewer.screenshot(canvas_only=True, flash=False)
    window.find("alpha").setValue(1.0)
    assert window.bench.parameters.alpha == 1.0
    settle(window.bench)
    assert (shown_masks(window.viewer) != before).mean() > 0.01
    assert (window.viewer.screenshot(canvas_only=True, flash=False) != picture).mean() > 0.001


def close_dock(window: Window) -> None:
    """Close the panel by the X of its dock, as a user does."""
    from qtpy.QtWidgets import QDockWidget

    dock = window.panel
    while not isinstance(dock, QDockWidget):
        dock = dock.parent()
    dock.titleBarWidget().close_button.click()


def listeners(window: Window) -> dict[str, int]:
    """Count who listens to the viewer and to the workbench."""
    viewer, bench = window.viewer, window.bench
    events = {name: getattr(viewer.layers.events, name) for name in ("inserted", "removed", "reordered")}
    events["current_step"] = viewer.dims.events.current_step
    found = {name: len(event.callbacks) for name, event in events.items()}
    found |= {"drag": len(viewer.mouse_drag_callbacks), "move": len(viewer.mouse_move_callbacks)}
    signals = ("video_changed()", "parameters_changed()", "frame_changed()", "answered(QString)", "remarked(QString)")
    return found | {signal: bench.receivers(f"2{signal}") for signal in signals}  # 2 is how Qt marks a signal


def test_closing_and_reopening_the_panel_doubles_nothing(window: Window) -> None:
    from flowcut_napari.widgets.menu import show_panel

    viewer, bench = window.viewer, window.bench
    window.open_sample()
    wait_until(lambda: set(layer_names(viewer)) == OURS, "all layers")
    names, before = layer_names(viewer), listeners(window)
    assert before["answered(QString)"] > 1
    for turn in range(3):
        old = window.panel
        close_dock(window)
        wait_until(lambda: not of_module(CUTTER), "nothing computes without a panel", 10)
        wait(50)
        assert bench.receivers("2answered(QString)") == 0
        with pytest.raises(RuntimeError, match="deleted"):
            old.isVisible()
        window.panel = show_panel(viewer)
        assert window.bench is bench
        window.find("tau").setValue(0.5 + 0.05 * turn)
        settle(bench)
        assert len(of_module(CUTTER)) == 1
    assert layer_names(viewer) == names
    assert listeners(window) == before

    answers: list[str] = []
    bench.answered.connect(answers.append)
    window.find("tau").setValue(0.2)
    settle(bench)
    wait(200)
    assert sorted(what for what in answers if what in ("cuts", "masks")) == ["cuts", "masks"]


def test_two_windows_share_nothing(windows: Callable[[], Window], tmp_path: Path) -> None:
    one, two = windows(), windows()
    one.open_sample()
    two.panel.open(str(write_frames(tmp_path / "squares", 6)))
    wait_until(lambda: two.bench.video is not None, "the other video")
    settle(two.bench)
    assert one.bench.live.pid != two.bench.live.pid
    frame = one.bench.frame
    two.find("tau").setValue(0.9)
    two.viewer.dims.set_current_step(0, 5)
    settle(two.bench)
    assert (one.bench.parameters.tau, one.bench.frame) == (0.45, frame)
    assert one.find("tau").value() == 0.45
    assert two.find("tau").value() == 0.9
    assert "toys" not in layer_names(two.viewer)
    assert "squares" not in layer_names(one.viewer)
    close(two.viewer)
    # The one that is left works on.
    one.find("tau").setValue(0.6)
    settle(one.bench)
    assert shown_masks(one.viewer).any()


def test_a_computing_process_that_dies_is_replaced_and_nothing_is_lost(window: Window) -> None:
    bench = window.bench
    window.open_sample()
    window.find("tau").setValue(0.5)
    settle(bench)
    masks, names, dead = shown_masks(window.viewer), layer_names(window.viewer), bench.live.pid
    os.kill(dead, signal.SIGKILL)
    wait_until(lambda: bench.live.pid not in (None, dead), "another process")
    assert "SIGKILL" in window.find("remark").text()
    assert "\n" not in window.find("remark").text()
    assert window.find("remark").isVisible()
    assert not window.find("notice").isVisible()
    assert bench.parameters.tau == window.find("tau").value() == 0.5
    assert layer_names(window.viewer) == names
    np.testing.assert_array_equal(shown_masks(window.viewer), masks)
    window.find("alpha").setValue(1.0)
    settle(bench)
    assert (shown_masks(window.viewer) != masks).any()


def test_after_four_deaths_in_a_minute_a_button_starts_it_again(window: Window) -> None:
    bench = window.bench
    window.open_sample()
    for _ in range(4):
        wait_until(lambda: bench.live.pid is not None, "a process to kill")
        pid = bench.live.pid
        # In the middle of its work.
        window.find("tau").setValue(bench.parameters.tau + 0.02)
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda pid=pid: bench.live.pid != pid, "its end is noticed")
    wait_until(window.find("notice").isVisible, "a notice")
    wait(300)
    assert bench.live.pid is None
    assert not started_here()
    assert window.find("retry").text() == "Start again"
    window.click("retry")
    settle(bench)
    assert not window.find("notice").isVisible()
    assert shown_masks(window.viewer).any()


# The Run tab.


def show_run_tab(window: Window, out: Path) -> None:
    window.show_tab("Run")
    window.find("out").setText(str(out))
    window.find("workers").setValue(2)


def test_a_run_over_all_frames_writes_what_the_copied_command_writes(window: Window, tmp_path: Path) -> None:
    window.open_sample()
    window.find("alpha").setValue(0.9)
    window.find("max_instances").setValue(2)
    window.find("height").setValue(180)
    window.find("width").setValue(320)
    settle(window.bench)
    show_run_tab(window, tmp_path / "out")
    window.click("run")
    run = window.panel.run.controller
    seen = set()
    run.changed.connect(lambda: seen.add(run.progress.state))
    wait_until(lambda: not run.progress.is_going_on, "the end of the run", 90)
    assert run.progress.state == "done", run.progress
    assert "running" in seen
    assert window.find("progress").value() == window.find("progress").maximum() == 24
    assert window.find("open_folder").isVisible()
    command = shlex.split(window.panel.tune.controller.command())
    assert command[:2] == ["flowcut", "masks"]
    assert command[-2:] == ["--size", "180x320"]
    subprocess.run(
        [sys.executable, "-m", "flowcut_napari", *command[1:]],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        timeout=120,
    )
    from_window, from_command = (
        json.loads((tmp_path / folder / "toys.masks.json").read_text()) for folder in ("out", "masks")
    )
    for made in (from_window, from_command):
        assert made["provenance"].pop("created")
        assert made["provenance"].pop("seconds") > 0
    assert from_window == from_command
    # What is in the file is what is shown where nobody has looked yet.
    wait_until(lambda: window.bench.results.saved is not None, "the file taken up")
    window.viewer.dims.set_current_step(0, 20)
    assert shown_masks(window.viewer).any()


def test_a_cancelled_run_ends_all_its_processes_and_leaves_no_file(window: Window, tmp_path: Path) -> None:
    window.open_sample()
    show_run_tab(window, tmp_path / "out")
    run = window.panel.run.controller
    window.click("run")
    assert not window.find("run").isEnabled()
    wait_until(lambda: run.progress.done >= 2, "some frames", 60)
    before = len(started_here())
    (process,) = of_module(WHOLE_RUN)
    group = [process, *process.children(recursive=True)]
    assert len(group) >= 3
    window.click("cancel")
    assert run.progress.state == "cancelled"
    assert "nothing was written" in window.find("run text").text()
    wait_until(lambda: not any(one.is_running() for one in group), "all processes of the run gone", 6)
    assert len(started_here()) <= before - len(group)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    # And it can be started again.
    assert window.find("run").isEnabled()
    window.click("run")
    wait_until(lambda: run.progress.state == "running", "a second run", 60)
    window.click("cancel")


def test_a_run_that_is_killed_says_so(window: Window, tmp_path: Path) -> None:
    window.open_sample()
    show_run_tab(window, tmp_path / "out")
    run = window.panel.run.controller
    window.click("run")
    wait_until(lambda: run.progress.done >= 1, "a frame", 60)
    (process,) = of_module(WHOLE_RUN)
    group = [process, *process.children(recursive=True)]
    process.kill()
    wait_until(lambda: run.progress.state == "failed", "the failure", 10)
    assert "SIGKILL" in window.find("run text").text()
    wait_until(lambda: not any(one.is_running() for one in group), "its workers gone", 6)
    assert not list((tmp_path / "out").glob("*.masks.json"))


def test_closing_the_window_in_the_middle_of_a_run_leaves_no_process(window: Window, tmp_path: Path) -> None:
    window.open_sample()
    show_run_tab(window, tmp_path / "out")
    window.click("run")
    wait_until(lambda: window.panel.run.controller.progress.done >= 1, "a frame", 60)
    close(window.viewer)
    wait_until(lambda: not started_here(), "all processes gone", 6)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


_WINDOW_AT_WORK = """
import sys
from pathlib import Path
import napari
from qtpy.QtCore import QTimer
from flowcut_napari.commands.gui import open_panel
from flowcut_napari.core.sample import sample_folder

viewer = napari.Viewer()
panel = open_panel(viewer, str(sample_folder()))

def begin():
    if panel.bench.video is None or panel.bench.work:
        QTimer.singleShot(50, begin)
        return
    panel.run.out.setText(sys.argv[1])
    panel.run.run()

def tell():
    if panel.run.controller.progress.done == 2:
        print("torch" in sys.modules, flush=True)

panel.run.controller.changed.connect(tell)
begin()
napari.run()
"""


@pytest.mark.usefixtures("nothing_is_left")
def test_a_window_that_is_killed_leaves_no_process_and_never_had_torch(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _WINDOW_AT_WORK, str(tmp_path / "out")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as window:
        assert window.stdout is not None
        assert window.stdout.readline() == "False\n"
        # The window, what follows the sliders and its helper, the run and its workers.
        assert of_module(CUTTER)
        assert of_module(WHOLE_RUN)
        window.kill()
    wait_until(lambda: not started_here(), "all processes gone", 8)
    assert [path for path in tmp_path.rglob("*.masks.json") if path.is_file()] == []


@pytest.mark.usefixtures("nothing_is_left")
def test_flowcut_gui_opens_a_window_and_leaves_no_process_when_it_is_killed(sample_clip: Path) -> None:
    with subprocess.Popen([sys.executable, "-m", "flowcut_napari", "gui", str(sample_clip)]) as window:
        wait_until(lambda: of_module(CUTTER) and len(started_here()) > 2, "the window computes", 60)
        assert window.poll() is None
        window.kill()
    wait_until(lambda: not started_here(), "all processes gone", 8)


# The probe.


def click_canvas(viewer: Any) -> None:
    """Click in the middle of the canvas."""
    from qtpy.QtCore import Qt
    from qtpy.QtTest import QTest

    canvas = viewer.window._qt_viewer.canvas.native
    QTest.mouseMove(canvas, canvas.rect().center())
    wait(30)
    QTest.mouseClick(canvas, Qt.MouseButton.LeftButton, pos=canvas.rect().center())


def test_a_click_with_the_probe_shows_what_hangs_together_with_a_patch(window: Window) -> None:
    viewer = window.viewer
    window.open_sample()
    window.show_tab("Probe")
    click_canvas(viewer)
    wait(200)
    assert "affinity (fused)" not in layer_names(viewer)  # the probe is off
    window.click("probe")
    click_canvas(viewer)
    wait_until(lambda: "affinity (fused)" in layer_names(viewer), "an affinity layer", 10)
    row = window.bench.probed.row
    rows, cols = window.bench.grid
    assert abs(row.patch[0] - rows // 2) <= 1
    assert abs(row.patch[1] - cols // 2) <= 1
    np.testing.assert_array_equal(viewer.layers["affinity (fused)"].data[0], row.fused.astype(np.float32))
    sentence = window.find("probe hint").text()
    assert sentence == f"{row.together.sum()} of {rows * cols} patches hang together with patch {row.patch}."
    window.click("probe flow")
    assert "affinity (flow)" in layer_names(viewer)
    # A slider moves what hangs together with it.
    count = int(row.together.sum())
    window.find("tau").setValue(0.9)
    wait_until(lambda: window.bench.probed and window.bench.probed.parameters.tau == 0.9, "the probe follows", 10)
    assert int(window.bench.probed.row.together.sum()) < count
    window.click("probe")
    assert not any(name.startswith("affinity") for name in layer_names(viewer))


# The layers of others.


def look_of(layer: Any) -> tuple[Any, ...]:
    return layer.name, layer.visible, layer.opacity, layer.scale.tolist(), layer.data.tobytes()


def test_layers_of_the_users_own_are_left_alone(window: Window, tmp_path: Path) -> None:
    viewer = window.viewer
    before = viewer.add_image(np.arange(64.0).reshape(8, 8), name="masks", opacity=0.3)
    window.open_sample()
    after = viewer.add_labels(np.eye(16, dtype=np.uint8), name="mine", scale=(2, 2))
    looks = look_of(before), look_of(after)
    window.panel.open(str(write_frames(tmp_path / "squares", 5)))
    wait_until(lambda: window.bench.video.name == "squares", "the other video")
    settle(window.bench)
    window.bench.switch(next(video for video in window.bench.desk.videos() if video.name == "toys"))
    settle(window.bench)
    viewer.layers.remove("squares")
    wait(100)
    assert (look_of(before), look_of(after)) == looks
    assert viewer.layers.index(before) == 0
    assert before in viewer.layers
    assert after in viewer.layers


def test_a_deleted_layer_comes_back_only_when_asked_for(window: Window) -> None:
    from flowcut_napari.widgets.menu import restore_layers

    viewer = window.viewer
    window.open_sample()
    wait_until(lambda: set(layer_names(viewer)) == OURS, "all layers")
    order = layer_names(viewer)
    for name in ("masks", "flow", "toys"):
        viewer.layers.remove(name)
    window.find("tau").setValue(0.6)
    viewer.dims.set_current_step(0, 5)
    wait_until(lambda: not window.bench.work and window.bench.results.is_complete(5), "an answer")
    wait(100)
    assert set(layer_names(viewer)) == OURS - {"masks", "flow", "toys"}
    restore_layers(viewer)
    wait_until(lambda: set(layer_names(viewer)) == OURS, "all layers")
    assert layer_names(viewer) == order
    assert shown_masks(viewer).any()
    assert viewer.layers["toys"].data.shape == (24, 360, 640, 3)


def test_every_command_of_the_menu_runs(
    window: Window, monkeypatch: pytest.MonkeyPatch, sample_clip: Path, tmp_path: Path
) -> None:
    import yaml
    from napari._app_model import get_app_model
    from qtpy.QtWidgets import QFileDialog

    viewer = window.viewer
    commands = get_app_model().commands

    manifest = Path(flowcut_napari.__file__).parent / "napari.yaml"
    menu = yaml.safe_load(manifest.read_text())["contributions"]["menus"]["flowcut-napari.segment"]
    left = {item["command"].partition(".")[2] for item in menu}

    def execute(name: str) -> Any:
        left.discard(name)
        return commands.execute_command(f"flowcut-napari.{name}").result(timeout=10)

    frames = sample_clip / "JPEGImages" / "toys"
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_, **__: ("", ""))
    execute("open_video")
    assert window.bench.video is None  # the dialog was cancelled
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_, **__: (str(frames), ""))
    execute("open_video")
    wait_until(lambda: window.bench.video is not None, "the chosen video")
    settle(window.bench)
    viewer.layers.remove("masks")
    execute("restore_layers")
    wait_until(lambda: "masks" in layer_names(viewer), "the layer comes back")
    window.panel.pages.show_page(window.panel.dataset_tabs)
    execute("run_all_frames")
    assert window.panel.run.isVisible()
    assert window.panel.tabs.tabText(window.panel.tabs.currentIndex()) == "Run"
    execute("kept_versions")
    assert "none is open" in window.find("remark").text()
    docks = list(viewer.window.dock_widgets)
    execute("show_panel")
    assert list(viewer.window.dock_widgets) == docks
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_, **__: (str(tmp_path / "work"), ""))
    execute("save_session")
    session = tmp_path / "work.flowcut.json"
    wait_until(session.exists, "the session")
    viewer.layers.clear()
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_, **__: (str(session), ""))
    execute("open_session")
    wait_until(lambda: "toys" in layer_names(viewer), "the video of the session")
    assert not left


def test_masks_are_saved_from_the_window_and_opened_again(window: Window, tmp_path: Path) -> None:
    window.open_sample()
    shown = shown_masks(window.viewer)
    window.viewer.layers.selection = {window.viewer.layers["masks"]}
    (saved,) = window.viewer.layers.save(str(tmp_path / "a.masks.json"), selected=True)
    assert Path(saved) == tmp_path / "a.masks.json"
    assert len(json.loads(Path(saved).read_text())["frames"]) == 1
    window.viewer.layers.clear()
    wait(100)
    window.panel.open(saved)
    wait_until(lambda: window.bench.results.saved is not None, "the saved masks")
    settle(window.bench)
    np.testing.assert_array_equal(shown_masks(window.viewer), shown)
    assert not window.said


def test_what_a_layer_leaves_in_the_driver_is_deleted_in_the_context_of_its_canvas(
    window: Window, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In another one the driver frees what the canvas draws with, and the process ends in glDrawArrays."""
    from qtpy.QtGui import QOffscreenSurface, QOpenGLContext
    from qtpy.QtOpenGLWidgets import QOpenGLWidget
    from vispy.gloo.glir import GlirProgram

    window.open_sample()
    canvas = window.viewer.window._qt_window.findChild(QOpenGLWidget)
    surface, other = QOffscreenSurface(), QOpenGLContext()
    surface.create()
    assert other.create()
    delete, found = GlirProgram.delete, []

    def delete_and_tell(program: Any) -> None:
        found.append(QOpenGLContext.currentContext() is canvas.context())
        delete(program)

    monkeypatch.setattr(GlirProgram, "delete", delete_and_tell)
    assert other.makeCurrent(surface)
    window.viewer.layers.clear()
    wait(200)
    assert found and all(found)


def test_psutil_would_see_what_is_left(window: Window) -> None:
    """The check at the end of each test finds processes: else it would find none for ever."""
    window.open_sample()
    ours = {process.pid for process in started_here()}
    assert window.bench.live.pid in ours
    assert {child.pid for child in psutil.Process().children(recursive=True)} >= ours
