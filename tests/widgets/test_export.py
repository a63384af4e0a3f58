from __future__ import annotations

import os
import resource
import shlex
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from benches import application, open_bench
from command_line import _Forkserver, in_session, snapshot, written
from made_masks import of_letters, write_clip, write_long
from napari_window import of_module, started_here, wait, wait_until
from qtpy.QtCore import Qt
from qtpy.QtGui import QGuiApplication
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QLineEdit, QWidget

from flowcut_napari.core import ClipVerdict, CurationParameters, InstanceVerdict, load_masks, save_masks
from flowcut_napari.core.clips import CLIP_REASONS, MASK_REASONS, Yield
from flowcut_napari.core.dataset import ExportPlan, export_dataset
from flowcut_napari.core.errors import InputError
from flowcut_napari.live.child import Child
from flowcut_napari.live.export_messages import Counts, ExportDone, ExportStep
from flowcut_napari.widgets.export.controller import ExportController, export_of
from flowcut_napari.widgets.export.progress import ExportProgress, describe_counts
from flowcut_napari.widgets.export.settings import look_at, parse_clip_length, parse_gaps, window_words
from flowcut_napari.widgets.export.table import CountsTable, table_of
from flowcut_napari.widgets.export.widget import ExportTab
from flowcut_napari.widgets.workbench import Workbench

