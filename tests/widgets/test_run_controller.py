from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from benches import SMALL, open_bench, settle
from command_line import in_session, written
from conftest import write_frames
from napari_window import started_here, wait, wait_until
from qtpy.QtTest import QTest

from flowcut_napari.core import FlowCutError, InputError, OutputError, load_masks, open_video, sample, segment_video
from flowcut_napari.widgets.run.controller import RunController, RunProgress, default_out, run_of
from flowcut_napari.widgets.run.widget import RunTab
from flowcut_napari.widgets.workbench import Workbench

FAST = SMALL.with_changes(crf=False, max_instances=1)
ALL = slice(None)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Workbench]:
    with open_bench(FAST) as opened:
        # What is looked at plays no part here.
        opened.set_live(False)
        opened.open(str(write_frames(tmp_path / "clip", 8, (96, 128))))
        yield opened


@pytest.fixture
def endless(bench: Workbench, tmp_path: Path) -> None:
    """A clip of so many frames that no test waits for its end."""
    folder = write_frames(tmp_path / "endless", 40, (96, 128))
    for index in range(40, 4000):
        os.link(folder / f"{index % 40:05d}.png", folder / f"{index:05d}.png")
    bench.open(str(folder))


@pytest.fixture
def run(bench: Workbench) -> RunController:
    return run_of(bench)


def _states(run: RunController) -> list[str]:
    """Collect the states that it goes through, each once."""
    states: list[str] = []

    def take() -> None:
        if not states or states[-1] != run.progress.state:
            states.append(run.progress.state)

    run.changed.connect(take)
    return states


def _is_over(run: RunController) -> Any:
    return lambda: run.progress.state not in ("idle", "starting", "running")


def test_a_run_ends_done_and_its_masks_are_shown(bench: Workbench, run: RunController, tmp_path: Path) -> None:
    states = _states(run)
    run.start(run.job(tmp_path / "out", slice(1, 6), 1))
    assert run.progress.is_going_on
    wait_until(_is_over(run), "the end of the run")
    assert states == ["starting", "running", "done"]
    progress = run.progress
    assert (progress.done, progress.total, progress.path) == (5, 5, tmp_path / "out" / "clip.masks.json")
    wait_until(lambda: bench.results.saved is not None, "the masks of the run")
    assert progress.path is not None
    assert bench.results.saved == load_masks(progress.path)
    assert bench.video is not None
    expected = segment_video(bench.video, FAST, indices=range(1, 6)).frames
    assert bench.results.saved.frames == expected  # type: ignore[union-attr]
    assert bench.results.masks(3) == expected[2]
    wait_until(lambda: not started_here(), "its process gone", 10)


def test_a_run_is_the_same_for_all_panels_of_a_viewer(bench: Workbench, run: RunController) -> None:
    assert run_of(bench) is run


def test_what_the_sliders_say_when_it_starts_is_what_it_does(
    bench: Workbench, run: RunController, tmp_path: Path
) -> None:
    run.start(run.job(tmp_path / "out", ALL, 1))
    bench.set_parameters(FAST.with_changes(tau=0.9))
    wait_until(_is_over(run), "the end of the run")
    assert load_masks(tmp_path / "out" / "clip.masks.json").parameters == FAST


def test_a_second_start_while_one_goes_on_does_nothing(
    bench: Workbench, endless: None, run: RunController, tmp_path: Path
) -> None:
    run.start(run.job(tmp_path / "out", ALL, 1))
    child = run._process._child
    run.start(run.job(tmp_path / "elsewhere", ALL, 1))
    assert run._process._child is child
    run.cancel()


@pytest.mark.parametrize("moment", ["starting", "running"])
def test_cancelled_it_ends_at_once_with_all_its_processes_and_writes_nothing(
    bench: Workbench, endless: None, run: RunController, tmp_path: Path, moment: str
) -> None:
    states = _states(run)
    run.start(run.job(tmp_path / "out", ALL, 2))
    child = run._process._child
    assert child is not None
    if moment == "running":
        wait_until(lambda: run.progress.done > 3, "some frames")
    run.cancel()
    assert run.progress.state == states[-1] == "cancelled"
    assert not run.progress.is_going_on
    wait_until(lambda: not in_session(child.pid), "its processes gone", 10)
    wait(50)
    assert states[-1] == "cancelled"
    assert written(tmp_path / "out") == []
    # Frames that were shown as they came belong to no file.
    assert bench.results.masks(0) is None
    run.cancel()
    assert states.count("cancelled") == 1


