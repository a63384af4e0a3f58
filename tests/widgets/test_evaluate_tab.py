"""The Evaluate tab with the real command behind it: hostile input first, then what it is for."""

from __future__ import annotations

import csv
import json
import os
import shlex
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benches import open_bench
from conftest import write_frames
from made_results import box, ground_truth, results, write_indexed
from napari_window import wait, wait_until
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QFileDialog, QPushButton
from slow_metrics import DenseTube

from flowcut_napari.viewer.preferences import Preferences
from flowcut_napari.viewer.truth_layer import NAME
from flowcut_napari.widgets.evaluate.controller import evaluate_of
from flowcut_napari.widgets.evaluate.settings import EvaluateSettings
from flowcut_napari.widgets.evaluate.widget import EvaluateTab
from flowcut_napari.widgets.workbench import Workbench

SHAPE = (4, 48, 64)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three videos: one found well, one half and for too short, one with an object that nothing finds."""
    things = [box(SHAPE, 8, 8, 16, 16), box(SHAPE, 20, 30, 12, 20), box(SHAPE, 2, 40, 8, 8)]
    objects = [DenseTube(1, 1, things[0]), DenseTube(2, 1, things[1]), DenseTube(3, 1, things[0])]
    objects.append(DenseTube(3, 1, things[2]))
    short = things[1].copy()
    short[2] = False
    found = [DenseTube(1, 1, things[0], 0.9), DenseTube(2, 1, short, 0.6), DenseTube(3, 1, things[0], 0.7)]
    (tmp_path / "gt.json").write_text(json.dumps(ground_truth(objects, dict.fromkeys((1, 2, 3), SHAPE))))
    (tmp_path / "pred.json").write_text(json.dumps(results(found)))
    for number in (1, 2, 3):
        write_frames(tmp_path / f"clip{number}", 4, SHAPE[1:], ".jpg")
    return tmp_path


@pytest.fixture
def davis(tmp_path: Path) -> Path:
    """A root with two sequences in ``DAVIS`` and predictions in ``found``; of one the last frame is empty."""
    labels = np.zeros(SHAPE, dtype=np.uint8)
    labels[:, 10:30, 10:30] = 1
    bad = labels.copy()
    bad[3] = 0
    for name, found in (("cat", bad), ("dog", labels)):
        write_indexed(tmp_path / "DAVIS" / "Annotations_unsupervised" / "480p" / name, labels)
        write_frames(tmp_path / "DAVIS" / "JPEGImages" / "480p" / name, 4, SHAPE[1:], ".jpg")
        write_indexed(tmp_path / "found" / name, found)
    return tmp_path


def _bench(**more: Any) -> Any:
    return open_bench(preferences=Preferences(autosave_seconds=0, **more))


@pytest.fixture
def bench() -> Iterator[Workbench]:
    with _bench() as bench:
        bench.set_live(False)
        yield bench


@pytest.fixture
def tab(bench: Workbench) -> Iterator[EvaluateTab]:
    tab = EvaluateTab(bench)
    tab.resize(380, 700)
    tab.show()
    yield tab
    tab.deleteLater()


def _set(tab: EvaluateTab, kind: str, truth: Path, found: Path) -> None:
    for name, value in (("kind", kind), ("ground_truth", str(truth)), ("predictions", str(found))):
        tab.controller.edit(name, value)


def _ended(tab: EvaluateTab) -> str:
    wait_until(lambda: not tab.controller.progress.is_going_on, "the end of the evaluation", 60)
    return tab.text.text()


def _evaluate(tab: EvaluateTab, kind: str, truth: Path, found: Path) -> str:
    _set(tab, kind, truth, found)
    tab.evaluate()
    return _ended(tab)


def _failed(tab: EvaluateTab, *words: str) -> None:
    """See that it has failed with one line that has these words, and can be used further."""
    text = tab.text.text()
    assert tab.controller.progress.state == "failed", text
    assert "\n" not in text and "Traceback" not in text
    for word in words:
        assert word in text
    assert tab.start.isEnabled() and not tab.stop.isEnabled() and not tab.bar.isVisible()


def _open(tab: EvaluateTab, row: int) -> None:
    index = tab.videos.model().index(row, 0)
    tab.videos.scrollTo(index)
    QTest.mouseClick(tab.videos.viewport(), Qt.MouseButton.LeftButton, pos=tab.videos.visualRect(index).center())
    wait_until(lambda: not tab.controller.opener.opening, "the video")


def _names(tab: EvaluateTab) -> list[str]:
    model = tab.videos.model()
    return [model.index(row, 0).data() for row in range(model.rowCount())]


def _truth(bench: Workbench) -> Any:
    return next((layer for layer in bench.viewer.layers if layer.name == NAME), None)


def _interpreter(folder: Path, text: str) -> str:
    path = folder / "python with blanks"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


# Hostile input.


def test_what_is_not_chosen_is_asked_for(tab: EvaluateTab, data: Path) -> None:
    tab.evaluate()
    _failed(tab, "Choose the ground truth")
    tab.controller.edit("ground_truth", str(data / "gt.json"))
    tab.evaluate()
    _failed(tab, "Choose the predictions")


def test_what_is_not_there_is_said(tab: EvaluateTab, data: Path) -> None:
    _evaluate(tab, "ytvis", data / "gt.json", data / "nothing.json")
    _failed(tab, "nothing.json", "no such file")
    _evaluate(tab, "davis", data / "nothing", data)
    _failed(tab, "nothing", "no such folder")
    tab.controller.edit("kind", "ytvis")
    assert tab.text.text() == "", "it was said of other places"


def _of_another_size(content: Any) -> None:
    content["videos"][1]["height"] = 50


def _of_other_videos(content: Any) -> None:
    del content["videos"][1], content["annotations"][1]


@pytest.mark.parametrize(
    ("spoil", "words"), [(_of_another_size, "size"), (_of_other_videos, "not in the ground truth")]
)
def test_a_ground_truth_that_does_not_fit_is_refused_and_what_was_found_before_stays(
    tab: EvaluateTab, data: Path, spoil: Callable[[Any], None], words: str
) -> None:
    _evaluate(tab, "ytvis", data / "gt.json", data / "pred.json")
    before = tab.controller.report
    content = json.loads((data / "gt.json").read_text())
    spoil(content)
    (data / "other.json").write_text(json.dumps(content))
    _evaluate(tab, "ytvis", data / "other.json", data / "pred.json")
    _failed(tab, words)
    assert tab.controller.report is before
    assert tab.results.isVisible() and tab.numbers.rowCount() > 0


def test_files_that_are_no_json_or_change_places_are_refused(tab: EvaluateTab, data: Path) -> None:
    (data / "broken.json").write_text('{"videos": [')
    _evaluate(tab, "ytvis", data / "broken.json", data / "pred.json")
    _failed(tab, "broken.json", "JSON")
    _evaluate(tab, "ytvis", data / "pred.json", data / "gt.json")
    _failed(tab, "the ground truth comes first")


def test_a_missing_sequence_is_said_in_the_words_of_the_tab(tab: EvaluateTab, davis: Path) -> None:
    shutil.rmtree(davis / "found" / "cat")
    _evaluate(tab, "davis", davis / "DAVIS", davis / "found")
    _failed(tab, "cat", "tick Missing")
    tab.missing.setChecked(True)
    tab.evaluate()
    _ended(tab)
    assert tab.controller.progress.state == "done"
    assert "cat" in tab.notes.text()


def test_a_list_of_sequences_that_is_not_there_is_said(tab: EvaluateTab, davis: Path) -> None:
    tab.controller.edit("kind", "davis")
    tab.controller.edit("subset", "val")
    _evaluate(tab, "davis", davis / "DAVIS", davis / "found")
    _failed(tab, "ImageSets", "a subset needs a DAVIS root")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f'exec {shlex.quote(sys.executable)} -S "$@"', "has no flowcut-napari; install it there"),
        ("echo 'nothing for it' >&2; exit 3", "nothing for it"),
        ("exit 0", "without a result"),
        ("""echo '{"event": "done", "stats": {}}'""", "another version of this package"),
        ("""echo '{"event": "progress", "done": "x", "total": []}'; exit 1""", "1"),
    ],
)
def test_a_python_that_cannot_evaluate_is_said_with_what_to_do(tmp_path: Path, text: str, words: str) -> None:
    with _bench(interpreter=_interpreter(tmp_path, text)) as bench:
        tab = EvaluateTab(bench)
        tab.show()
        _evaluate(tab, "ytvis", tmp_path, tmp_path)
        _failed(tab, words)


def test_a_python_without_pycocotools_is_said_with_what_to_do(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stub = data / "stubs" / "pycocotools"
    stub.mkdir(parents=True)
    (stub / "__init__.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'pycocotools'\", name='pycocotools')"
    )
    monkeypatch.setenv("PYTHONPATH", str(stub.parent))
    with _bench() as bench:
        tab = EvaluateTab(bench)
        tab.show()
        _evaluate(tab, "ytvis", data / "gt.json", data / "pred.json")
        _failed(tab, "pycocotools")


def test_a_python_that_is_not_there_is_said(tmp_path: Path) -> None:
    with _bench(interpreter=str(tmp_path / "nowhere" / "python")) as bench:
        tab = EvaluateTab(bench)
        tab.show()
        _evaluate(tab, "ytvis", tmp_path, tmp_path)
        _failed(tab, "cannot be started", "Preferences")


def test_an_evaluation_that_is_killed_is_said_and_the_next_one_comes(tab: EvaluateTab, data: Path) -> None:
    _set(tab, "ytvis", data / "gt.json", data / "pred.json")
    tab.evaluate()
    wait_until(lambda: tab.controller.pid is not None, "a process")
    os.kill(tab.controller.pid or 0, signal.SIGKILL)
    _ended(tab)
    _failed(tab, "The evaluation was ended by SIGKILL")
    tab.evaluate()
    _ended(tab)
    assert tab.controller.report is not None


def test_a_cancelled_evaluation_says_nothing_more_and_leaves_no_process(tab: EvaluateTab, data: Path) -> None:
    _set(tab, "ytvis", data / "gt.json", data / "pred.json")
    tab.evaluate()
    assert tab.stop.isEnabled() and not tab.start.isEnabled()
    tab.evaluate()  # one at a time
    pid = tab.controller.pid
    QTest.mouseClick(tab.stop, Qt.MouseButton.LeftButton)
    assert tab.text.text() == "cancelled"
    wait_until(lambda: pid is None or not Path(f"/proc/{pid}").exists(), "the end of the process")
    wait(300)
    assert tab.controller.report is None and tab.text.text() == "cancelled"
    assert tab.start.isEnabled()


def test_a_window_that_closes_ends_the_evaluation(data: Path) -> None:
    with _bench() as bench:
        tab = EvaluateTab(bench)
        _set(tab, "ytvis", data / "gt.json", data / "pred.json")
        tab.evaluate()
        assert tab.controller.pid is not None
        bench.shutdown()
        tab.controller.shutdown()  # once more does no harm
        assert tab.controller.pid is None
        tab.evaluate()
        assert tab.controller.pid is None


def test_names_that_look_like_markup_are_shown_as_they_are(tab: EvaluateTab, data: Path) -> None:
    content = json.loads((data / "gt.json").read_text())
    content["videos"][1]["file_names"] = [f"<b>x\n/{frame}.jpg" for frame in range(4)]
    (data / "gt.json").write_text(json.dumps(content))
    _evaluate(tab, "ytvis", data / "gt.json", data / "pred.json")
    row = _names(tab).index("<b>x\\n")
    assert "<b>" not in tab.videos.model().index(row, 0).data(Qt.ItemDataRole.ToolTipRole)
    _open(tab, row)
    assert tab.notice.text.text().startswith("<b>x\\n: the ground truth names no frames")
    assert tab.notice.text.textFormat() == Qt.TextFormat.PlainText


# Videos that cannot be shown.


def test_frames_that_are_elsewhere_are_asked_for_once(
    tab: EvaluateTab, bench: Workbench, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _evaluate(tab, "ytvis", data / "gt.json", data / "pred.json")
    (data / "elsewhere").mkdir()
    for number in (1, 2, 3):
        (data / f"clip{number}").rename(data / "elsewhere" / f"clip{number}")
    _open(tab, 0)
    assert "its frames are not beside" in tab.notice.text.text()
    assert bench.video is None
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: "")
    QTest.mouseClick(tab.notice.buttons["frames_at"], Qt.MouseButton.LeftButton)
    assert tab.notice.isVisible()
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(data / "elsewhere"))
    QTest.mouseClick(tab.notice.buttons["frames_at"], Qt.MouseButton.LeftButton)
    wait_until(lambda: bench.video is not None, "the video")
    assert not tab.notice.isVisible()
    _open(tab, 1)
    wait_until(lambda: bench.video is not None and bench.video.name == _names(tab)[1], "the other video")
    assert not tab.notice.isVisible()


def test_a_ground_truth_that_is_gone_is_said_and_the_video_is_there(
    tab: EvaluateTab, bench: Workbench, data: Path
) -> None:
    _evaluate(tab, "ytvis", data / "gt.json", data / "pred.json")
    (data / "gt.json").unlink()
    _open(tab, 0)
    wait_until(lambda: tab.notice.isVisible(), "a word on it")
    assert "gt.json" in tab.notice.text.text() and not tab.notice.buttons
    assert bench.video is not None
    assert _truth(bench) is None


def test_of_two_videos_that_are_chosen_quickly_the_last_is_shown(
    tab: EvaluateTab, bench: Workbench, data: Path
) -> None:
    _evaluate(tab, "ytvis", data / "gt.json", data / "pred.json")
    videos = tab.controller.report.videos if tab.controller.report else ()
    for video in (videos[0], videos[1], videos[2]):
        tab.controller.opener.show(video)
    wait_until(lambda: _truth(bench) is not None, "the ground truth")
    assert bench.video is not None and bench.video.name == videos[2].name
    assert [layer.name for layer in bench.viewer.layers] == [videos[2].name, NAME]


def test_a_video_that_is_opened_meanwhile_keeps_the_window(tab: EvaluateTab, bench: Workbench, data: Path) -> None:
    _evaluate(tab, "ytvis", data / "gt.json", data / "pred.json")
    _open(tab, 0)
    wait_until(lambda: _truth(bench) is not None, "the ground truth")
    bench.open(str(data / "clip1"))
    assert _truth(bench) is None
    assert bench.video is not None and bench.video.path == data / "clip1"


def test_a_ground_truth_that_the_user_deletes_does_no_harm(tab: EvaluateTab, bench: Workbench, data: Path) -> None:
    _evaluate(tab, "ytvis", data / "gt.json", data / "pred.json")
    _open(tab, 0)
    wait_until(lambda: _truth(bench) is not None, "the ground truth")
    bench.viewer.layers.remove(_truth(bench))
    _open(tab, 1)
    wait_until(lambda: _truth(bench) is not None, "that of the other video")


def test_the_ground_truth_of_one_video_never_lies_over_another(tab: EvaluateTab, bench: Workbench, data: Path) -> None:
    over: list[tuple[str, str]] = []

    def look() -> None:
        layer = _truth(bench)
        if layer is not None and bench.video is not None:
            over.append((layer.metadata["flowcut"]["video"], bench.video.name))

    bench.video_changed.connect(look)
    _evaluate(tab, "ytvis", data / "gt.json", data / "pred.json")
    for row in (0, 1, 2, 0):
        _open(tab, row)
        look()
        wait_until(lambda: _truth(bench) is not None, "the ground truth")
        look()
    assert len(over) >= 4 and all(truth == video for truth, video in over)


# What it is for.


def test_numbers_stand_over_those_of_papers_and_the_worst_video_first(tab: EvaluateTab, data: Path) -> None:
    text = _evaluate(tab, "ytvis", data / "gt.json", data / "pred.json")
    assert text == "3 videos, 4 objects, 3 detections"
    assert tab.source.text().endswith(f"pred.json against {data.name}/gt.json")
    cells = [[tab.numbers.item(row, column) for column in range(8)] for row in range(2)]
    assert [row[0].text() for row in cells] == ["all", "≥ 0.8"]
    assert all(cell.font().bold() for row in cells for cell in row)
    own = json.loads(
        subprocess.run(
            [sys.executable, "-m", "flowcut_napari", *tab.controller.settings.arguments(), "--json"],
            capture_output=True,
            check=True,
        ).stdout
    )
    assert cells[0][2].text() == f"{100 * own['stats']['AP50']:.1f}"
    assert cells[1][2].text() == f"{100 * own['stats_threshold']['AP50']:.1f}"
    labels = [tab.numbers.item(row, 0) for row in range(2, tab.numbers.rowCount())]
    assert [label.text() for label in labels[1:]] == ["FlowCut", "FlowCut†", "VideoCutLER"]
    assert not any(label.font().bold() for label in labels)
    assert tab.numbers.item(3, 2).text() == "47.9" and "Table 2" in tab.numbers.item(3, 2).toolTip()
    assert _names(tab) == ["clip3", "clip2", "clip1"]
    row = [tab.videos.model().index(0, column).data() for column in range(5)]
    assert row == ["clip3", "2", "1", "50.0", "00000"]


def test_a_click_opens_a_video_at_its_worst_frame_with_the_ground_truth(
    tab: EvaluateTab, bench: Workbench, data: Path
) -> None:
    wanted: list[tuple[str, int, Path]] = []
    tab.look_wanted.connect(lambda *what: wanted.append(what))
    _evaluate(tab, "ytvis", data / "gt.json", data / "pred.json")
    _open(tab, 1)
    assert bench.video is not None and (bench.video.name, bench.frame) == ("clip2", 2)
    assert wanted == [(f"{data}/gt.json::clip2", 2, data / "pred.json")]
    assert [entry.name for entry in bench.sisters] == ["clip3", "clip2", "clip1"]
    wait_until(lambda: _truth(bench) is not None, "the ground truth")
    labels = np.asarray(_truth(bench).data[2])
    assert np.array_equal(labels > 0, box(SHAPE, 20, 30, 12, 20)[2])
    assert not _truth(bench).editable
    # Enter does the same, from the list.
    tab.videos.setFocus()
    QTest.keyClick(tab.videos, Qt.Key.Key_Up)
    QTest.keyClick(tab.videos, Qt.Key.Key_Return)
    wait_until(lambda: bench.video is not None and bench.video.name == "clip3", "the video")
    wait_until(lambda: _truth(bench) is not None and _truth(bench).data.frame(0).max() == 2, "both of its objects")


def test_sequences_are_shown_in_the_same_way(tab: EvaluateTab, bench: Workbench, davis: Path) -> None:
    text = _evaluate(tab, "davis", davis / "DAVIS", davis / "found")
    assert text == "2 sequences, 2 objects, 2 proposals"
    assert [tab.numbers.horizontalHeaderItem(column).text() for column in range(4)] == ["%", "J&F", "J", "F"]
    assert "55.4" in tab.footnote.text()
    assert _names(tab) == ["cat", "dog"]
    _open(tab, 0)
    assert bench.video is not None and (bench.video.name, bench.frame) == ("cat", 3)
    wait_until(lambda: _truth(bench) is not None, "the ground truth")
    assert np.asarray(_truth(bench).data[3]).sum() == 400


def test_an_open_video_is_taken_as_it_is(tab: EvaluateTab, bench: Workbench, davis: Path) -> None:
    bench.open(f"{davis / 'DAVIS'}::cat")
    known = bench.video
    _evaluate(tab, "davis", davis / "DAVIS", davis / "found")
    _open(tab, 0)
    wait_until(lambda: _truth(bench) is not None, "the ground truth")
    assert bench.video is known
    assert bench.frame == 3
    assert len(bench.viewer.layers) == 2


def test_a_heading_sorts_and_a_third_click_brings_the_worst_first(tab: EvaluateTab, data: Path) -> None:
    _evaluate(tab, "ytvis", data / "gt.json", data / "pred.json")
    header = tab.videos.horizontalHeader()

    def click(column: int) -> list[str]:
        place = QPoint(header.sectionViewportPosition(column) + 5, header.height() // 2)
        QTest.mouseClick(header.viewport(), Qt.MouseButton.LeftButton, pos=place)
        return _names(tab)

    assert click(0) == ["clip1", "clip2", "clip3"]
    assert click(0) == ["clip3", "clip2", "clip1"]
    assert click(3) == ["clip3", "clip2", "clip1"]
    assert click(3) == ["clip1", "clip2", "clip3"]
    assert click(3) == ["clip3", "clip2", "clip1"]
    click(0)
    _open(tab, 0)
    assert tab.controller.opener.problem == ""
    assert evaluate_of(tab._bench).opener._wanted is tab.videos.videos.video(0)


def test_predictions_that_were_just_made_are_taken_up(tab: EvaluateTab, data: Path, davis: Path) -> None:
    (data / "made").mkdir()
    shutil.copy(data / "pred.json", data / "made" / "results.json")
    tab.take_predictions(data / "made")
    assert (tab.controller.settings.kind, tab.predictions.text()) == ("ytvis", str(data / "made"))
    tab.controller.edit("ground_truth", str(data / "gt.json"))
    tab.take_predictions(davis / "found")
    assert (tab.controller.settings.kind, tab.predictions.text()) == ("davis", str(davis / "found"))
    assert tab.ground_truth.text() == ""
    tab.controller.edit("kind", "ytvis")
    assert tab.ground_truth.text() == str(data / "gt.json")


def test_only_the_controls_of_a_kind_are_shown(tab: EvaluateTab) -> None:
    for kind, is_ytvis in (("davis", False), ("ytvis", True)):
        tab.controller.edit("kind", kind)
        assert tab.threshold.isVisible() is is_ytvis
        assert (tab.subset.isVisible(), tab.missing.isVisible()) == (not is_ytvis, not is_ytvis)


def test_the_command_that_is_copied_says_what_is_set(tab: EvaluateTab, bench: Workbench, data: Path) -> None:
    from qtpy.QtGui import QGuiApplication

    said: list[str] = []
    bench.remarked.connect(said.append)
    QTest.mouseClick(tab.copy, Qt.MouseButton.LeftButton)
    assert said == ["choose the ground truth: its json, or the folder of a dataset"]
    odd = data / "it's here"
    odd.mkdir()
    _set(tab, "ytvis", odd / "gt.json", data / "pred.json")
    QTest.mouseClick(tab.copy, Qt.MouseButton.LeftButton)
    words = shlex.split(QGuiApplication.clipboard().text())
    assert words == [
        *("flowcut", "evaluate", "ytvis", str(odd / "gt.json"), str(data / "pred.json")),
        *("--threshold", "0.8"),
    ]


def test_tables_are_saved(tab: EvaluateTab, bench: Workbench, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _evaluate(tab, "ytvis", data / "gt.json", data / "pred.json")
    said: list[str] = []
    bench.remarked.connect(said.append)
    for place, name in enumerate(("numbers", "videos")):
        path = data / f"{name}.csv"
        monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_, path=path: (str(path), ""))
        tab.save.menu().actions()[place].trigger()
        wait_until(lambda path=path: said[-1:] == [f"saved: {path}"], "the table")
    assert [row["video"] for row in csv.DictReader((data / "videos.csv").open())] == ["clip3", "clip2", "clip1"]
    assert next(csv.DictReader((data / "numbers.csv").open()))["row"] == "all"
    (data / "taken").write_text("a file")
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(data / "taken" / "x.csv"), ""))
    tab.save.menu().actions()[0].trigger()
    wait_until(lambda: "taken" in said[-1], "a word on it")


def test_another_panel_shows_what_was_found(tab: EvaluateTab, bench: Workbench, data: Path) -> None:
    _evaluate(tab, "ytvis", data / "gt.json", data / "pred.json")
    again = EvaluateTab(bench)
    again.show()
    assert again.controller is tab.controller
    assert _names(again) == _names(tab)
    assert again.ground_truth.text() == tab.ground_truth.text()
    again.deleteLater()


def test_every_control_has_a_name_and_says_what_it_is_for(tab: EvaluateTab) -> None:
    buttons = [button for button in tab.findChildren(QPushButton) if button.parent() is not tab.notice]
    for control in (*buttons, tab.kind, tab.ground_truth, tab.predictions, tab.threshold, tab.subset, tab.missing):
        assert control.objectName() and control.toolTip(), control
    assert EvaluateSettings().threshold == 0.8