# Holds a folder as one does that writes into it.
_HOLD = """
import fcntl, os, sys
fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Workbench]:
    """A workbench with the video and the masks of `clip`, and masks of two more beside them."""
    for length, name in ((12, "clip"), (8, "b"), (5, "c")):
        write_clip(tmp_path / "videos", tmp_path / "masks", length, name)
    with open_bench() as opened:
        opened.set_live(False)
        opened.open(str(tmp_path / "videos" / "clip"))
        path = tmp_path / "masks" / "clip.masks.json"
        opened.take_saved(load_masks(path), path)
        wait_until(lambda: export_of(opened).desk.masks is not None, "the masks on the desk")
        yield opened


@pytest.fixture
def export(bench: Workbench) -> ExportController:
    return export_of(bench)


@pytest.fixture
def tab(bench: Workbench) -> Iterator[ExportTab]:
    made = ExportTab(bench)
    made.resize(390, 700)
    made.show()
    wait_until(_is_counted(made), "the first counts")
    yield made
    made.hide()
    made.deleteLater()


@pytest.fixture
def remarks(bench: Workbench) -> list[str]:
    said: list[str] = []
    bench.remarked.connect(said.append)
    return said


def _is_counted(tab: ExportTab) -> Callable[[], bool]:
    counting = tab.controller.counting
    return lambda: counting.counts is not None and not counting.is_counting and not counting._timer.isActive()


def _child(export: ExportController) -> Child:
    """Return the process of an export, which starts when all is saved."""
    wait_until(lambda: export._process._child is not None, "the process")
    assert export._process._child is not None
    return export._process._child


def _is_over(export: ExportController) -> Callable[[], bool]:
    return lambda: export.progress.state in ("done", "failed", "cancelled")


def _total(tab: ExportTab) -> Yield:
    counts = tab.controller.counting.counts
    assert counts is not None
    return counts.all_gaps


def _kept(tab: ExportTab) -> str:
    """Return the clips that are kept, over all gaps, as the table shows them."""
    table = tab.table
    labels = [table.verticalHeaderItem(row).text().strip() for row in range(table.rowCount())]
    return str(table.item(labels.index("clips kept"), 0).text())


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _type(line: QLineEdit, text: str) -> None:
    line.setText(text)
    QTest.keyClick(line, Qt.Key.Key_Return)


def _find(tab: ExportTab, name: str) -> Any:
    return tab.findChild(QWidget, name)


# The same as the command line.


@pytest.mark.parametrize("form", ["ytvis", "coco", "davis"])
@pytest.mark.parametrize("source", ["video", "folder"])
def test_it_writes_to_the_byte_what_the_copied_command_writes(
    tab: ExportTab, export: ExportController, server: _Forkserver, tmp_path: Path, form: str, source: str
) -> None:
    export.desk.act("reject", lambda masks, _: masks.decide(InstanceVerdict((3, 2), "reject")))
    export.desk.act("reject", lambda masks, _: masks.decide(ClipVerdict((1, 2), "reject")))
    _type(tab.clips.controls["gaps"], "1 3")
    export.edit("format", form)
    export.edit("source", source)
    wait_until(_is_counted(tab), "the counts")
    counted = _total(tab)
    tab.start.click()
    wait_until(_is_over(export), "the end of the export")
    done = export.progress.done
    assert done is not None, export.progress
    assert done.path == tmp_path / "dataset"
    assert done.total == counted
    assert done.videos == (1 if source == "video" else 3)
    made = _contents(done.path)
    done.path.rename(tmp_path / "made")
    _find(tab, "copy_curate").click()
    command = QGuiApplication.clipboard().text()
    ended = server.run(shlex.split(command)[1:])
    if form == "davis":
        ended.succeeds_with_note("verdict on clips of another length")
    else:
        ended.succeeds_silently()
    assert _contents(done.path) == made


def test_what_was_decided_a_moment_ago_is_in_it(tab: ExportTab, export: ExportController, tmp_path: Path) -> None:
    export.desk.act("reject", lambda masks, _: masks.decide(ClipVerdict((0, 1), "reject")))
    tab.export()
    wait_until(_is_over(export), "the end of the export")
    assert export.progress.done is not None
    assert export.progress.done.total.dropped_clips == {"rejected": 1}
    assert len(load_masks(tmp_path / "masks" / "clip.masks.json").decisions.made) == 1


# Counts before anything is written.


def test_the_counts_follow_decisions_and_controls_and_nothing_is_written(
    tab: ExportTab, export: ExportController, tmp_path: Path
) -> None:
    assert _kept(tab) == str(11 + 10 + 9 + 8)
    export.desk.act("reject", lambda masks, _: masks.decide(ClipVerdict((0, 1), "reject")))
    wait_until(lambda: _kept(tab) == "37", "the counts after a decision")
    assert _total(tab).dropped_clips == {"rejected": 1}
    export.desk.undo()
    wait_until(lambda: _kept(tab) == "38", "the counts after it was taken back")
    _type(tab.clips.controls["gaps"], "2")
    wait_until(lambda: _kept(tab) == "10", "the counts of one gap")
    export.edit("only_accepted", True)
    wait_until(lambda: _kept(tab) == "0", "the counts of what was accepted")
    assert _total(tab).dropped_clips == {"not_accepted": 10}
    assert written(tmp_path / "dataset") == []
    assert sorted(os.listdir(tmp_path)) == ["masks", "videos"]


def test_what_is_shared_with_the_curation_goes_both_ways(tab: ExportTab, export: ExportController) -> None:
    desk, controls = export.desk, tab.clips.controls
    desk.set_parameters(CurationParameters(gaps=(2, 5), iou=0.25, method="hungarian"))
    assert (controls["gaps"].text(), controls["method"].currentText()) == ("2, 5", "hungarian")  # type: ignore[attr-defined]
    assert controls["iou"].value() == 0.25  # type: ignore[attr-defined]
    controls["iou"].setValue(0.75)  # type: ignore[attr-defined]
    _type(controls["gaps"], " 3,1;1 ")
    assert (desk.parameters.gaps, desk.parameters.iou) == ((1, 3), 0.75)
    assert controls["gaps"].text() == "1, 3"  # type: ignore[attr-defined]
    # What an export alone has is not the desk's.
    export.edit("clip_length", "3")
    export.edit("only_accepted", True)
    assert desk.parameters == CurationParameters(gaps=(1, 3), iou=0.75, method="hungarian")
    assert (export.parameters.clip_length, export.parameters.only_accepted) == (3, True)


def test_a_format_brings_the_clip_length_that_suits_it(tab: ExportTab, export: ExportController) -> None:
    box: Any = tab.clips.controls["clip_length"]
    assert box.currentText() == "auto (2)"
    export.edit("format", "davis")
    assert box.currentText() == "auto (all)"
    wait_until(lambda: _kept(tab) == "1", "one whole video")
    assert tab.table.verticalHeaderItem(0).text() == "videos"
    export.edit("clip_length", "4")
    assert box.currentText() == "4"
    wait_until(lambda: tab.table.verticalHeaderItem(0).text() == "windows", "clips of four frames")


def test_a_whole_folder_is_counted_by_a_process_and_again_after_a_decision(
    tab: ExportTab, export: ExportController, tmp_path: Path
) -> None:
    (tmp_path / "masks" / "nonsense.masks.json").write_text("nonsense")
    export.edit("source", "folder")
    wait_until(lambda: "nonsense" in tab.summary.text() and _is_counted(tab)(), "the counts of the folder")
    expected = sum(length - gap for length in (12, 8, 5) for gap in (1, 2, 3, 4))
    assert _kept(tab) == str(expected)
    export.desk.act("reject", lambda masks, _: masks.decide(ClipVerdict((0, 1), "reject")))
    wait_until(lambda: _kept(tab) == str(expected - 1), "the counts after a decision")
    child = export.counting._child
    assert child is not None
    export.edit("source", "video")
    wait_until(lambda: _kept(tab) == "37", "the counts of the video")
    wait_until(lambda: not in_session(child.pid), "the counting process gone", 10)


def test_a_counting_process_that_is_killed_is_said_and_the_next_change_counts_again(
    tab: ExportTab, export: ExportController
) -> None:
    export.edit("source", "folder")
    wait_until(lambda: _is_counted(tab)() and export.counting.counts.total == 3, "the counts")  # type: ignore[union-attr]
    os.kill(export.counting._child.pid, signal.SIGKILL)  # type: ignore[union-attr]
    wait_until(lambda: "SIGKILL" in tab.summary.text(), "the reason")
    export.edit("gaps", "1")
    wait_until(lambda: _is_counted(tab)() and _kept(tab) == str(11 + 7 + 4), "counts again")


def test_nothing_is_counted_where_nobody_looks(tab: ExportTab, export: ExportController) -> None:
    tab.hide()
    export.edit("gaps", "1")
    export.edit("source", "folder")
    wait(400)
    assert _total(tab).candidates == 38
    assert not of_module("export_count")
    tab.show()
    wait_until(lambda: _is_counted(tab)() and _total(tab).candidates == 22, "the counts")


def test_chosen_files_and_folders_are_counted_and_refused_where_there_are_none(
    tab: ExportTab, export: ExportController, remarks: list[str], tmp_path: Path
) -> None:
    export.edit("source", "chosen")
    wait_until(lambda: "choose a folder" in tab.summary.text(), "the hint")
    assert not tab.table.isVisible()
    tab.export()
    assert remarks == ["choose a folder of masks, or masks files"]
    tab.chosen.add([str(tmp_path / "masks" / "b.masks.json"), str(tmp_path / "masks" / "c.masks.json")])
    wait_until(_is_counted(tab), "the counts")
    assert export.counting.counts.videos == 2  # type: ignore[union-attr]
    assert tab.out.text() == str(tmp_path / "dataset")
    tab.chosen.add([str(tmp_path / "nowhere")])
    wait_until(lambda: "no such file or folder" in tab.summary.text(), "what is wrong with it")


def test_without_masks_it_says_what_to_do(remarks_of: Callable[[Workbench], list[str]]) -> None:
    with open_bench() as empty:
        remarks = remarks_of(empty)
        tab = ExportTab(empty)
        tab.show()
        wait_until(lambda: "no masks are open" in tab.summary.text(), "the hint")
        tab.start.click()
        _find(tab, "copy_curate").click()
        assert [text.partition(";")[0] for text in remarks] == ["no masks are open"] * 2
        assert tab.controller.progress == ExportProgress()
        tab.hide()


@pytest.fixture
def remarks_of() -> Callable[[Workbench], list[str]]:
    def collect(bench: Workbench) -> list[str]:
        said: list[str] = []
        bench.remarked.connect(said.append)
        return said

    return collect


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("gaps", "1, x", "give whole numbers of frames"),
        ("gaps", "", "give whole numbers of frames"),
        ("gaps", "0", "greater than or equal to 1"),
        ("gaps", "20000", "less than or equal to 10000"),
        ("clip_length", "1", "greater than or equal to 2"),
        ("clip_length", "two", "give a whole number of frames"),
        ("iou", 1.0, "less than 1"),
    ],
)
def test_what_a_control_cannot_be_is_remarked_and_the_control_goes_back(
    tab: ExportTab, export: ExportController, remarks: list[str], name: str, value: Any, words: str
) -> None:
    before = export.parameters
    control: Any = tab.clips.controls[name]
    if name == "gaps":
        _type(control, value)
    else:
        export.edit(name, value)
    (text,) = set(remarks)
    assert words in text
    assert "\n" not in text
    assert export.parameters == before
    assert tab.clips.controls["gaps"].text() == "1, 2, 3, 4"  # type: ignore[attr-defined]


# Where it goes.


def test_a_dataset_is_replaced_only_if_that_is_ticked_for_this_folder(
    tab: ExportTab, export: ExportController, tmp_path: Path
) -> None:
    assert not tab.overwrite.isVisible()
    tab.export()
    wait_until(_is_over(export), "the end of the export")
    wait_until(tab.overwrite.isVisible, "the question")
    assert not tab.overwrite.isChecked()
    tab.export()
    wait_until(_is_over(export), "the end of the export")
    assert export.progress.state == "failed"
    assert tab.text.text().endswith("is there already; choose another folder, or tick Replace")
    tab.overwrite.click()
    export.edit("gaps", "1")
    tab.export()
    wait_until(_is_over(export), "the end of the export")
    assert export.progress.state == "done"
    assert export.progress.done.total.clips == 11  # type: ignore[union-attr]
    _type(tab.out, str(tmp_path / "other"))
    wait_until(lambda: not tab.overwrite.isVisible(), "nothing there to replace")
    assert not export.settings.overwrite


@pytest.mark.parametrize("what", ["files", "file", "link"])
def test_what_is_in_the_way_is_never_touched(
    tab: ExportTab, export: ExportController, tmp_path: Path, what: str
) -> None:
    out = tmp_path / "dataset"
    if what == "files":
        out.mkdir()
        (out / "thesis.txt").write_text("years of work")
    elif what == "file":
        out.write_text("in the way")
    else:
        (tmp_path / "elsewhere").mkdir()
        out.symlink_to(tmp_path / "elsewhere")
    before = snapshot(tmp_path)
    export.edit("overwrite", True)
    tab.export()
    wait_until(_is_over(export), "the end of the export")
    assert export.progress.state == "failed"
    assert "choose" in tab.text.text()
    assert " -o" not in tab.text.text()
    assert snapshot(tmp_path) == before


@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_said(tab: ExportTab, export: ExportController, tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o555)
    _type(tab.out, str(tmp_path / "closed" / "dataset"))
    tab.export()
    wait_until(_is_over(export), "the end of the export")
    assert "cannot write" in tab.text.text()


def test_a_full_disk_is_said_and_leaves_nothing(tab: ExportTab, export: ExportController, tmp_path: Path) -> None:
    before = snapshot(tmp_path)
    tab.export()
    # Before it has imported all that it needs.
    resource.prlimit(_child(export).pid, resource.RLIMIT_FSIZE, (500, 500))
    wait_until(_is_over(export), "the end of the export")
    assert export.progress.state == "failed"
    assert "cannot be written" in tab.text.text()
    assert snapshot(tmp_path) == before


def test_videos_that_have_moved_are_asked_for(
    tab: ExportTab, export: ExportController, remarks: list[str], tmp_path: Path
) -> None:
    assert not tab.videos.isVisible()
    (tmp_path / "videos").rename(tmp_path / "away")
    export.edit("source", "folder")
    wait_until(tab.videos.isVisible, "the question")
    assert "its video is not at" in tab.summary.text()
    export.edit("frame_files", "none")
    assert not tab.videos.isVisible()
    export.edit("frame_files", "copy")
    export.edit("source", "video")
    wait_until(lambda: _is_counted(tab)() and tab.videos.isVisible(), "the question about one video")
    tab.export()
    (text,) = remarks
    assert "say in Videos at where it is now" in text
    assert export.progress.state == "idle"
    _type(tab.videos, str(tmp_path / "away"))
    tab.export()
    wait_until(_is_over(export), "the end of the export")
    assert export.progress.state == "done", export.progress.text


def test_no_clip_at_all_is_one_line_and_no_dataset(tab: ExportTab, export: ExportController, tmp_path: Path) -> None:
    export.edit("only_accepted", True)
    tab.export()
    wait_until(_is_over(export), "the end of the export")
    assert export.progress.state == "failed"
    assert tab.text.text() == (
        "no dataset: none of 38 clips is left (not_accepted 38); accept something, or take Only accepted off"
    )
    assert sorted(os.listdir(tmp_path)) == ["masks", "videos"]


def test_what_cannot_be_used_is_left_out_and_named(tab: ExportTab, export: ExportController, tmp_path: Path) -> None:
    (tmp_path / "masks" / "<b>nonsense.masks.json").write_text("nonsense")
    save_masks(of_letters("AA..", "..AA", name="still"), tmp_path / "masks" / "still.masks.json")
    export.edit("source", "folder")
    tab.export()
    wait_until(_is_over(export), "the end of the export")
    lines = tab.text.text().splitlines()
    assert lines[0].startswith("70 clips of 3 videos, ")
    assert lines[1].startswith(f"left out: {tmp_path}/masks/<b>nonsense.masks.json: ")
    assert lines[2] == "without a clip: still"
    assert len(lines) == 3
    assert tab.text.textFormat() == Qt.TextFormat.PlainText


def test_what_is_not_saved_is_not_exported(
    tab: ExportTab, export: ExportController, remarks: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "masks" / "clip.masks.json"
    # Another program has changed the file.
    save_masks(load_masks(path).decide(ClipVerdict((4, 5), "reject", by="somebody else")), path)
    export.desk.act("reject", lambda masks, _: masks.decide(ClipVerdict((0, 1), "reject")))
    wait_until(lambda: export.desk.save_state.kind == "conflict", "the conflict")
    tab.export()
    wait_until(lambda: remarks, "a remark")
    assert "not all that you did is saved" in remarks[-1]
    assert export.progress.state == "idle"
    # Other masks have nothing to do with it.
    export.edit("chosen", (str(tmp_path / "masks" / "b.masks.json"),))
    export.edit("source", "chosen")
    tab.export()
    wait_until(_is_over(export), "the end of the export")
    assert export.progress.state == "done"


def test_the_window_goes_on_while_what_is_exported_is_still_being_saved(
    tab: ExportTab, export: ExportController, remarks: list[str], tmp_path: Path
) -> None:
    # By another way, as where a home folder is a link.
    (tmp_path / "link").symlink_to(tmp_path / "masks")
    export.edit("chosen", (str(tmp_path / "link" / "clip.masks.json"),))
    export.edit("source", "chosen")
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(tmp_path / "masks")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        export.desk.act("reject", lambda masks, _: masks.decide(ClipVerdict((0, 1), "reject")))
        for _ in range(2):
            tab.export()
            assert (tab.text.text(), export.progress.state) == ("saving …", "starting")
            assert (tab.start.isEnabled(), tab.stop.isEnabled()) == (False, True)
            tab.stop.click()
            assert (tab.text.text(), export.progress.state) == ("cancelled; nothing was written", "cancelled")
        tab.export()
        wait(200)
        assert export.progress.state == "starting" and not of_module("export_job")
        holder.kill()
    wait_until(_is_over(export), "the end of the export")
    assert export.progress.done is not None and remarks == []
    assert export.progress.done.total.dropped_clips == {"rejected": 1}


def test_whatever_goes_wrong_while_counting_is_said(
    tab: ExportTab, export: ExportController, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise MemoryError("no memory")

    with monkeypatch.context() as patch:
        patch.setattr("flowcut_napari.widgets.export.counting.Curation", fail)
        export.counting.refresh()
        wait_until(lambda: export.counting.problem, "what went wrong")
    assert "MemoryError: no memory" in tab.summary.text() and "counting" not in tab.summary.text()
    export.counting.refresh()
    wait_until(lambda: export.counting.counts is not None and not export.counting.problem, "counts again")


# How it ends.


@pytest.fixture
def long_one(export: ExportController, tmp_path: Path) -> Path:
    """Set an export that takes a while, in the place of a dataset; return its folder."""
    out = tmp_path / "dataset"
    export_dataset([tmp_path / "masks" / "b.masks.json"], out, ExportPlan())
    write_long(tmp_path / "long", tmp_path / "long masks")
    for name, value in (("chosen", (str(tmp_path / "long masks"),)), ("source", "chosen"), ("format", "davis")):
        export.edit(name, value)
    export.edit("out", str(out))
    export.edit("overwrite", True)
    return out


@pytest.mark.parametrize("moment", ["starting", "running", "stopped"])
def test_cancelled_it_leaves_all_as_it_was(
    tab: ExportTab, export: ExportController, long_one: Path, tmp_path: Path, moment: str
) -> None:
    before = snapshot(tmp_path)
    states = []
    export.changed.connect(lambda: states.append(export.progress.state))
    tab.export()
    child = _child(export)
    if moment != "starting":
        wait_until(lambda: export.progress.step is not None and export.progress.step.frames > 0, "some frames")
        assert (tmp_path / ".dataset.part").is_dir()
        assert "frames" in tab.text.text()
        assert 0 < tab.bar.value() < tab.bar.maximum()
    if moment == "stopped":
        # It cannot tidy up itself.
        os.kill(child.pid, signal.SIGSTOP)
    assert (tab.start.isEnabled(), tab.stop.isEnabled()) == (False, True)
    tab.stop.click()
    assert (tab.start.isEnabled(), tab.stop.isEnabled()) == (False, False)
    tab.cancel()
    wait_until(_is_over(export), "the end of the export")
    assert list(dict.fromkeys(states))[-2:] == ["cancelling", "cancelled"]
    assert tab.text.text() == "cancelled; nothing was written"
    assert not in_session(child.pid)
    assert snapshot(tmp_path) == before
    assert (tab.start.isEnabled(), tab.stop.isEnabled()) == (True, False)


def test_one_that_is_killed_has_failed_and_leaves_all_as_it_was(
    tab: ExportTab, export: ExportController, long_one: Path, tmp_path: Path
) -> None:
    before = snapshot(tmp_path)
    tab.export()
    wait_until(lambda: export.progress.step is not None and export.progress.step.frames > 0, "some frames")
    os.kill(_child(export).pid, signal.SIGKILL)
    wait_until(_is_over(export), "the end of the export")
    assert export.progress.state == "failed"
    assert "SIGKILL" in tab.text.text()
    assert snapshot(tmp_path) == before


def test_a_window_that_closes_ends_it_and_leaves_all_as_it_was(
    bench: Workbench, tab: ExportTab, export: ExportController, long_one: Path, tmp_path: Path
) -> None:
    before, names = snapshot(tmp_path), sorted(os.listdir(tmp_path))
    tab.export()
    wait_until(lambda: export.progress.step is not None and export.progress.step.frames > 0, "some frames")
    os.kill(_child(export).pid, signal.SIGSTOP)
    bench.shutdown()
    wait_until(lambda: not started_here(), "all processes gone", 10)
    wait_until(lambda: sorted(os.listdir(tmp_path)) == names, "nothing half-written", 10)
    assert snapshot(tmp_path) == before


def test_one_that_was_whole_when_it_was_cancelled_is_not_said_to_be_nothing(
    tab: ExportTab, export: ExportController, tmp_path: Path
) -> None:
    tab.export()
    # Nothing is heard of it until it is over.
    _child(export)
    end = 200
    while not (tmp_path / "dataset").is_dir() and end:
        QTest.qSleep(50)
        end -= 1
    export.cancel()
    wait_until(_is_over(export), "the end of the export")
    assert tab.text.text() == f"cancelled too late: the dataset was whole already → {tmp_path / 'dataset'}"
    assert sorted(os.listdir(tmp_path)) == ["dataset", "masks", "videos"]


def test_an_export_goes_on_while_its_panel_is_away(
    bench: Workbench, tab: ExportTab, export: ExportController, tmp_path: Path
) -> None:
    wanted: list[Path] = []
    tab.export()
    tab.hide()
    wait_until(_is_over(export), "the end of the export")
    again = ExportTab(bench)
    again.browse_wanted.connect(wanted.append)
    assert again.controller is export
    assert again.text.text().startswith("38 clips of 1 video")
    again.browse.click()
    assert wanted == [tmp_path / "dataset"]
    export.edit("split", "train = 0.5, val=0.5")
    export.edit("source", "folder")
    export.edit("overwrite", True)
    again.export()
    wait_until(_is_over(export), "the end of the export")
    assert export.progress.done is not None, export.progress.text
    assert export.progress.done.parts == ("train", "val")
    again.browse.click()
    assert wanted[1:] == [tmp_path / "dataset" / "train"]


def test_all_controls_are_reached_by_the_tab_key(tab: ExportTab) -> None:
    names = ["source", "gaps", "iou", "method", "clip_length", "only_accepted", "format", "frame_files", "split"]
    names += ["dataset out", "browse_dataset_out", "export", "copy_curate"]
    for name in names:
        control = _find(tab, name)
        assert control.focusPolicy() & Qt.FocusPolicy.TabFocus or name == "iou", name
        assert control.toolTip(), name
    order = []
    control = tab
    for _ in range(400):
        control = control.nextInFocusChain()
        order.append(control.objectName())
    places = [order.index(name) for name in names]
    assert places == sorted(places)


# In words.


def test_the_table_has_every_figure_and_only_the_reasons_that_occur() -> None:
    one = Yield(10, 6, 9, 18, Counter(no_mask=1, no_match=3), Counter(alone=2, unmatched=7))
    two = Yield(8, 8, 8, 16, Counter(), Counter(contested=1))
    headings, rows = table_of({2: two, 1: one}, "windows")
    assert headings == ["all", "gap 1", "gap 2"]
    assert [(row.depth, row.label, *row.values) for row in rows] == [
        (0, "windows", "18", "10", "8"),
        (0, "clips kept", "14", "6", "8"),
        (1, "share", "78%", "60%", "100%"),
        (0, "instances", "17", "9", "8"),
        (0, "clips dropped", "4", "4", "0"),
        (1, "no mask", "1", "1", "0"),
        (1, "no match", "3", "3", "0"),
        (0, "masks left out", "10", "9", "1"),
        (1, "alone", "2", "2", "0"),
        (1, "unmatched", "7", "7", "0"),
        (1, "contested", "1", "0", "1"),
    ]
    assert all(row.tip for row in rows)


def test_every_reason_has_words() -> None:
    everything = Yield(1, 0, 0, 0, Counter(dict.fromkeys(CLIP_REASONS, 1)), Counter(dict.fromkeys(MASK_REASONS, 1)))
    _, rows = table_of({1: everything, 12_000: Yield()})
    application()
    assert len(rows) == 6 + len(CLIP_REASONS) + len(MASK_REASONS)
    table = CountsTable()
    table.show_yields({gap: everything for gap in range(1, 30)}, "pairs")
    assert table.columnCount() == 30
    assert table.item(0, 0).text() == "29"


def test_no_figure_is_cut_off_and_no_row_hidden() -> None:
    application()
    table = CountsTable()
    table.resize(370, 100)
    table.show()
    for gaps, is_scrolled in ((range(1, 3), False), (range(1, 13), True)):
        table.show_yields({gap: Yield(123_456, 98_765, 98_765, 0, Counter(no_match=24_691)) for gap in gaps}, "pairs")
        wait(50)
        assert table.horizontalScrollBar().isVisible() == is_scrolled
        text = table.fontMetrics().horizontalAdvance(table.item(0, 0).text())
        assert table.columnWidth(0) > text
        assert table.rowViewportPosition(table.rowCount() - 1) + table.rowHeight(0) <= table.viewport().height()
    table.hide()


@pytest.mark.parametrize(
    ("progress", "words"),
    [
        (ExportProgress(), ""),
        (ExportProgress("starting"), "starting …"),
        (ExportProgress("running", ExportStep(0, 1)), "0 of 1 video"),
        (ExportProgress("running", ExportStep(1200, 2985)), "1200 of 2,985 videos"),
        (ExportProgress("cancelling", ExportStep(3, 90)), "cancelling …"),
        (ExportProgress("failed", text="no\nline"), "no\\nline"),
        (
            ExportProgress(
                "done",
                done=ExportDone(
                    Path("/d"),
                    ("a", "b"),
                    1,
                    Yield(2, 1, 1),
                    tuple("efghijklmn"),
                    tuple((str(number), f"{number}: no") for number in range(10)),
                    ("kept as stale",),
                    75.0,
                ),
            ),
            "1 clip of 1 video, 1 instance in 1 min 15 s → /d (a, b)\n"
            + "".join(f"left out: {number}: no\n" for number in range(8))
            + "and 2 more; dataset.json names them all\n"
            "without a clip: e, f, g, h, i, j, k, l and 2 more\nnote: kept as stale",
        ),
    ],
)
def test_every_state_has_its_words(progress: ExportProgress, words: str) -> None:
    assert progress.describe() == words


def test_what_is_wrong_with_videos_is_said_beside_the_counts() -> None:
    counts = Counts(
        done=20,
        total=90,
        failed=(("x", "x: no"),),
        failures=4,
        empty=("a", "b"),
        empties=3,
        moved=(("m", "/m"),),
        away=2,
    )
    assert describe_counts("", counts, True).splitlines() == [
        "counting: 20 of 90 videos …",
        "cannot be used: x: no",
        "and 3 more that cannot be used",
        "without a clip: a, b and 1 more",
        "m: its video is not at /m any more",
        "and 1 more videos that have moved",
    ]
    assert describe_counts("", None, True) == "counting …"
    # Of one video the figures come at once.
    assert describe_counts("", Counts(done=1, total=1), True) == ""


def test_no_option_of_the_command_line_is_named_in_the_window() -> None:
    core = Path(__file__).parents[2] / "flowcut_napari" / "core"
    files = ("dataset", "sources", "files", "frame_files", "about", "decisions", "clips", "store", "tracklets")
    found = 0
    for name in files:
        for line in (core / f"{name}.py").read_text().splitlines():
            if any(option in line for option in (" --", '"--', "-o ", '-o"', "-o,")) and '"' in line:
                found += 1
                shown = window_words(line)
                # Both halves of a text that is broken into two lines.
                if "give --videos with" in line or "or --frame-files none" in line:
                    continue
                assert "--" not in shown, line
                assert "-o" not in shown.replace("-out", ""), line
    assert found > 8


@pytest.mark.parametrize(
    ("text", "gaps"), [("1", (1,)), ("1, 2,4", (1, 2, 4)), (" 3 1 ", (3, 1)), ("2;", (2,)), ("1,,2", (1, 2))]
)
def test_gaps_are_read_as_people_write_them(text: str, gaps: tuple[int, ...]) -> None:
    assert parse_gaps(text) == gaps


@pytest.mark.parametrize("text", ["", " ", "a", "1-4", "1.5", "-1", "1" * 40, "²"])
def test_no_other_text_is_gaps(text: str) -> None:
    with pytest.raises(InputError):
        parse_gaps(text)


def test_clip_lengths_are_numbers_all_or_what_suits_the_format() -> None:
    assert [parse_clip_length(text) for text in ("auto (2)", "", " ALL ", "5")] == [None, None, "all", 5]
    for text in ("-2", "5 frames", "1e3", "²"):
        with pytest.raises(InputError):
            parse_clip_length(text)


def test_what_is_at_the_place_of_a_dataset_is_known(bench: Workbench, tmp_path: Path) -> None:
    place = tmp_path / "place"
    assert look_at(place) == "free"
    place.mkdir()
    assert look_at(place) == "free"
    (place / "dataset.json").write_text("{}")
    assert look_at(place) == "taken"
    export_dataset([tmp_path / "masks" / "b.masks.json"], tmp_path / "ours", ExportPlan())
    assert look_at(tmp_path / "ours") == "ours"
    assert look_at(tmp_path / "masks" / "b.masks.json") == "taken"
