"""The Watch tab without a window: what it says of runs that are written, ended and damaged while it looks."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import made_events as made
import numpy as np
import psutil
import pytest
from benches import application, open_bench
from napari_window import wait, wait_until
from numpy.testing import assert_allclose, assert_array_equal
from qtpy.QtCore import QCoreApplication, QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QColor, QImage, QMouseEvent, QPalette
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QWidget

from flowcut_napari.core.run_history import RunHistory
from flowcut_napari.widgets.training_desk import Launch, training_of
from flowcut_napari.widgets.watch.controller import watch_of
from flowcut_napari.widgets.watch.digest import MOST_PIECES, digest_of
from flowcut_napari.widgets.watch.following import Following, Watched
from flowcut_napari.widgets.watch.plot import Curve, Plot
from flowcut_napari.widgets.watch.series import smoothed, thinned, ticks, value_range
from flowcut_napari.widgets.watch.thumbnails import read_picture
from flowcut_napari.widgets.watch.widget import WatchTab
from flowcut_napari.widgets.workbench import Workbench

WIDTH = 390


@pytest.fixture
def bench() -> Iterator[Workbench]:
    with open_bench() as opened:
        yield opened


@pytest.fixture
def tab(bench: Workbench) -> Iterator[WatchTab]:
    made_tab = WatchTab(bench)
    made_tab.resize(WIDTH, 1400)
    made_tab.show()
    yield made_tab
    destroy(made_tab)


def destroy(widget: QWidget) -> None:
    widget.deleteLater()
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    wait(10)


def point_at(plot: Plot, x: float, y: float) -> None:
    place, none = QPointF(x, y), Qt.MouseButton.NoButton
    move = QMouseEvent(QEvent.Type.MouseMove, place, place, none, none, Qt.KeyboardModifier.NoModifier)
    QCoreApplication.sendEvent(plot, move)


def look_at(tab: WatchTab, run: Path) -> None:
    tab.controller.training.watch(run)
    wait_until(lambda: tab.controller.watched is not None and not tab.controller.watched.is_loading, "the run", 10)
    drawn(tab)


def drawn(tab: WatchTab) -> None:
    wait_until(lambda: tab.board.is_drawn, "the curves", 10)


def shows(tab: WatchTab, name: str) -> str:
    found = tab.findChild(object, name)
    assert found is not None
    return "" if found.isHidden() else found.text()


# What cannot be.


@pytest.mark.parametrize(
    "content",
    [b"", b"\0" * 1000, b"\xff\n" * 50, b"[" * 50_000 + b"\n", b'{"event": "step", "step": {}}\n' * 20],
    ids=["empty", "NUL bytes", "no UTF-8", "deep", "steps of another type"],
)
def test_a_damaged_run_leaves_the_tab_usable(tab: WatchTab, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "events.jsonl").write_bytes(content)
    look_at(tab, tmp_path / "bad")
    assert shows(tab, "run state").startswith("unknown")
    look_at(tab, made.write_run(tmp_path / "good", [made.start(), made.step(1), made.done(1)]))
    assert shows(tab, "run state") == "done"


@pytest.mark.parametrize("name", ["missing", "a_file", "<b>x</b>\n", "x" * 3000, "no\0path"])
def test_a_folder_that_is_none_is_no_run(tab: WatchTab, tmp_path: Path, name: str) -> None:
    (tmp_path / "a_file").touch()
    look_at(tab, tmp_path / name)
    assert shows(tab, "run state") == "unknown: no training has begun in this folder"
    assert "\n" not in shows(tab, "run name")
    assert not tab.resume.isVisible()
    tab.controller.stop()
    tab.controller.kill()
    wait(100)


def test_a_run_that_is_deleted_while_it_is_watched(tab: WatchTab, tmp_path: Path) -> None:
    run = made.write_run(tmp_path / "run", [made.start(), *made.training(100)])
    look_at(tab, run)
    assert "120" not in shows(tab, "run steps")
    for path in sorted(run.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    run.rmdir()
    wait_until(lambda: shows(tab, "run state").startswith("unknown"), "it is gone", 10)
    made.write_run(run, [made.start(), made.step(7), made.done(7)])
    wait_until(lambda: shows(tab, "run state") == "done", "it is back", 10)


def test_figures_that_are_no_numbers_are_drawn_around(tab: WatchTab, tmp_path: Path) -> None:
    odd: list[Any] = ["nan", "inf", -1e300, 1e300, None, 0.0, -5.0]
    steps = [made.step(number, loss=value) for number, value in enumerate(odd, start=1)]
    look_at(tab, made.write_run(tmp_path / "run", [made.start(), *steps, made.step(9, loss=3.0)]))
    for is_log in (True, False):
        tab.board.log.setChecked(is_log)
        drawn(tab)
        assert not tab.board.loss.grab().isNull()
    assert tab.board.loss.value_at("loss", 9) == 3.0


# How it stands.


def test_before_anything_is_watched_it_says_what_to_do(tab: WatchTab) -> None:
    assert shows(tab, "run name").startswith("Nothing is watched yet.")
    for name in ("stop_run", "kill_run", "resume_run", "run progress", "open_run_folder"):
        assert not tab.findChild(object, name).isVisible()
    assert tab.open.isVisible()


def test_a_run_at_work_says_how_far_and_how_quick_it_is(tab: WatchTab, tmp_path: Path) -> None:
    steps = [made.step(number, seconds=0.5) for number in range(1, 51)]
    run = made.write_run(tmp_path / "run", [made.start(steps=100, **made.alive()), *steps])
    look_at(tab, run)
    assert shows(tab, "run state") == "training"
    assert shows(tab, "run steps") == "step 50 of 100 · 2.00 steps/s · 25 s left"
    assert shows(tab, "run about") == "1,204 clips · NVIDIA H100 · bf16"
    assert tab.bar.value() == 500
    assert tab.stop.isEnabled() and tab.kill.isEnabled() and not tab.resume.isVisible()
    made.add(run, made.step(60, seconds=0.5))
    wait_until(lambda: shows(tab, "run steps").startswith("step 60 of 100"), "the next step", 10)
    made.add(run, made.done(100))
    wait_until(lambda: shows(tab, "run state") == "done", "its end", 10)
    assert not tab.stop.isVisible() and not tab.kill.isVisible()


def test_a_run_that_failed_says_why_and_what_can_be_done(tab: WatchTab, tmp_path: Path) -> None:
    reason = "out of memory with optimizer.batch=4; <b>raise</b> accumulation"
    events = [made.start(), made.step(1), made.checkpoint(1), {"event": "error", "reason": reason}]
    run = made.write_run(tmp_path / "run", events)
    (run / "log.txt").write_text("the first\nlast words\n")
    look_at(tab, run)
    assert shows(tab, "run state") == "failed"
    text = tab.notice.text.text()
    assert text.splitlines() == [f"O{reason[1:]}", "the first", "last words"]
    wanted: list[Path] = []
    tab.controller.training.resume_wanted.connect(wanted.append)
    tab.notice.buttons["notice_resume"].click()
    tab.resume.click()
    assert wanted == [run, run]
    assert "notice_folder" in tab.notice.buttons


def test_without_a_checkpoint_there_is_nothing_to_resume(tab: WatchTab, tmp_path: Path) -> None:
    look_at(tab, made.write_run(tmp_path / "run", [made.start(), made.step(1)]))
    assert shows(tab, "run state") == "ended without a word"
    assert "there is no checkpoint" in tab.notice.text.text()
    assert "notice_resume" not in tab.notice.buttons and not tab.resume.isVisible()


def test_buttons_of_a_notice_stay_while_nothing_changes(tab: WatchTab, tmp_path: Path) -> None:
    look_at(tab, made.write_run(tmp_path / "run", [made.start(), made.step(1)]))
    button = tab.notice.buttons["notice_folder"]
    tab.show_words()
    assert tab.notice.buttons["notice_folder"] is button


def test_a_process_that_this_window_started_is_starting_until_it_speaks(tab: WatchTab, tmp_path: Path) -> None:
    training, run = tab.controller.training, tmp_path / "run"
    training.watch(run)
    training.put_launch(run, Launch(True))
    wait_until(lambda: shows(tab, "run state") == "starting …", "it starts", 5)
    assert not tab.stop.isEnabled() and not tab.kill.isEnabled()
    made.write_run(run, [made.start(**made.alive()), made.step(1)])
    wait_until(lambda: shows(tab, "run state") == "training", "it trains", 10)


def test_why_it_failed_is_told_where_its_events_cannot_know(tab: WatchTab, tmp_path: Path) -> None:
    training, run = tab.controller.training, tmp_path / "run"
    training.watch(run)
    training.put_launch(run, Launch(True))
    training.put_launch(run, Launch(False, "no space left on device"))
    wait_until(lambda: shows(tab, "run state") == "failed", "it failed", 5)
    assert tab.notice.text.text().startswith("No space left on device")
    look_at(tab, made.write_run(tmp_path / "other", [made.start(), {"event": "error", "reason": "no GPU"}]))
    training.put_launch(tmp_path / "other", Launch(False, "it failed with the exit code 1"))
    assert tab.notice.text.text().startswith("No GPU")


def test_a_resume_that_was_refused_is_told_though_the_run_was_done_before(tab: WatchTab, tmp_path: Path) -> None:
    old = {"time": "2020-01-01T00:00:00Z"}
    run = made.write_run(tmp_path / "run", [made.start(**old), made.step(1, **old), made.done(1) | old])
    look_at(tab, run)
    tab.controller.training.put_launch(run, Launch(True))
    wait_until(lambda: shows(tab, "run state") == "starting …", "it starts again", 5)
    tab.controller.training.put_launch(run, Launch(False, "steps cannot be lowered"))
    wait_until(lambda: shows(tab, "run state") == "failed", "it was refused", 5)


# How it is ended.


@pytest.fixture
def sleeper() -> Iterator[psutil.Process]:
    started = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield psutil.Process(started.pid)
    started.kill()
    started.wait()


def of(process: psutil.Process) -> dict[str, Any]:
    return {"pid": process.pid, "process_started": process.create_time()}


def test_stop_writes_the_file_and_says_so_until_it_is_heard(
    tab: WatchTab, tmp_path: Path, sleeper: psutil.Process
) -> None:
    run = made.write_run(tmp_path / "run", [made.start(**of(sleeper)), made.step(1)])
    look_at(tab, run)
    tab.stop.click()
    wait_until(lambda: shows(tab, "run state") == "stopping after this step", "it was asked", 10)
    assert (run / "stop").is_file()
    assert not tab.stop.isEnabled() and tab.kill.isEnabled()
    (run / "stop").unlink()
    made.add(run, {"event": "stopped", "step": 1, "reason": "stop file"})
    wait_until(lambda: shows(tab, "run state").startswith("stopped by somebody"), "it was heard", 10)


def test_a_stop_that_cannot_be_asked_for_is_remarked(
    bench: Workbench, tab: WatchTab, tmp_path: Path, sleeper: psutil.Process
) -> None:
    run = made.write_run(tmp_path / "run", [made.start(**of(sleeper)), made.step(1)])
    (run / "stop").symlink_to(tmp_path / "missing" / "stop")
    look_at(tab, run)
    said: list[str] = []
    bench.remarked.connect(said.append)
    tab.stop.click()
    wait_until(lambda: said, "a remark", 5)
    assert "cannot be written" in said[0] and "\n" not in said[0]


def _answer(tab: WatchTab, word: str) -> list[str]:
    """Answer the next question by the button with this word; return what was asked."""
    from qtpy.QtCore import QTimer
    from qtpy.QtWidgets import QMessageBox

    asked: list[str] = []

    def answer() -> None:
        box = next(box for box in tab.findChildren(QMessageBox) if box.isVisible())
        asked.append(box.text())
        next(button for button in box.buttons() if word in button.text()).click()

    QTimer.singleShot(200, answer)
    return asked


def test_kill_asks_and_ends_the_process(tab: WatchTab, tmp_path: Path, sleeper: psutil.Process) -> None:
    run = made.write_run(tmp_path / "run", [made.start(**of(sleeper)), made.checkpoint(500), made.step(620)])
    look_at(tab, run)
    asked = _answer(tab, "Cancel")
    tab.kill.click()
    assert "Steps after the checkpoint of step 500 are lost" in asked[0]
    wait(200)
    assert sleeper.is_running() and sleeper.status() != psutil.STATUS_ZOMBIE
    _answer(tab, "Kill")
    tab.kill.click()
    wait_until(lambda: shows(tab, "run state") == "failed", "it is gone", 10)
    assert "killed by hand" in tab.notice.text.text()
    assert tab.resume.isVisible()


# Curves.


def test_smoothing_is_the_mean_of_what_is_known_around_each_value() -> None:
    random = np.random.default_rng(0)
    values = random.normal(size=200)
    values[random.random(200) < 0.2] = np.nan
    values[7] = np.inf
    for window in (2, 3, 10, 401):
        found = smoothed(values, window)
        for place in range(200):
            near = values[max(0, place - window // 2) : place + (window + 1) // 2]
            near = near[np.isfinite(near)]
            assert_allclose(found[place], near.mean() if len(near) else np.nan, atol=1e-12)
    assert smoothed(values, 0) is values


@pytest.mark.parametrize("count", [0, 1, 5, 700, 50_000])
def test_a_thinned_curve_reaches_as_far_in_every_column(count: int) -> None:
    random = np.random.default_rng(1)
    x = np.cumsum(random.integers(1, 9, count))
    y = random.normal(size=count)
    y[::17] = np.nan
    right = float(x[-1]) if count else 1.0
    found_x, found_y = thinned(x, y, y, 0.0, right, 300)
    assert len(found_x) == len(found_y) <= max(600, count)
    assert len(found_x) <= 600
    known = np.isfinite(y)
    if known.any():
        assert found_y.max() == y[known].max()
        assert found_y.min() == y[known].min()
    assert (np.diff(found_x) >= 0).all()
    if count > 700:
        column = np.minimum(299, x * 300 / right).astype(int)
        for place in range(0, 300, 23):
            inside = y[(column == place) & known]
            shown = found_y[np.minimum(299, found_x * 300 / right).astype(int) == place]
            assert (shown.min(), shown.max()) == (inside.min(), inside.max())


def test_ticks_are_round_and_within_bounds() -> None:
    random = np.random.default_rng(2)
    for low, size in zip(random.normal(size=200) * 100, 10.0 ** random.uniform(-8, 8, 200), strict=True):
        found = ticks(low, low + size, 4)
        assert 1 <= len(found) <= 4
        assert all(low - 1e-9 * size <= value <= low + size * (1 + 1e-9) for value in found)
    assert ticks(0, float("nan"), 4) == ticks(5, 5, 4) == []


def test_one_wild_step_does_not_press_all_others_flat() -> None:
    values = np.full(5000, 2.0) + np.arange(5000) * 1e-4
    values[4] = 1e9
    found = value_range([values])
    assert found is not None and found[1] < 3
    assert value_range([np.array([np.nan])]) is None
    assert value_range([np.array([-1.0, 0.0])], is_log=True) is None


@pytest.mark.parametrize("count", [0, 3, MOST_PIECES, MOST_PIECES + 1, 50_001])
@pytest.mark.parametrize("is_odd", [True, False])
def test_a_digest_holds_the_means_and_bounds_of_all_steps(count: int, is_odd: bool) -> None:
    history = RunHistory()
    random = np.random.default_rng(3)
    losses = random.normal(size=count)
    history.add([{"event": "step", "step": 1 + number, "loss": loss} for number, loss in enumerate(losses.tolist())])
    view = history.view()
    figures = view.figures.copy()
    figures[1:] = random.normal(size=figures[1:].shape)
    if is_odd and count:
        figures[0, ::3] = np.inf
        figures[1] = np.nan
    view.figures[:] = figures
    digest = digest_of(view)
    assert len(digest.steps) <= MOST_PIECES
    size = digest.size
    for place in range(0, len(digest.steps), 97):
        piece = figures[0, place * size : (place + 1) * size]
        piece = piece[np.isfinite(piece)]
        mean, low, high = (values[place] for values in digest.figure("loss"))
        assert_allclose([mean, low, high], [piece.mean(), piece.min(), piece.max()] if len(piece) else [np.nan] * 3)
        assert digest.steps[place] == view.steps[min(count, (place + 1) * size) - 1]


@pytest.fixture
def plot() -> Iterator[Plot]:
    application()
    made_plot = Plot("loss", "tip", height=150)
    made_plot.resize(360, 170)
    made_plot.show()
    yield made_plot
    made_plot.deleteLater()


def _picture(plot: Plot) -> np.ndarray:
    image = plot.grab().toImage().convertToFormat(QImage.Format.Format_RGB888)
    rows = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine())
    return rows[:, : 3 * image.width()].reshape(image.height(), image.width(), 3).astype(int)


def test_a_plot_draws_its_curve_where_the_values_are(plot: Plot) -> None:
    steps = np.arange(1, 1001)
    plot.show_curves([Curve("loss", steps, np.where(steps < 500, 10.0, 1.0), QColor(255, 0, 0))], last_step=1000)
    picture = _picture(plot)[20:150]
    is_red = (picture[..., 0] > 180) & (picture[..., 1] < 90) & (picture[..., 2] < 90)
    left, right = np.nonzero(is_red[:, 60:180])[0], np.nonzero(is_red[:, 220:330])[0]
    assert len(left) and len(right)
    assert left.mean() < 20 < 90 < right.mean()


def test_a_plot_takes_the_colours_of_a_theme(plot: Plot) -> None:
    steps = np.arange(10)
    levels = []
    for paper, ink in ((QColor(30, 30, 35), QColor(240, 240, 240)), (QColor(245, 245, 245), QColor(20, 20, 20))):
        palette = QPalette()
        palette.setColor(QPalette.ColorRole.Window, paper)
        palette.setColor(QPalette.ColorRole.WindowText, ink)
        plot.setPalette(palette)
        plot.show_curves([Curve("loss", steps, steps * 1.0, QColor(86, 156, 240))], last_step=9)
        picture = _picture(plot)
        assert abs(picture[-1, -1].mean() - paper.lightness()) < 12
        words = np.abs(picture[:16, 20:100].mean(axis=-1) - paper.lightness()).max()
        assert words > 120
        levels.append(picture.mean())
    assert abs(levels[0] - levels[1]) > 100


def test_the_mouse_tells_the_step_and_the_values_there(tab: WatchTab, tmp_path: Path) -> None:
    steps = [made.step(number, loss=float(number)) for number in range(1, 101)]
    look_at(tab, made.write_run(tmp_path / "run", [made.start(steps=100), *steps]))
    tab.board.smooth.setValue(0)
    drawn(tab)
    plot = tab.board.loss
    told: list[Any] = []
    plot.pointed.connect(told.append)
    area = plot._area()
    point_at(plot, area.center().x(), area.center().y())
    assert told and abs(told[-1] - 50) < 2
    assert abs(plot.value_at("loss", told[-1]) - 50) <= 2
    # One cursor in all of them.
    assert tab.board.small["lr"]._cursor == told[-1]
    before = _picture(tab.board.small["lr"])
    point_at(plot, 1, 1)
    assert told[-1] is None
    assert (_picture(tab.board.small["lr"]) != before).any()


def test_a_click_on_a_name_hides_its_curve_and_another_brings_it_back(tab: WatchTab, tmp_path: Path) -> None:
    look_at(tab, made.write_run(tmp_path / "run", [made.start(), *made.training(400)]))
    plot = tab.board.parts
    both = _picture(plot)
    place = plot._legend.place_of("mask")
    QTest.mouseClick(plot, Qt.MouseButton.LeftButton, pos=place.center())
    drawn(tab)
    assert (_picture(plot) != both).any()
    QTest.mouseClick(plot, Qt.MouseButton.LeftButton, pos=place.center())
    drawn(tab)
    assert_array_equal(_picture(plot), both)


def test_runs_beside_it_are_drawn_over_it_with_their_names(tab: WatchTab, tmp_path: Path) -> None:
    runs = [
        made.write_run(tmp_path / name / "run", [made.start(), *made.training(count), made.done(count)])
        for name, count in (("a", 400), ("b", 900))
    ]
    look_at(tab, runs[0])
    tab.controller.training.compare([runs[1]])
    wait_until(lambda: [curve.curve.name for curve in tab.board.loss._curves] == ["loss", "run"], "both", 10)
    drawn(tab)
    assert tab.board.loss.value_at("run", 900) == pytest.approx(made.step(900)["loss"], rel=0.3)
    assert np.isnan(tab.board.loss.value_at("loss", 900))
    tab.controller.training.compare([])
    wait_until(lambda: len(tab.board.loss._curves) == 1, "alone again", 10)


def test_a_run_may_be_compared_with_itself_and_go_from_one_role_to_the_other(tab: WatchTab, tmp_path: Path) -> None:
    first, second = (
        made.write_run(tmp_path / name, [made.start(), *made.training(200), made.done(200)]) for name in "ab"
    )
    look_at(tab, first)
    tab.controller.training.compare([first, second])
    wait_until(lambda: len(tab.controller.compared) == 2, "both", 10)
    look_at(tab, second)
    assert shows(tab, "run name") == "b"
    assert [curve.curve.name for curve in tab.board.loss._curves] == ["loss", "a"]


# Evaluations, previews, the log.


def test_the_latest_and_the_best_evaluation_are_rows(tab: WatchTab, tmp_path: Path) -> None:
    scores = [made.evaluation(500, 0.2), made.evaluation(1000, 0.4), made.evaluation(1500, 0.3)]
    run = made.write_run(tmp_path / "run", [made.start(), made.step(1), *scores])
    look_at(tab, run)
    table = tab.table
    rows = [[table.item(row, column).text() for column in range(3)] for row in range(2)]
    assert rows == [["1,500", "30.0", "57.0"], ["1,000", "40.0", "76.0"]]
    assert "APm 32.0" in table.item(1, 0).toolTip() and "APs" not in table.item(1, 0).toolTip()
    assert tab.board.score.value_at("AP", 1000) == pytest.approx(40)
    look_at(tab, made.write_run(tmp_path / "other", [made.start(), made.step(1)]))
    assert not table.isVisible()


def test_previews_are_read_when_they_are_seen_the_newest_first(tab: WatchTab, tmp_path: Path) -> None:
    run = made.write_run(tmp_path / "run", [])
    events = [made.write_preview(run, 0, labels=True)]
    events += [made.write_preview(run, number) for number in range(100, 10_001, 100)]
    made.write_run(run, [made.start(steps=20_000), made.step(1), *events])
    look_at(tab, run)
    strip = tab.strip
    assert [place for place, _ in strip._rows_in_sight()][:3] == [-1, 99, 98]
    wait_until(lambda: strip.thumbnails.peek(run / "previews/labels.jpg"), "a picture", 10)
    wait_until(lambda: strip.thumbnails.peek(run / "previews/step-00010000.jpg"), "the newest", 10)
    assert len(strip.thumbnails._kept) < 10
    made.add(run, made.write_preview(run, 10_100))
    wait_until(lambda: strip._rows_in_sight()[1][0] == 100, "one more", 10)
    # Whoever looks at an earlier one goes on looking at it.
    strip.verticalScrollBar().setValue(500)
    seen = strip._previews[strip._rows_in_sight()[1][0]]
    made.add(run, made.write_preview(run, 10_200))
    wait_until(lambda: len(strip._previews) == 102, "another", 10)
    assert strip._previews[strip._rows_in_sight()[1][0]] == seen


def test_a_click_on_a_preview_shows_it_large_beside_the_labels(tab: WatchTab, tmp_path: Path) -> None:
    run = made.write_run(tmp_path / "run", [])
    events = [made.write_preview(run, 0, labels=True), *(made.write_preview(run, number) for number in (100, 200))]
    made.write_run(run, [made.start(), made.step(1), *events])
    look_at(tab, run)
    wait_until(lambda: tab.strip._widest, "pictures", 10)
    place = dict(tab.strip._rows_in_sight())[0]
    QTest.mouseClick(tab.strip.viewport(), Qt.MouseButton.LeftButton, pos=QPoint(20, place + 30))
    large = tab._large
    assert large is not None and large.isVisible()
    assert large.words.text() == "predicted after step 100"
    wait_until(lambda: large._bottom.pixmap() and not large._bottom.pixmap().isNull(), "the picture", 10)
    large.slider.setValue(1)
    assert large.words.text() == "predicted after step 200"
    made.add(run, made.write_preview(run, 300))
    wait_until(lambda: large.words.text() == "predicted after step 300", "the newest", 10)


def test_pictures_that_cannot_be_read_are_said(tab: WatchTab, tmp_path: Path) -> None:
    from PIL import Image

    run = made.write_run(tmp_path / "run", [])
    (run / "previews").mkdir()
    (run / "previews/a.jpg").write_bytes(b"\0" * 100)
    Image.new("L", (20_000, 3)).save(run / "previews/b.png")
    (run / "previews/c.jpg").mkdir()
    names = ["a.jpg", "b.png", "c.jpg", "missing.jpg"]
    events = [{"event": "preview", "step": 1 + n, "path": f"previews/{name}"} for n, name in enumerate(names)]
    made.write_run(run, [made.start(), *events])
    look_at(tab, run)
    for name in names:
        found = read_picture(run / "previews" / name, 60)
        assert isinstance(found, str) and name in found and "\n" not in found
    wait_until(lambda: tab.strip.thumbnails._kept, "an answer", 10)
    assert not tab.strip.grab().isNull()


def test_a_picture_that_is_written_again_is_read_again(tab: WatchTab, tmp_path: Path) -> None:
    run = made.write_run(tmp_path / "run", [])
    first = made.write_preview(run, 500)
    made.write_run(run, [made.start(), made.step(1), first])
    look_at(tab, run)
    path = run / first["path"]
    wait_until(lambda: isinstance(tab.strip.thumbnails.peek(path), QImage), "a picture", 10)
    before = tab.strip.thumbnails.peek(path)
    made.write_preview(run, 500, labels=False, frames=3)
    made.add(run, made.start(resumed_from=400), made.step(401), first)

    def is_another() -> bool:
        now = tab.strip.thumbnails.peek(path)
        return isinstance(now, QImage) and isinstance(before, QImage) and now.width() != before.width()

    wait_until(is_another, "the other picture", 10)


def test_the_log_grows_at_its_end(tab: WatchTab, tmp_path: Path) -> None:
    run = made.write_run(tmp_path / "run", [made.start(**made.alive()), made.step(1)])
    (run / "log.txt").write_text("".join(f"line {number}\n" for number in range(300)))
    look_at(tab, run)
    assert tab.log.toPlainText().splitlines()[-1] == "line 299"
    bar = tab.log.verticalScrollBar()
    assert bar.value() == bar.maximum()
    with (run / "log.txt").open("a") as stream:
        stream.write("<b>line</b> 300\n")
    made.add(run, made.step(2))
    wait_until(lambda: tab.log.toPlainText().endswith("<b>line</b> 300"), "the next line", 10)
    assert bar.value() == bar.maximum()
    assert tab.log.toPlainText().count("line 299") == 1


# Following.


def test_a_long_run_never_holds_the_window_up_and_is_told_in_pieces(tab: WatchTab, tmp_path: Path) -> None:
    steps = "".join(made.lines(made.step(1)).replace('"step": 1,', f'"step": {n},') for n in range(1, 60_001))
    run = made.write_run(tmp_path / "run", [])
    (run / "events.jsonl").write_text(made.lines(made.start(steps=60_000)) + steps)
    seen: list[int] = []
    tab.controller.changed.connect(
        lambda: seen.append(tab.controller.watched.view.step if tab.controller.watched else 0)
    )
    tab.controller.training.watch(run)
    longest, last = 0.0, time.perf_counter()
    while not seen or seen[-1] < 60_000:
        wait(1)
        longest, last = max(longest, time.perf_counter() - last), time.perf_counter()
        assert len(seen) < 1000
    assert len(seen) > 2, "it came in one piece"
    # A machine that others use, too; tests/benchmarks/watching.py measures it.
    assert longest < 1.0


def test_nobody_looks_nothing_is_hurried(tab: WatchTab) -> None:
    following = tab.controller._following
    assert following._pause() < 1
    tab.hide()
    assert following._pause() > 2
    tab.show()
    following._changed_at = 0.0
    assert 1 < following._pause() < 2


def test_two_tabs_of_a_window_watch_the_same(bench: Workbench, tab: WatchTab, tmp_path: Path) -> None:
    other = WatchTab(bench)
    other.show()
    assert other.controller is tab.controller is watch_of(bench)
    look_at(tab, made.write_run(tmp_path / "run", [made.start(), made.step(5), made.done(5)]))
    assert shows(other, "run state") == "done"
    other.hide()
    assert tab.controller._following._is_seen
    destroy(other)
    look_at(tab, made.write_run(tmp_path / "next", [made.start(), made.step(5), made.done(5)]))
    assert shows(tab, "run name") == "next"


def test_when_the_viewer_closes_no_thread_is_left(tmp_path: Path) -> None:
    run = made.write_run(tmp_path / "run", [])
    made.write_run(run, [made.start(), made.step(1), made.write_preview(run, 1)])
    with open_bench() as bench:
        tab = WatchTab(bench)
        tab.show()
        look_at(tab, run)
        wait_until(lambda: tab.strip._widest, "a picture", 10)
        assert any(thread.name == "flowcut runs" for thread in threading.enumerate())
        assert any(thread.name == "flowcut previews" for thread in threading.enumerate())
        destroy(tab)
    end = time.monotonic() + 5
    while left := [thread.name for thread in threading.enumerate() if thread.name.startswith("flowcut")]:
        assert time.monotonic() < end, left
        time.sleep(0.02)


def test_what_is_followed_no_more_is_heard_of_no_more(tmp_path: Path) -> None:
    runs = [made.write_run(tmp_path / name, [made.start(), made.step(1)]) for name in "ab"]
    heard: list[Watched] = []
    following = Following(heard.append)
    following.follow(runs)
    end = time.monotonic() + 5
    while len(heard) < 2 and time.monotonic() < end:
        time.sleep(0.01)
    assert [news.run for news in heard] == runs
    following.follow(runs[:1])
    time.sleep(0.2)
    heard.clear()
    made.add(runs[1], made.step(2))
    made.add(runs[0], made.step(2))
    following.look_now()
    time.sleep(0.5)
    following.stop()
    assert {news.run for news in heard} == {runs[0]}


def test_training_desk_is_shared(bench: Workbench) -> None:
    assert watch_of(bench).training is training_of(bench)


def test_a_point_beside_every_row_is_no_preview(tab: WatchTab) -> None:
    assert tab.strip._place_at(QPointF(5, 5).toPoint()) is None
