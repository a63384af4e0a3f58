from __future__ import annotations

import csv
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benches import SMALL, open_bench, settle
from command_line import in_session
from conftest import write_frames
from napari_window import wait, wait_until
from PIL import Image
from qtpy.QtCore import QEvent, QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from flowcut_napari.core import FlowCutError, open_video, segment_video
from flowcut_napari.core.ground_truth import open_ground_truth
from flowcut_napari.core.scoring import score_video
from flowcut_napari.core.sweep_cells import Cell
from flowcut_napari.live.sweep_messages import SweepCell
from flowcut_napari.widgets.sweep.controller import SweepController, sweep_of
from flowcut_napari.widgets.sweep.settings import truth_beside
from flowcut_napari.widgets.sweep.widget import SweepTab
from flowcut_napari.widgets.workbench import Workbench

FAST = SMALL.with_changes(crf=False, max_instances=1)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Write a DAVIS root with one sequence and its annotations."""
    clip = write_frames(tmp_path / "davis" / "JPEGImages" / "480p" / "clip", 6, (96, 128))
    truth = tmp_path / "davis" / "Annotations" / "480p" / "clip"
    truth.mkdir(parents=True)
    labels = np.zeros((96, 128), dtype=np.uint8)
    labels[30:60, 30:70] = 255
    for file in clip.iterdir():
        Image.fromarray(labels).save(truth / file.name)
    return tmp_path / "davis"


@pytest.fixture
def bench(root: Path) -> Iterator[Workbench]:
    with open_bench(FAST) as opened:
        opened.set_live(False)
        opened.open(str(root / "JPEGImages" / "480p" / "clip"))
        yield opened


@pytest.fixture
def tab(bench: Workbench, tmp_path: Path) -> Iterator[SweepTab]:
    made = SweepTab(bench)
    made.resize(390, 700)
    made.out.setText(str(tmp_path / "sweep"))
    made.across_values.setText("0.3, 0.6, 0.9")
    made.down_values.setText("0, 0.6")
    made.frames.setText("")
    made.workers.setValue(1)
    made._take()
    yield made
    made.deleteLater()


def _is_over(sweep: SweepController) -> Any:
    return lambda: sweep.progress.state not in ("idle", "starting", "running")


def _swept(tab: SweepTab) -> SweepController:
    tab.run()
    wait_until(_is_over(tab.controller), "the end of the sweep", 60)
    assert tab.controller.progress.state == "done", tab.controller.progress
    return tab.controller


def test_the_ground_truth_of_a_davis_sequence_is_found_beside_it(tab: SweepTab, root: Path) -> None:
    assert tab.truth.text() == str(root)
    assert tab.measure.currentText() == "J, region"
    (root / "Annotations").rename(root / "elsewhere")
    video = tab._bench.video
    assert video is not None
    assert truth_beside(video) is None


def test_a_sweep_fills_the_map_with_what_each_setting_measures_alone(tab: SweepTab, root: Path, tmp_path: Path) -> None:
    sweep = _swept(tab)
    assert sweep.grid is not None
    assert len(sweep.cells) == len(sweep.grid.settings) == 6
    video, truth = open_video(root / "JPEGImages" / "480p" / "clip"), open_ground_truth(root)
    for setting, cell in sweep.cells.items():
        alone = score_video(segment_video(video, setting.parameters), truth)
        assert cell.measures["J"] == alone.j.mean
    rows = list(csv.DictReader((tmp_path / "sweep" / "sweep.csv").open()))
    assert [float(row["J"]) for row in rows] == [sweep.cells[setting].measures["J"] for setting in sweep.grid.settings]
    assert sweep.best is not None
    assert "best J, region" in tab.cell_text.text()
    assert tab.map.isVisibleTo(tab)


def test_a_click_on_a_cell_sets_the_sliders_and_shows_its_masks(tab: SweepTab, bench: Workbench) -> None:
    sweep = _swept(tab)
    bench.set_live(True)
    settle(bench)
    tab.map.resize(380, tab.map.sizeHint().height())
    QTest.mouseClick(tab.map, Qt.MouseButton.LeftButton, pos=tab.map.cell(1, 2).center())
    setting = tab.map.setting_at(1, 2)
    assert setting is not None
    assert dict(setting.values) == {"alpha": 0.6, "tau": 0.9}
    assert bench.parameters == setting.parameters
    assert sweep.present == setting
    settle(bench)
    assert bench.video is not None
    (expected,) = segment_video(bench.video, setting.parameters, indices=[bench.frame]).frames
    assert bench.results.masks(bench.frame) == expected
    assert tab.copy.isEnabled()
    tab._copy_command()
    assert "--alpha 0.6 --tau 0.9" in QApplication.clipboard().text()


def test_the_map_is_walked_by_keys(tab: SweepTab, bench: Workbench) -> None:
    _swept(tab)
    tab.map.cursor_cell = (0, 0)
    for key in (Qt.Key.Key_Right, Qt.Key.Key_Down, Qt.Key.Key_Left, Qt.Key.Key_Left, Qt.Key.Key_Return):
        QTest.keyClick(tab.map, key)
    assert tab.map.cursor_cell == (1, 2)
    assert (bench.parameters.alpha, bench.parameters.tau) == (0.6, 0.9)


def test_other_measures_of_the_same_cells_are_shown_without_a_new_sweep(tab: SweepTab) -> None:
    sweep = _swept(tab)
    names = [tab.measure.itemData(place) for place in range(tab.measure.count())]
    tab.measure.setCurrentIndex(names.index("consistency"))
    tab.measure.activated.emit(0)
    assert sweep.grid is not None
    first = sweep.grid.settings[0]
    assert sweep.value(first) == sweep.cells[first].measures["consistency"]


def test_the_map_of_another_video_is_not_shown_beside_this_one(tab: SweepTab, bench: Workbench, root: Path) -> None:
    sweep = _swept(tab)
    out = tab.out.text()
    place = root / "JPEGImages" / "480p"
    write_frames(place / "other", 4, (96, 128))
    bench.open(str(place / "other"))
    wait_until(lambda: bench.video is not None and bench.video.name == "other", "the other video")
    assert sweep.grid is None and sweep.best is None and not tab.map.isVisibleTo(tab)
    assert not tab.copy.isEnabled() and not tab.use_best.isEnabled()
    assert tab.text.text().startswith("clip: ") and tab.cell_text.text() == ""
    # Unless it was chosen, the folder is another one, too.
    assert tab.out.text() != out and tab.out.text().endswith(os.path.join("flowcut-sweep", "other"))
    bench.open(str(place / "clip"))
    wait_until(lambda: bench.video is not None and bench.video.name == "clip", "the first video")
    assert sweep.best is not None and tab.map.isVisibleTo(tab) and not tab.text.text().startswith("clip")


def test_what_the_user_chose_outlives_another_video_and_a_panel_that_was_closed(
    tab: SweepTab, bench: Workbench, root: Path, tmp_path: Path
) -> None:
    QTest.keyClicks(tab.out, "/chosen")
    tab.workers.setValue(1)
    tab.measure.setCurrentIndex(tab.measure.findData("F"))
    tab.measure.activated.emit(0)
    again = SweepTab(bench)
    assert (again.out.text(), again.workers.value(), again.measure.currentData()) == (tab.out.text(), 1, "F")
    place = root / "JPEGImages" / "480p"
    write_frames(place / "other", 4, (96, 128))
    bench.open(str(place / "other"))
    wait_until(lambda: bench.video is not None and bench.video.name == "other", "the other video")
    assert again.out.text() == tab.out.text()
    # It has no ground truth, and F cannot be had; with the next one it is back.
    assert (again.truth.text(), again.measure.currentData()) == ("", "eigengap")
    bench.open(str(place / "clip"))
    wait_until(lambda: bench.video is not None and bench.video.name == "clip", "the first video")
    assert (again.truth.text(), again.measure.currentData()) == (str(root), "F")
    again.deleteLater()


def test_a_cancelled_sweep_goes_on_where_it_was(tab: SweepTab, root: Path) -> None:
    folder = root / "JPEGImages" / "480p" / "clip"
    for index in range(6, 120):
        os.link(folder / f"{index % 6:05d}.png", folder / f"{index:05d}.png")
    tab.truth.setText("")
    tab._on_truth("")
    tab._bench.open(str(folder))
    tab.run()
    sweep = tab.controller
    wait_until(lambda: len(sweep.part) == 6, "the first frames", 60)
    assert f"all cells are of their first {sweep.first_frames} frames so far" in tab.cell_text.text()
    tab.cancel.click()
    assert "goes on from there" in tab.text.text()
    made = sweep.progress.done
    assert 24 <= made < sweep.progress.total
    _swept(tab)
    assert sweep.progress.known >= made
    assert sweep.first_frames is None and "so far" not in tab.cell_text.text()
    assert f"{sweep.progress.known} known from before" in tab.text.text()
    assert {cell.frames for cell in sweep.cells.values()} == {120}


def test_with_other_ground_truth_map_and_words_are_of_the_measure_that_stands_there(tab: SweepTab) -> None:
    sweep = _swept(tab)
    assert "best J, region" in tab.cell_text.text()
    shown: list[str] = []
    sweep.cells_changed.connect(lambda: shown.append(sweep.settings.measure))
    tab.truth.setText("")
    tab.truth.textEdited.emit("")
    assert shown == ["eigengap"] == [tab.measure.currentData()]
    assert tab.cell_text.text().startswith("best eigengap")
    # J is nothing that was measured without ground truth.
    _swept(tab)
    tab.truth.setText("x")
    tab.truth.textEdited.emit("x")
    assert tab.measure.currentData() == "J"
    assert tab.cell_text.text() == ""
    assert not tab.use_best.isEnabled()


def test_a_cell_of_the_first_frames_is_no_match_for_whole_ones(tab: SweepTab) -> None:
    sweep = _swept(tab)
    assert sweep.grid is not None
    best = sweep.best
    other = next(setting for setting in sweep.grid.settings if setting != best)
    high = {**sweep.cells[other].measures, "J": 1.0}
    sweep._on_answer(SweepCell(Cell("clip", other, 4, high), is_whole=False))
    assert sweep.best == best
    assert "hatched cells are of their first 4 frames so far" in tab.cell_text.text()
    tab.map.resize(380, tab.map.sizeHint().height())
    tab.map.grab()
    sweep._on_answer(SweepCell(Cell("clip", other, 6, high), is_whole=True))
    assert sweep.best == other


def test_an_emptied_folder_is_the_suggested_one_again(tab: SweepTab) -> None:
    tab.out.setText("elsewhere")
    tab.out.textEdited.emit("elsewhere")
    tab.out.setText("")
    tab.out.textEdited.emit("")
    tab.out.editingFinished.emit()
    assert tab.out.text().endswith(os.path.join("flowcut-sweep", "clip"))


def test_one_parameter_alone_is_a_row(tab: SweepTab) -> None:
    tab.down.setCurrentIndex(tab.down.findData(""))
    tab._choose_down(0)
    sweep = _swept(tab)
    assert sweep.grid is not None
    assert (len(sweep.grid.axes), len(sweep.cells), tab.map._shape()) == (1, 3, (1, 3))


def test_cancelled_it_ends_at_once_with_all_its_processes(tab: SweepTab, root: Path) -> None:
    folder = root / "JPEGImages" / "480p" / "clip"
    for index in range(6, 600):
        os.link(folder / f"{index % 6:05d}.png", folder / f"{index:05d}.png")
    tab.truth.setText("")
    tab._on_truth("")
    tab._bench.open(str(folder))
    tab.out.setText(str(root / "sweep"))
    tab._take()
    tab.run()
    sweep = tab.controller
    wait_until(lambda: sweep.progress.done > 3, "some cuts", 60)
    child = sweep._process._child
    assert child is not None
    tab.cancel.click()
    assert sweep.progress.state == "cancelled"
    wait_until(lambda: not in_session(child.pid), "its processes gone", 10)
    wait(50)
    assert sweep.progress.state == "cancelled"
    assert tab.start.isEnabled()


def test_killed_it_has_failed_with_a_reason(tab: SweepTab, bench: Workbench) -> None:
    tab.run()
    pid = tab.controller._process.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_until(_is_over(tab.controller), "the end")
    assert tab.controller.progress.state == "failed"
    assert "ended before it was done" in tab.text.text()


@pytest.mark.parametrize(
    ("field", "value", "needle"),
    [
        ("across_values", "", "empty grid"),
        ("across_values", "2", "tau is '2'"),
        ("down_values", "0:1", "START:STOP:STEP"),
        ("frames", "9:", "selects none"),
        ("frames", "x", "START:STOP:STEP"),
        ("out", "", "choose a folder"),
    ],
)
def test_what_cannot_be_is_remarked_in_one_line_and_nothing_starts(
    tab: SweepTab, bench: Workbench, field: str, value: str, needle: str
) -> None:
    remarks: list[str] = []
    bench.remarked.connect(remarks.append)
    getattr(tab, field).setText(value)
    tab._take()
    tab.run()
    assert len(remarks) == 1
    assert needle in remarks[0]
    assert "\n" not in remarks[0]
    assert not remarks[0].startswith("--")
    assert tab.controller.progress.state == "idle"


def test_ground_truth_that_does_not_fit_fails_with_its_reason_and_the_tab_goes_on(
    tab: SweepTab, root: Path, tmp_path: Path
) -> None:
    (root / "Annotations" / "480p" / "clip" / "00003.png").unlink()
    tab.run()
    wait_until(_is_over(tab.controller), "the end")
    assert tab.controller.progress.state == "failed"
    assert "6 frames, its ground truth" in tab.text.text()
    assert "'annotated only' leaves out" in tab.text.text()
    assert "--" not in tab.text.text()
    tab.only_annotated.setChecked(True)
    assert {cell.frames for cell in _swept(tab).cells.values()} == {6}
    tab.truth.setText("")
    tab._on_truth("")
    assert "J" not in [tab.measure.itemData(place) for place in range(tab.measure.count())]
    _swept(tab)


def test_without_a_video_there_is_nothing_to_sweep() -> None:
    with open_bench(FAST) as bench:
        tab = SweepTab(bench)
        assert not tab.start.isEnabled()
        with pytest.raises(FlowCutError, match="no video"):
            tab.controller.make_job()
        tab.map.resize(300, 200)
        QTest.mouseClick(tab.map, Qt.MouseButton.LeftButton, pos=QPoint(100, 20))
        QApplication.sendEvent(tab.map, QEvent(QEvent.Type.Leave))
        tab.deleteLater()


def test_the_same_parameter_twice_is_said(tab: SweepTab) -> None:
    tab.controller.settings = replace(tab.controller.settings, down="tau")
    with pytest.raises(FlowCutError, match="both directions"):
        tab.controller.make_job()


def test_a_reopened_panel_shows_the_same_sweep(tab: SweepTab, bench: Workbench) -> None:
    sweep = _swept(tab)
    again = SweepTab(bench)
    assert again.controller is sweep_of(bench) is sweep
    assert again.across_values.text() == "0.3, 0.6, 0.9"
    assert again.map._shape() == (2, 3)
    again.deleteLater()
