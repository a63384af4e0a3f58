from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from benches import SMALL, open_bench
from conftest import write_frames
from made_masks import write_clip
from napari_window import wait, wait_until
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication, QFileDialog, QLabel, QMainWindow, QMessageBox

from flowcut_napari.core import ClipVerdict, CurationParameters, load_masks
from flowcut_napari.core.dataset import ExportPlan, export_dataset
from flowcut_napari.core.editing import judge_clip
from flowcut_napari.core.masks_file import MasksFile
from flowcut_napari.core.masks_text import MasksEncoder
from flowcut_napari.core.recovery import keep_copy, list_recovery, new_copy, recovery_folder
from flowcut_napari.core.store import update_masks
from flowcut_napari.viewer.preferences import Preferences
from flowcut_napari.viewer.session import Session, SessionVideo, read_session, write_session
from flowcut_napari.viewer.window_session import crashed_windows, windows_folder
from flowcut_napari.widgets.curate.desk import curation_of
from flowcut_napari.widgets.session.keeper import SessionKeeper, session_of
from flowcut_napari.widgets.session.kept import REASONS, KeptDialog
from flowcut_napari.widgets.session.offers import OfferBar
from flowcut_napari.widgets.workbench import Workbench

USER = Path(__file__).parent.parent / "viewer" / "window_user.py"


@pytest.fixture
def bench() -> Iterator[Workbench]:
    with open_bench() as opened:
        opened.set_live(False)
        yield opened


@pytest.fixture
def keeper(bench: Workbench) -> SessionKeeper:
    return session_of(bench)


@pytest.fixture
def bar(keeper: SessionKeeper) -> OfferBar:
    return OfferBar(keeper.offers)


@pytest.fixture
def masks_path(tmp_path: Path) -> Path:
    """A masks file of a video of six frames, in out/ beside videos/."""
    write_clip(tmp_path / "videos", tmp_path / "out")
    return tmp_path / "out" / "clip.masks.json"


def heard(signal: Any) -> list[Any]:
    found: list[Any] = []
    signal.connect(lambda *values: found.append(values[0] if len(values) == 1 else values))
    return found


def bench_of(keeper: SessionKeeper) -> Workbench:
    bench = keeper.parent()
    assert isinstance(bench, Workbench)
    return bench


def offered(bar: OfferBar, words: str) -> None:
    wait_until(lambda: words in bar.text.text() and not bar.isHidden(), f"an offer with {words!r}", 10)


def open_masks(keeper: SessionKeeper, path: Path) -> Any:
    bench = keeper.parent()
    keeper.open_masks(path)
    desk = curation_of(bench)
    wait_until(lambda: desk.document is not None, "the masks", 10)
    return desk


# Sessions.


def test_a_session_opens_everything_again(tmp_path: Path, masks_path: Path) -> None:
    other = write_frames(tmp_path / "videos" / "other", 4)
    path = tmp_path / "work.flowcut.json"
    parameters = SMALL.with_changes(tau=0.33)
    with open_bench() as bench:
        bench.set_live(False)
        keeper = session_of(bench)
        bench.open(str(other))
        open_masks(keeper, masks_path)
        bench.set_parameters(parameters)
        curation_of(bench).set_parameters(CurationParameters(gaps=(1, 2), iou=0.6))
        bench.viewer.dims.set_current_step(0, 4)
        keeper.note_place("Curate", "Match")
        keeper.note_export({"format": "davis"})
        keeper.save_session(path)
        wait_until(path.exists, "the session", 10)
    with open_bench() as bench:
        bench.set_live(False)
        keeper = session_of(bench)
        places, exports = heard(keeper.place_restored), heard(keeper.export_restored)
        keeper.open_session(path)
        wait_until(lambda: places, "the session open again", 10)
        assert bench.video is not None and (bench.video.name, bench.frame) == ("clip", 4)
        assert sorted(video.name for video in bench.desk.videos()) == ["clip", "other"]
        assert [layer.name for layer in bench.viewer.layers if layer.visible and layer.name in ("clip", "other")] == [
            "clip"
        ]
        assert bench.parameters == parameters
        assert (places, exports) == ([("Curate", "Match")], [{"format": "davis"}])
        desk = curation_of(bench)
        wait_until(lambda: desk.document is not None, "its masks", 10)
        assert desk.path == masks_path and desk.parameters == CurationParameters(gaps=(1, 2), iou=0.6)
        assert not keeper.offers.items


