from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from command_line import CHEAP, NO_NETWORK, _Forkserver, cut_to_nothing, in_session, wait_for, written
from conftest import write_frames
from conversation import Conversation

from flowcut_napari.core import CutParameters, load_masks, open_video
from flowcut_napari.core.video import VideoEntry
from flowcut_napari.live.messages import Failed, FrameDone, Machine, RunDone, RunJob, RunStarted

# The same as `CHEAP` says.
PARAMETERS = CutParameters.preset("handmade").with_changes(crf=False, height=64, width=96, gap=1)


@pytest.fixture
def talk() -> Iterator[Conversation]:
    with Conversation("flowcut_napari.live.whole_run", NO_NETWORK) as started:
        yield started


def _entry(folder: Path) -> VideoEntry:
    return VideoEntry(folder.name, str(folder), partial(open_video, str(folder)))


def _job(folder: Path, out: Path, **more: Any) -> RunJob:
    values = {"parameters": PARAMETERS, "frames": slice(None), "machine": Machine(), "workers": 1}
    return RunJob(_entry(folder), out, **{**values, **more})


def _without_time(path: Path) -> dict[str, Any]:
    content = json.loads(path.read_text())
    for name in ("created", "seconds"):
        assert content["provenance"].pop(name) is not None
    return content


@pytest.mark.parametrize("workers", [1, 2])
def test_it_writes_what_the_command_writes(
    talk: Conversation, server: _Forkserver, tmp_path: Path, workers: int
) -> None:
    clip, out, window = write_frames(tmp_path / "clip", 6), tmp_path / "command", tmp_path / "window"
    server.run(["masks", "-o", out, *CHEAP, "--frames", "1:6", str(clip)]).succeeds_silently()
    talk.send(_job(clip, window, frames=slice(1, 6), workers=workers))
    started = talk.hear(RunStarted)
    done = talk.hear(RunDone)
    frames = [record.masks for record in talk.said if isinstance(record, FrameDone)]
    assert (started.frames, done.path) == (5, window / "clip.masks.json")
    assert [frame.index for frame in frames] == [1, 2, 3, 4, 5]
    assert _without_time(done.path) == _without_time(out / "clip.masks.json")
    assert tuple(frames) == load_masks(done.path).frames


def test_every_frame_is_told_as_soon_as_it_is_done(talk: Conversation, tmp_path: Path) -> None:
    talk.send(_job(write_frames(tmp_path / "clip", 40), tmp_path / "out"))
    talk.hear(FrameDone)
    assert written(tmp_path / "out") == []
    talk.hear(RunDone)
    assert written(tmp_path / "out") == ["clip.masks.json"]


@pytest.mark.parametrize(
    ("trouble", "words", "missing"),
    [
        ("weights", "missing weights: dino", ("dino",)),
        ("frame", "00002.png", ()),
        ("video", "clip", ()),
        ("out", "cannot", ()),
        ("frames", "selects none of the 4 frames", ()),
        ("damaged", "--overwrite", ()),
    ],
)
def test_what_goes_wrong_is_told_in_one_line_and_nothing_is_written(
    talk: Conversation, tmp_path: Path, trouble: str, words: str, missing: tuple[str, ...]
) -> None:
    clip, out = write_frames(tmp_path / "clip", 4), tmp_path / "out"
    job = _job(clip, out)
    before: list[str] = []
    if trouble == "weights":
        job = _job(clip, out, parameters=PARAMETERS.with_changes(features="dino"))
    elif trouble == "frame":
        cut_to_nothing(clip / "00002.png")
    elif trouble == "video":
        for path in clip.iterdir():
            path.unlink()
    elif trouble == "out":
        out.write_text("a file in the way of the folder")
    elif trouble == "frames":
        job = _job(clip, out, frames=slice(10, 20))
    elif trouble == "damaged":
        out.mkdir()
        (out / "clip.masks.json").write_text("{")
        before = ["clip.masks.json"]
    talk.send(job)
    failed = talk.hear(Failed)
    assert words in failed.text
    assert failed.missing == missing
    assert "\n" not in failed.text
    # It was not even tried: from a window, downloads are asked for by name.
    assert "fetching" not in failed.text
    assert written(out) == before
    wait_for(lambda: not talk.child.is_running, 20)


@pytest.fixture
def endless(tmp_path: Path) -> Path:
    """Return a clip of so many frames that no test waits for its end."""
    folder = write_frames(tmp_path / "endless", 40)
    for index in range(40, 4000):
        os.link(folder / f"{index % 40:05d}.png", folder / f"{index:05d}.png")
    return folder


@pytest.mark.parametrize("workers", [1, 2])
def test_stopped_in_the_middle_it_leaves_no_file_and_no_process(
    talk: Conversation, endless: Path, tmp_path: Path, workers: int
) -> None:
    talk.send(_job(endless, tmp_path / "out", workers=workers))
    talk.hear(FrameDone)
    talk.child.stop()
    wait_for(lambda: not in_session(talk.child.pid), 10)
    assert written(tmp_path / "out") == []


def test_it_ends_when_the_window_is_gone(talk: Conversation, endless: Path, tmp_path: Path) -> None:
    talk.send(_job(endless, tmp_path / "out", workers=2))
    talk.hear(FrameDone)
    # The end of the question pipe alone, with nobody there to kill the session.
    talk.send(None)
    stdin = talk.child._process.stdin
    assert stdin is not None
    stdin.close()
    wait_for(lambda: not in_session(talk.child.pid), 20)
    assert written(tmp_path / "out") == []


def test_a_killed_worker_is_told_and_the_run_ends(talk: Conversation, endless: Path, tmp_path: Path) -> None:
    talk.send(_job(endless, tmp_path / "out", workers=2))
    talk.hear(FrameDone)
    workers = [process for process in in_session(talk.child.pid) if "spawn_main" in str(process.cmdline())]
    os.kill(workers[-1].pid, signal.SIGKILL)
    assert "\n" not in talk.hear(Failed).text
    wait_for(lambda: not in_session(talk.child.pid), 20)
    assert written(tmp_path / "out") == []


def test_without_a_job_it_ends_without_a_word(talk: Conversation) -> None:
    stdin = talk.child._process.stdin
    assert stdin is not None
    stdin.close()
    assert talk.end() == "it ended with the exit code 0"
    assert talk.said == []