@pytest.mark.parametrize("moment", ["starting", "running"])
def test_a_run_whose_process_is_killed_has_failed_with_a_reason(
    bench: Workbench, endless: None, run: RunController, tmp_path: Path, moment: str
) -> None:
    run.start(run.job(tmp_path / "out", ALL, 2))
    child = run._process._child
    assert child is not None
    if moment == "running":
        wait_until(lambda: run.progress.done > 0, "a frame")
    os.kill(child.pid, signal.SIGKILL)
    wait_until(_is_over(run), "the end of the run")
    assert run.progress.state == "failed"
    assert run.progress.trouble is not None
    assert "before it was done" in run.progress.trouble.text
    assert "SIGKILL" in run.progress.describe()
    wait_until(lambda: not in_session(child.pid), "its processes gone", 10)
    assert written(tmp_path / "out") == []


def test_a_run_that_cannot_be_done_has_failed_and_another_one_can_be_started(
    bench: Workbench, run: RunController, tmp_path: Path
) -> None:
    states = _states(run)
    damaged = tmp_path / "clip" / "00003.png"
    whole = damaged.read_bytes()
    # Its header is all there: that it is damaged is found when its turn has come.
    damaged.write_bytes(whole[: len(whole) // 2])
    run.start(run.job(tmp_path / "out", ALL, 1))
    wait_until(_is_over(run), "the end of the run")
    assert run.progress.state == "failed"
    assert "00003.png" in run.progress.describe()
    damaged.write_bytes(whole)
    run.start(run.job(tmp_path / "out", ALL, 1))
    wait_until(_is_over(run), "the end of the run")
    assert states == ["starting", "running", "failed", "starting", "running", "done"]


def test_missing_weights_are_named(bench: Workbench, run: RunController, tmp_path: Path) -> None:
    bench.set_parameters(FAST.with_changes(features="dino"))
    run.start(run.job(tmp_path / "out", ALL, 1))
    wait_until(_is_over(run), "the end of the run")
    assert run.progress.trouble is not None
    assert run.progress.trouble.missing == ("dino",)
    assert run.progress.describe() == (
        "The weights of dino are not on this machine. "
        "Fetch them by: flowcut weights fetch dino; or choose Hand-made in the Tune tab."
    )


def test_what_cannot_be_done_is_refused_before_anything_starts(
    bench: Workbench, run: RunController, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="selects none of the 8 frames"):
        run.job(tmp_path / "out", slice(20, 30), 1)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError):
        run.job(tmp_path / "file" / "out", ALL, 1)
    assert run.progress == RunProgress()
    with open_bench() as empty, pytest.raises(FlowCutError, match="no video is open"):
        run_of(empty).job(tmp_path / "out", ALL, 1)


def test_the_result_of_a_video_that_was_left_is_not_shown_on_another(
    bench: Workbench, run: RunController, tmp_path: Path
) -> None:
    first = bench.video
    assert first is not None
    run.start(run.job(tmp_path / "out", ALL, 1))
    bench.open(str(write_frames(tmp_path / "other", 8, (96, 128))))
    wait_until(_is_over(run), "the end of the run")
    wait(300)
    assert run.progress.state == "done"
    assert bench.results.saved is None
    assert bench.results.masks(0) is None
    bench.switch(first)
    assert bench.results.saved == load_masks(tmp_path / "out" / "clip.masks.json")


@pytest.mark.parametrize("end", ["cancel", "kill"])
def test_a_run_that_ends_early_takes_back_the_frames_of_its_own_video_only(
    bench: Workbench, endless: None, run: RunController, tmp_path: Path, end: str
) -> None:
    own = bench.results
    run.start(run.job(tmp_path / "out", ALL, 1))
    wait_until(lambda: own.masks(0) is not None, "a frame")
    bench.open(str(write_frames(tmp_path / "other", 2, (96, 128))))
    saved = segment_video(bench.video, FAST)  # type: ignore[arg-type]
    bench.take_saved(saved)
    if end == "cancel":
        run.cancel()
    else:
        os.kill(run._process._child.pid, signal.SIGKILL)  # type: ignore[union-attr]
        wait_until(_is_over(run), "the end of the run")
    assert own.masks(0) is None
    assert bench.results.saved is saved
    assert bench.results.masks(0) == saved.frames[0]


def test_a_window_that_closes_ends_the_run(bench: Workbench, endless: None, run: RunController, tmp_path: Path) -> None:
    run.start(run.job(tmp_path / "out", ALL, 2))
    wait_until(lambda: run.progress.done > 0, "a frame")
    bench.shutdown()
    wait_until(lambda: not started_here(), "all processes gone", 10)
    assert written(tmp_path / "out") == []


@pytest.mark.parametrize(
    ("progress", "words"),
    [
        (RunProgress(), ""),
        (RunProgress("starting"), "loading models …"),
        (RunProgress("running", 0, 80), "0 of 80 frames"),
        (RunProgress("running", 10, 80, 5.0), "10 of 80 frames, 2.0 frames/s, 35 s left"),
        (RunProgress("done", 80, 80, 125.0, Path("a.masks.json")), "80 frames in 2 min 5 s → a.masks.json"),
        (RunProgress("cancelled", 10, 80), "cancelled after 10 of 80 frames; nothing was written"),
        (RunProgress("failed"), "failed"),
    ],
)
def test_every_state_has_its_words(progress: RunProgress, words: str) -> None:
    assert progress.describe() == words


def test_masks_go_beside_the_video_but_never_into_the_bundled_one(tmp_path: Path) -> None:
    video = open_video(write_frames(tmp_path / "videos" / "clip", 2))
    assert default_out(video) == tmp_path / "videos" / "masks"
    bundled = open_video(f"{sample.sample_folder()}::{sample.NAME}")
    assert default_out(bundled) == Path.home() / "flowcut-masks"
    if os.geteuid() != 0:  # who may write everywhere
        (tmp_path / "videos").chmod(0o555)
        assert default_out(video) == Path.home() / "flowcut-masks"
        (tmp_path / "videos").chmod(0o755)


def test_masks_of_a_davis_sequence_go_beside_its_frames_not_among_them(tmp_path: Path) -> None:
    root = tmp_path / "DAVIS"
    write_frames(root / "JPEGImages" / "480p" / "bear", 2)
    assert default_out(open_video(f"{root}::bear")) == root / "masks"


def test_the_folder_follows_the_video_until_somebody_chooses_one(bench: Workbench, tmp_path: Path) -> None:
    tab = RunTab(bench)
    assert tab.out.text() == str(tmp_path / "masks")
    bench.open(str(write_frames(tmp_path / "elsewhere" / "second", 2)))
    assert tab.out.text() == str(tmp_path / "elsewhere" / "masks")
    tab.out.clear()
    QTest.keyClicks(tab.out, "mine")
    bench.open(str(write_frames(tmp_path / "third", 2)))
    assert tab.out.text() == "mine"


def test_the_controls_of_the_tab_follow_the_run(bench: Workbench, run: RunController, tmp_path: Path) -> None:
    tab = RunTab(bench)
    assert (tab.start.isEnabled(), tab.cancel.isEnabled(), tab.bar.isHidden()) == (True, False, True)
    assert tab.text.text().startswith("8 frames")
    tab.out.setText(str(tmp_path / "out"))
    tab.frames.setText("0::2")
    tab.workers.setValue(1)
    tab.start.click()
    assert (tab.start.isEnabled(), tab.cancel.isEnabled(), tab.bar.isHidden()) == (False, True, False)
    wait_until(_is_over(run), "the end of the run")
    assert (tab.start.isEnabled(), tab.cancel.isEnabled()) == (True, False)
    assert (tab.bar.value(), tab.bar.maximum()) == (4, 4)
    assert "4 frames in" in tab.text.text()
    assert not tab.open_folder.isHidden()
    assert written(tmp_path / "out") == ["clip.masks.json"]
    # A tab that is opened later shows the same.
    assert RunTab(bench).text.text() == tab.text.text()


@pytest.mark.parametrize(
    ("out", "frames", "words"),
    [
        ("", "", "choose a folder"),
        ("out", "1:x", "give START:STOP:STEP"),
        ("out", "50:60", "frames 50:60"),
        ("~nobody-at-all/x", "", "home"),
    ],
)
def test_what_the_tab_cannot_do_is_remarked(
    bench: Workbench, run: RunController, tmp_path: Path, out: str, frames: str, words: str
) -> None:
    remarks: list[str] = []
    bench.remarked.connect(remarks.append)
    tab = RunTab(bench)
    tab.out.setText(str(tmp_path / out) if out == "out" else out)
    tab.frames.setText(frames)
    tab.start.click()
    (text,) = remarks
    assert words in text
    assert "--" not in text
    assert run.progress.state == "idle"


def test_looking_goes_on_during_a_run(bench: Workbench, endless: None, run: RunController, tmp_path: Path) -> None:
    run.start(run.job(tmp_path / "out", ALL, 1))
    bench.set_live(True)
    settle(bench)
    assert run.progress.is_going_on
    run.cancel()
    # What was looked at stays, other than what the run had shown.
    assert bench.results.is_complete(bench.frame)