def test_a_video_of_a_session_that_is_open_is_not_opened_twice(bench: Workbench, masks_path: Path) -> None:
    keeper = session_of(bench)
    open_masks(keeper, masks_path)
    path = masks_path.with_name("a.flowcut.json")
    keeper.save_session(path)
    wait_until(path.exists, "the session", 10)
    places = heard(keeper.place_restored)
    keeper.open_session(path)
    wait_until(lambda: places, "the session open again", 10)
    assert [video.name for video in bench.desk.videos()] == ["clip"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"schema": "flowcut.session/7"}', "made by a newer version of FlowCut"),
        ("{", "damaged"),
        ('{"schema": "flowcut.session/1", "videos": 3}', "damaged"),
    ],
)
def test_a_bad_session_is_one_remark_and_changes_nothing(
    bench: Workbench, tmp_path: Path, masks_path: Path, content: str, words: str
) -> None:
    keeper = session_of(bench)
    open_masks(keeper, masks_path)
    video, parameters = bench.video, bench.parameters
    path = tmp_path / "bad.flowcut.json"
    path.write_text(content)
    said = heard(bench.remarked)
    keeper.open_session(path)
    wait_until(lambda: said, "a remark", 10)
    assert len(said) == 1 and words in said[0] and "bad.flowcut.json" in said[0]
    assert (bench.video, bench.parameters) == (video, parameters)


def test_a_session_in_a_place_that_cannot_be_written_is_said(
    bench: Workbench, keeper: SessionKeeper, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    said = heard(bench.remarked)
    keeper.save_session(tmp_path / "file" / "a.flowcut.json")
    wait_until(lambda: said, "a remark", 10)
    assert "cannot be written" in said[0]


def test_masks_that_are_nonsense_leave_the_video_without_masks(
    bench: Workbench, tmp_path: Path, masks_path: Path
) -> None:
    item = SessionVideo(video=load_masks(masks_path).video, masks=str(masks_path), frame=2)
    path = tmp_path / "a.flowcut.json"
    write_session(Session(videos=(item,), current=0, parameters=SMALL), path)
    masks_path.write_text('{"schema": "flowcut.masks/1", "frames": 5}')
    said = heard(bench.remarked)
    session_of(bench).open_session(path)
    wait_until(lambda: bench.video is not None and said, "the video", 10)
    assert bench.video is not None and bench.video.name == "clip" and bench.frame == 2
    assert "clip.masks.json" in said[-1] and "damaged" in said[-1] and "without masks" in said[-1]
    assert masks_path.read_text() == '{"schema": "flowcut.masks/1", "frames": 5}'


# Videos that have moved.


def test_a_video_that_has_moved_is_asked_for_and_its_masks_remember_where_it_is(
    bench: Workbench, keeper: SessionKeeper, bar: OfferBar, masks_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = masks_path.parent.parent / "new place"
    shutil.move(masks_path.parent.parent / "videos" / "clip", place)
    keeper.open_masks(masks_path)
    offered(bar, "The video clip is not at ")
    assert bench.video is None
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(place))
    bar.buttons["find_video"].click()
    wait_until(lambda: bench.video is not None, "the video", 10)
    assert bar.isHidden() and bench.video is not None and bench.video.path == place
    desk = curation_of(bench)
    wait_until(lambda: desk.document is not None, "its masks", 10)
    assert load_masks(masks_path).video.path == str(place.resolve())


def test_a_place_with_another_video_is_said_and_the_question_stays(
    bench: Workbench, keeper: SessionKeeper, bar: OfferBar, masks_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = write_frames(masks_path.parent / "wrong", 3)
    shutil.rmtree(masks_path.parent.parent / "videos")
    before = masks_path.read_bytes()
    keeper.open_masks(masks_path)
    offered(bar, "The video clip is not at ")
    said = heard(bench.remarked)
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(wrong))
    bar.buttons["find_video"].click()
    wait_until(lambda: said, "a remark", 10)
    assert "had 6 frames of 64x48, but" in said[0]
    assert not bar.isHidden() and bench.video is None and masks_path.read_bytes() == before
    bar.buttons["leave_video"].click()
    assert bar.isHidden()


def test_videos_that_moved_together_are_asked_for_once(
    bench: Workbench, keeper: SessionKeeper, bar: OfferBar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    write_clip(old, tmp_path / "out")
    write_clip(old, tmp_path / "out", name="second")
    paths = [tmp_path / "out" / f"{name}.masks.json" for name in ("clip", "second")]
    items = [SessionVideo(video=load_masks(path).video, masks=str(path)) for path in paths]
    write_session(Session(videos=tuple(items), current=1, parameters=SMALL), tmp_path / "a.flowcut.json")
    old.rename(new)
    keeper.open_session(tmp_path / "a.flowcut.json")
    offered(bar, "(1 more)")
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(new / "clip"))
    bar.buttons["find_video"].click()
    wait_until(lambda: not keeper.offers.items, "both found", 10)
    assert sorted(video.name for video in bench.desk.videos()) == ["clip", "second"]
    assert bench.video is not None and bench.video.name == "second"


def test_a_video_that_is_another_by_now_is_opened_and_that_is_said(
    bench: Workbench, keeper: SessionKeeper, masks_path: Path
) -> None:
    first, second = sorted((masks_path.parent.parent / "videos" / "clip").iterdir())[:2]
    first.write_bytes(second.read_bytes())
    said = heard(bench.remarked)
    open_masks(keeper, masks_path)
    assert any("has changed since these masks were made" in text for text in said)


def test_an_offer_that_is_answered_while_its_dialog_is_open_is_no_error(
    bench: Workbench, keeper: SessionKeeper, bar: OfferBar, masks_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(masks_path.parent.parent / "videos")
    keeper.open_masks(masks_path)
    offered(bar, "The video clip is not at ")

    def choose(*_: object) -> str:
        keeper.offers.items[0].actions["leave_video"][1]()
        return str(masks_path.parent)

    monkeypatch.setattr(QFileDialog, "getExistingDirectory", choose)
    find = keeper.offers.items[0].actions["find_video"][1]
    find()
    assert bar.isHidden()
    find()  # a click that came late
    assert not keeper.offers.items and bench.video is None


def test_a_video_that_is_asked_for_already_is_asked_for_once(
    bench: Workbench, keeper: SessionKeeper, bar: OfferBar, masks_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = masks_path.parent.parent / "new place"
    shutil.move(masks_path.parent.parent / "videos" / "clip", place)
    for _ in range(3):
        keeper.open_masks(masks_path)
    offered(bar, "The video clip is not at ")
    wait(300)
    assert len(keeper.offers.items) == 1
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(place))
    bar.buttons["find_video"].click()
    wait_until(lambda: bench.video is not None and not keeper.offers.items, "the video", 10)


def test_what_is_kept_of_a_window_changes_nothing_in_it(
    bench: Workbench, keeper: SessionKeeper, masks_path: Path, tmp_path: Path
) -> None:
    open_masks(keeper, masks_path)
    assert bench.video is not None
    known = bench.results
    made_with, known.holds = known.parameters, False
    other = write_frames(tmp_path / "videos" / "other", 3)
    bench.open(str(other))
    bench.set_parameters(bench.parameters.with_changes(tau=0.77))
    path = tmp_path / "a.flowcut.json"
    keeper.save_session(path)
    wait_until(path.exists, "the session", 10)
    assert known.parameters == made_with and known.holds is False
    assert [item.masks for item in read_session(path).videos] == [str(masks_path), None]


# What others left behind.


def crash(tmp_path: Path, masks_path: Path) -> None:
    """Leave a window behind that was killed with the clip open at frame 3."""
    item = SessionVideo(video=load_masks(masks_path).video, masks=str(masks_path), frame=3)
    path = tmp_path / "open.flowcut.json"
    write_session(Session(videos=(item,), current=0, parameters=SMALL.with_changes(tau=0.21)), path)
    with subprocess.Popen(
        [sys.executable, USER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.kill()


def test_a_window_that_was_killed_is_offered_and_restored(tmp_path: Path, masks_path: Path) -> None:
    crash(tmp_path, masks_path)
    with open_bench() as bench:
        bench.set_live(False)
        bar = OfferBar(session_of(bench).offers)
        offered(bar, "FlowCut ended unexpectedly on 20")
        assert "with clip open" in bar.text.text()
        bar.buttons["restore_window"].click()
        wait_until(lambda: bench.video is not None and bench.frame == 3, "what was open", 10)
        assert bar.isHidden() and bench.parameters.tau == 0.21
        desk = curation_of(bench)
        wait_until(lambda: desk.document is not None, "its masks", 10)
    assert crashed_windows() == []


def test_a_window_is_offered_until_somebody_answers(tmp_path: Path, masks_path: Path) -> None:
    for _ in range(2):
        crash(tmp_path, masks_path)
    for seen in ("(1 more)", "(1 more)"):
        with open_bench() as bench:
            offered(OfferBar(session_of(bench).offers), seen)
    with open_bench() as bench:
        bar = OfferBar(session_of(bench).offers)
        offered(bar, "(1 more)")
        bar.buttons["forget_window"].click()
        assert "ended unexpectedly" in bar.text.text() and "more" not in bar.text.text()
    with open_bench() as bench:
        bar = OfferBar(session_of(bench).offers)
        offered(bar, "ended unexpectedly")
        bar.buttons["forget_window"].click()
        assert bar.isHidden()
    assert not any(windows_folder().iterdir())


def test_a_window_that_closes_before_it_has_looked_keeps_nobody_from_being_asked(
    tmp_path: Path, masks_path: Path
) -> None:
    crash(tmp_path, masks_path)
    with open_bench() as bench:
        session_of(bench)
    wait_until(lambda: not list(windows_folder().glob("*.lock")), "all let go of", 10)
    (found,) = crashed_windows()
    found.release()


def test_what_is_open_is_kept_while_the_window_runs_and_forgotten_at_its_end(masks_path: Path) -> None:
    def kept() -> list[Path]:
        return list(windows_folder().glob("*.json"))

    with open_bench(preferences=Preferences(autosave_seconds=1)) as bench:
        bench.set_live(False)
        keeper = session_of(bench)
        open_masks(keeper, masks_path)
        bench.viewer.dims.set_current_step(0, 5)
        wait_until(lambda: kept() and read_session(kept()[0]).videos[0].frame == 5, "what is open", 10)
        (item,) = read_session(kept()[0]).videos
        assert item.masks == str(masks_path) and item.video == load_masks(masks_path).video
        assert crashed_windows() == []
    assert not kept()


def test_nothing_is_kept_of_a_window_where_the_user_wants_that(keeper: SessionKeeper, masks_path: Path) -> None:
    open_masks(keeper, masks_path)
    wait(300)
    assert not windows_folder().exists()


def test_work_that_could_not_be_saved_is_offered_and_put_back(masks_path: Path) -> None:
    ours = load_masks(masks_path).decide(ClipVerdict((0, 1), "reject"))
    keep_copy(MasksEncoder().encode(ours), new_copy(masks_path), masks_path, "unsaved")
    with open_bench() as bench:
        bench.set_live(False)
        bar = OfferBar(session_of(bench).offers)
        offered(bar, "could not be saved")
        bar.buttons["restore_work"].click()
        desk = curation_of(bench)
        wait_until(lambda: desk.document is not None, "the work", 10)
        assert desk.masks == ours == load_masks(masks_path)
        assert bar.isHidden()
    assert [item.kind for item in list_recovery()] == ["replaced"]


def test_work_whose_folder_is_gone_is_offered_until_it_is_put_elsewhere(
    masks_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = load_masks(masks_path).decide(ClipVerdict((0, 1), "reject"))
    gone = tmp_path / "gone" / "clip.masks.json"
    keep_copy(MasksEncoder().encode(ours), new_copy(gone), gone, "unsaved")
    with open_bench() as bench:
        bench.set_live(False)
        bar = OfferBar(session_of(bench).offers)
        offered(bar, "could not be saved")
        said = heard(bench.remarked)
        bar.buttons["restore_work"].click()
        wait_until(lambda: said, "a remark", 10)
        assert "its folder is not there any more" in said[0] and not bar.isHidden()
        monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(tmp_path))
        bar.buttons["restore_work_elsewhere"].click()
        desk = curation_of(bench)
        wait_until(lambda: desk.document is not None, "the work", 10)
        assert desk.path == tmp_path / "clip.masks.json" and desk.masks == ours
    assert list_recovery() == []


# The end of a window.


class Answer:
    """Answers the question at the end with one button after the other."""

    def __init__(self, *buttons: str) -> None:
        self.buttons = list(buttons)
        self.asked: list[str] = []
        self._timer = QTimer()
        self._timer.timeout.connect(self._click)
        self._timer.start(30)

    def _click(self) -> None:
        box = QApplication.activeModalWidget()
        if isinstance(box, QMessageBox):
            self.asked.append(f"{box.text()} {box.informativeText()}")
            word = self.buttons.pop(0)
            next(button for button in box.buttons() if word in button.text().replace("&", "")).click()


@pytest.fixture
def main_window(keeper: SessionKeeper) -> Iterator[QMainWindow]:
    window = QMainWindow()
    window.show()
    keeper.watch(window)
    keeper.watch(window)
    yield window
    window.deleteLater()


def test_a_window_whose_work_is_saved_closes_without_a_word(
    keeper: SessionKeeper, main_window: QMainWindow, masks_path: Path
) -> None:
    desk = open_masks(keeper, masks_path)
    desk.act("reject", lambda masks, _: judge_clip(masks, (0, 1), "reject"))
    answer = Answer()
    assert main_window.close()
    assert answer.asked == [] and keeper.unsaved() == []
    saved = load_masks(masks_path)
    assert saved == desk.masks and saved.decisions.clips() == {(0, 1): "reject"}


@pytest.mark.parametrize(
    ("buttons", "closes", "kinds"),
    [(["Cancel"], False, ["unsaved"]), (["Close anyway"], True, ["unsaved"]), (["Save elsewhere"], True, [])],
)
def test_a_window_with_work_that_cannot_be_saved_asks(
    keeper: SessionKeeper,
    main_window: QMainWindow,
    masks_path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    buttons: list[str],
    closes: bool,
    kinds: list[str],
) -> None:
    desk = open_masks(keeper, masks_path)
    update_masks(masks_path, lambda masks: masks.decide(ClipVerdict((1, 2), "accept")) if masks else desk.masks)
    theirs = masks_path.read_bytes()
    desk.act("reject", lambda masks, _: judge_clip(masks, (0, 1), "reject"))
    wait_until(lambda: keeper.unsaved(), "a conflict", 10)
    (tmp_path / "mine").mkdir()
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(tmp_path / "mine"))
    answer = Answer(*buttons)
    assert main_window.close() == closes
    assert len(answer.asked) == 1
    assert "clip is not saved" in answer.asked[0] and "changed by another program" in answer.asked[0]
    assert masks_path.read_bytes() == theirs
    assert [item.kind for item in list_recovery()] == kinds
    if not kinds:
        # Under the name of its video: an export goes by it.
        assert load_masks(tmp_path / "mine" / "clip.masks.json") == desk.masks
        assert bench_of(keeper).results.saved_path == tmp_path / "mine" / "clip.masks.json"


def test_a_folder_that_comes_back_is_tried_again_before_anything_is_asked(
    keeper: SessionKeeper, main_window: QMainWindow, masks_path: Path
) -> None:
    desk = open_masks(keeper, masks_path)
    masks_path.parent.rename(masks_path.parent.with_name("away"))
    desk.act("reject", lambda masks, _: judge_clip(masks, (0, 1), "reject"))
    wait_until(lambda: keeper.unsaved(), "a failure", 10)
    masks_path.parent.with_name("away").rename(masks_path.parent)
    answer = Answer()
    assert main_window.close()
    assert answer.asked == [] and load_masks(masks_path) == desk.masks


def test_files_that_cannot_be_written_share_one_wait_at_the_end(
    bench: Workbench, keeper: SessionKeeper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    for name in ("a", "b", "c"):
        write_clip(tmp_path / "videos", tmp_path / name, name=name)
        keeper.open_masks(tmp_path / name / f"{name}.masks.json")
        wait_until(lambda name=name: (curation_of(bench).path or Path()).name == f"{name}.masks.json", name, 10)
    real = MasksFile.wait

    def held_up(file: MasksFile, seconds: float | None = None) -> bool:
        assert seconds is not None
        waits.append(seconds)
        wait(50)
        real(file, 0)
        return False

    monkeypatch.setattr(MasksFile, "wait", held_up)
    assert len(keeper.unsaved()) == 3
    assert waits[0] <= 3 and all(later <= earlier - 0.05 for earlier, later in pairwise(waits))


# Versions that were kept.


def kept_dialog(keeper: SessionKeeper) -> KeptDialog:
    keeper.ask_kept()
    wait_until(lambda: keeper._dialog is not None and keeper._dialog.isVisible(), "the dialog", 10)
    assert keeper._dialog is not None
    return keeper._dialog


def test_a_version_that_was_put_aside_is_found_and_put_back(
    bench: Workbench, keeper: SessionKeeper, masks_path: Path
) -> None:
    desk = open_masks(keeper, masks_path)
    update_masks(masks_path, lambda masks: masks.decide(ClipVerdict((1, 2), "accept")) if masks else desk.masks)
    theirs = load_masks(masks_path)
    desk.act("reject", lambda masks, _: judge_clip(masks, (0, 1), "reject"))
    ours = desk.masks
    wait_until(lambda: desk.save_state.kind == "conflict", "a conflict", 10)
    assert keeper.kept_versions(masks_path) == []  # this window is at work on it
    desk.take_theirs()
    wait_until(lambda: desk.masks == theirs, "theirs", 10)
    dialog = kept_dialog(keeper)
    assert [dialog.table.item(0, 1).text()] == [REASONS["put aside"]]
    assert str(masks_path) in dialog.findChild(QLabel, "kept_where").text()
    assert str(recovery_folder()) in dialog.findChild(QLabel, "kept_where").text()
    said = heard(bench.remarked)
    dialog.restore.click()
    wait_until(lambda: desk.masks == ours, "ours again", 10)
    assert load_masks(masks_path) == ours and "what was in its place is kept" in said[0]
    # And back again: nothing is ever lost.
    (item,) = keeper.kept_versions(masks_path)
    assert item.kind == "replaced"
    keeper.restore_kept(masks_path, item)
    wait_until(lambda: desk.masks == theirs, "theirs again", 10)
    desk.act("reject", lambda masks, _: judge_clip(masks, (2, 3), "reject"))
    assert desk.document.file.wait(10) and load_masks(masks_path) == desk.masks


def test_versions_of_other_files_are_not_shown_and_none_is_said(
    bench: Workbench, keeper: SessionKeeper, masks_path: Path, tmp_path: Path
) -> None:
    said = heard(bench.remarked)
    keeper.ask_kept()
    assert "none is open" in said[-1]
    open_masks(keeper, masks_path)
    other = tmp_path / "elsewhere" / masks_path.name
    keep_copy(masks_path.read_bytes(), new_copy(other), other, "replaced")
    keeper.ask_kept()
    wait_until(lambda: said[-1] == "no other versions of clip.masks.json are kept", "a remark", 10)


def test_nothing_is_put_back_over_work_that_is_not_saved(
    bench: Workbench, keeper: SessionKeeper, masks_path: Path
) -> None:
    desk = open_masks(keeper, masks_path)
    keep_copy(masks_path.read_bytes(), new_copy(masks_path), masks_path, "replaced")
    update_masks(masks_path, lambda masks: masks.decide(ClipVerdict((1, 2), "accept")) if masks else desk.masks)
    desk.act("reject", lambda masks, _: judge_clip(masks, (0, 1), "reject"))
    wait_until(lambda: desk.save_state.kind == "conflict", "a conflict", 10)
    before = masks_path.read_bytes()
    said = heard(bench.remarked)
    (item,) = [item for item in keeper.kept_versions(masks_path) if item.kind == "replaced"]
    keeper.restore_kept(masks_path, item)
    wait_until(lambda: said, "a remark", 10)
    assert "not all that you did is saved" in said[0]
    assert masks_path.read_bytes() == before and item in keeper.kept_versions(masks_path)


@pytest.mark.parametrize("answer", ["Replace", "Cancel", None])
def test_masks_are_saved_in_another_folder_under_their_name(
    bench: Workbench,
    keeper: SessionKeeper,
    masks_path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    answer: str | None,
) -> None:
    desk = open_masks(keeper, masks_path)
    folder = tmp_path / "new"
    folder.mkdir()
    target = folder / "clip.masks.json"
    if answer:
        target.write_text("there already")
    before = masks_path.read_bytes()
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(folder))
    answers = Answer(*filter(None, [answer]))
    keeper.ask_save_elsewhere()
    assert len(answers.asked) == bool(answer)
    desk.act("reject", lambda masks, _: judge_clip(masks, (0, 1), "reject"))
    assert desk.document.file.wait(10)
    if answer == "Cancel":
        assert desk.path == masks_path and target.read_text() == "there already"
        return
    assert desk.path == bench.results.saved_path == target
    assert load_masks(target) == desk.masks and masks_path.read_bytes() == before
    assert export_dataset([target], tmp_path / "dataset", ExportPlan()).failed == []
    # Where it is already is no other place.
    keeper.ask_save_elsewhere()
    assert desk.path == target


def test_the_end_of_a_window_is_that_of_its_dialogs(keeper: SessionKeeper, masks_path: Path) -> None:
    open_masks(keeper, masks_path)
    keep_copy(masks_path.read_bytes(), new_copy(masks_path), masks_path, "replaced")
    kept_dialog(keeper)
    bench_of(keeper).shutdown()
    assert not any(isinstance(widget, KeptDialog) and widget.isVisible() for widget in QApplication.topLevelWidgets())
