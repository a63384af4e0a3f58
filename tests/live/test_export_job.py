from __future__ import annotations

import os
import resource
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command_line import _Forkserver, in_session, wait_for, written
from conversation import Conversation
from made_masks import of_letters, of_masks, write_clip, write_long

from flowcut_napari.core import CurationParameters, InstanceVerdict, load_masks, open_video, save_masks
from flowcut_napari.core.dataset import ExportPlan, export_dataset
from flowcut_napari.core.files import clear_unfinished, made_whole
from flowcut_napari.live.export_count import Counter
from flowcut_napari.live.export_messages import Counted, CountJob, ExportDone, ExportJob, ExportStep
from flowcut_napari.live.messages import Failed


@pytest.fixture
def talk() -> Iterator[Conversation]:
    with Conversation("flowcut_napari.live.export_job") as started:
        yield started


@pytest.fixture
def count() -> Iterator[Conversation]:
    with Conversation("flowcut_napari.live.export_count") as started:
        yield started


@pytest.fixture
def masks(tmp_path: Path) -> Path:
    """A folder with the masks of three videos."""
    for length, name in ((6, "a"), (8, "b"), (5, "c")):
        write_clip(tmp_path / "videos", tmp_path / "masks", length, name)
    return tmp_path / "masks"


def _job(masks: Path, out: Path, **more: Any) -> ExportJob:
    return ExportJob((str(masks),), out, more.pop("parameters", CurationParameters()), **more)


def _contents(folder: Path) -> dict[str, Any]:
    """Return all files and links of a folder by their place in it."""
    return {
        path.relative_to(folder).as_posix(): os.readlink(path) if path.is_symlink() else path.read_bytes()
        for path in folder.rglob("*")
        if path.is_symlink() or path.is_file()
    }


@pytest.mark.parametrize(
    ("more", "parameters"),
    [
        ({}, {}),
        ({"format": "coco", "frame_files": "link"}, {"gaps": (1, 3), "iou": 0.30000000000000004}),
        ({"format": "davis"}, {"method": "hungarian"}),
        ({"format": "davis", "frame_files": "reference"}, {"clip_length": 4}),
        ({"frame_files": "none"}, {"clip_length": "all"}),
        ({"split": "train=0.5,val=0.5", "frame_files": "reference"}, {"gaps": (2,)}),
        ({}, {"only_accepted": True}),
    ],
    ids=str,
)
def test_it_writes_to_the_byte_what_its_command_line_writes(
    talk: Conversation,
    server: _Forkserver,
    masks: Path,
    tmp_path: Path,
    more: dict[str, Any],
    parameters: dict[str, Any],
) -> None:
    if parameters.get("only_accepted"):
        path = masks / "b.masks.json"
        save_masks(load_masks(path).decide(*(InstanceVerdict((frame, 1), "accept") for frame in range(4))), path)
    job = _job(masks, tmp_path / "my data", parameters=CurationParameters(**parameters), **more)
    talk.send(job)
    done = talk.hear(ExportDone)
    made = _contents(done.path)
    done.path.rename(tmp_path / "made")
    words = shlex.split(job.command())
    assert words[:2] == ["flowcut", "curate"]
    # With a note where videos are without a clip.
    assert server.run(words[1:]).code == 0
    assert _contents(tmp_path / "my data") == made
    assert len(made) > 1


def test_a_moved_video_is_found_where_it_is_said_to_be(
    talk: Conversation, server: _Forkserver, masks: Path, tmp_path: Path
) -> None:
    (tmp_path / "videos").rename(tmp_path / "away")
    job = _job(masks, tmp_path / "out", videos=(str(tmp_path / "away"),))
    talk.send(job)
    assert talk.hear(ExportDone).videos == 3
    made = _contents(tmp_path / "out")
    server.run([*shlex.split(job.command())[1:], "--overwrite"]).succeeds_silently()
    assert _contents(tmp_path / "out") == made


def test_a_command_survives_names_that_a_shell_would_take_apart() -> None:
    addresses = ("/x y/it's; rm -rf ~", "/$HOME/`ls`.masks.json")
    job = ExportJob(addresses, Path('/out "put"'), CurationParameters(iou=0.1), overwrite=True)
    words = shlex.split(job.command())
    assert words == ["flowcut", "curate", *addresses, "-o", '/out "put"', "--iou", "0.1", "--overwrite"]


def test_videos_and_frames_are_told_as_they_are_done(talk: Conversation, tmp_path: Path) -> None:
    write_long(tmp_path / "videos", tmp_path / "masks")
    write_clip(tmp_path / "videos", tmp_path / "masks", 6, "short")
    talk.send(_job(tmp_path / "masks", tmp_path / "out", format="davis"))
    done = talk.hear(ExportDone)
    steps = [record for record in talk.said if isinstance(record, ExportStep)]
    assert (steps[0], steps[-1]) == (ExportStep(0, 2), ExportStep(2, 2))
    within = [(step.frames, step.of_frames) for step in steps if step.video == "long"]
    assert len(within) > 3
    assert within == sorted(set(within))
    assert {of_frames for _, of_frames in within} == {1500}
    assert (done.videos, done.empty, done.failed, done.parts) == (2, (), (), ())


def test_what_is_left_out_is_told_with_its_reason(talk: Conversation, masks: Path, tmp_path: Path) -> None:
    (masks / "nonsense.masks.json").write_text('{"schema": "flowcut.masks/1", "video": [')
    save_masks(of_letters("AA..", "..AA", name="still"), masks / "still.masks.json")
    (tmp_path / "videos" / "c").rename(tmp_path / "videos" / "elsewhere")
    talk.send(_job(masks, tmp_path / "out"))
    done = talk.hear(ExportDone)
    assert (done.videos, done.empty) == (2, ("still",))
    (first, why_first), (second, why_second) = done.failed
    assert (first, second) == ("c", "nonsense")
    assert "not at" in why_first
    assert "JSON" in why_second
    assert "\n" not in why_first + why_second


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        ("other files", "is a folder with other files in it"),
        ("file", "is in the way"),
        ("there", "is there already"),
        ("no masks", "no masks in this folder"),
        ("nonsense", "none of the videos can be used"),
        ("no clip", "none of 4 clips is left (no_match 4)"),
        ("no root", "--videos: "),
        ("split", "too few videos to split"),
        ("twice", "are both the masks of a"),
        ("holds", "holds what this is made of"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_changes_nothing(
    talk: Conversation, masks: Path, tmp_path: Path, trouble: str, words: str
) -> None:
    out = tmp_path / "out"
    job = _job(masks, out)
    if trouble == "other files":
        out.mkdir()
        (out / "thesis.txt").write_text("years of work")
    elif trouble == "file":
        out.write_text("in the way")
    elif trouble == "there":
        export_dataset([masks / "a.masks.json"], out, ExportPlan())
    elif trouble in ("no masks", "nonsense", "no clip"):
        (tmp_path / "other").mkdir()
        job = _job(tmp_path / "other", out)
        if trouble == "nonsense":
            (tmp_path / "other" / "x.masks.json").write_text("nonsense")
        elif trouble == "no clip":
            save_masks(of_letters("AA......", "..AA....", "....AA..", "......AA"), tmp_path / "other/clip.masks.json")
            job = _job(tmp_path / "other", out, parameters=CurationParameters(gaps=(1, 3)))
    elif trouble == "no root":
        job = _job(masks, out, videos=(str(tmp_path / "nowhere"),))
    elif trouble == "split":
        job = _job(masks, out, split="train=0.99,val=0.01")
    elif trouble == "twice":
        (tmp_path / "more").mkdir()
        (tmp_path / "more" / "a.masks.json").write_bytes((masks / "a.masks.json").read_bytes())
        job = ExportJob((str(masks), str(tmp_path / "more")), out, CurationParameters())
    elif trouble == "holds":
        out = tmp_path / "videos" / "dataset"
        export_dataset([masks / "a.masks.json"], out, ExportPlan())
        made = load_masks(masks / "a.masks.json")
        video = open_video(out / "frames" / "a")
        record = {"path": str(video.path), "fingerprint": video.fingerprint()}
        frames = [{1: frame.instances[0].mask} for frame in made.frames]
        save_masks(of_masks(frames, "d", (48, 64), **record), masks / "d.masks.json")
        job = _job(masks, out, overwrite=True)
    before = _contents(tmp_path)
    talk.send(job)
    failed = talk.hear(Failed)
    assert words in failed.text
    assert "\n" not in failed.text
    wait_for(lambda: not talk.child.is_running, 20)
    assert _contents(tmp_path) == before


@pytest.mark.parametrize("limit", [300, 2000, 9000])
def test_on_a_full_disk_the_dataset_that_was_there_stays_and_nothing_else(
    talk: Conversation, masks: Path, tmp_path: Path, limit: int
) -> None:
    out = tmp_path / "out"
    export_dataset([masks / "a.masks.json"], out, ExportPlan())
    before = _contents(tmp_path)
    resource.prlimit(talk.child.pid, resource.RLIMIT_FSIZE, (limit, limit))
    talk.send(_job(masks, out, overwrite=True, frame_files="none"))
    assert "cannot be written" in talk.hear(Failed).text
    wait_for(lambda: not talk.child.is_running, 20)
    assert _contents(tmp_path) == before


@pytest.fixture
def halfway(talk: Conversation, tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    """An export in its middle that is to replace a dataset; its folder, and all that was there before."""
    write_long(tmp_path / "videos", tmp_path / "masks")
    write_clip(tmp_path / "videos", tmp_path / "old", 6, "short")
    out = tmp_path / "out"
    export_dataset([tmp_path / "old" / "short.masks.json"], out, ExportPlan())
    before = _contents(tmp_path)
    talk.send(_job(tmp_path / "masks", out, overwrite=True, format="davis"))
    talk.hear(ExportStep, lambda step: step.frames > 0)
    assert (tmp_path / ".out.part").is_dir()
    return out, before


def test_asked_to_end_it_leaves_all_as_it_was(
    talk: Conversation, halfway: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    # More than once, as a window does that wants to be sure.
    for _ in range(3):
        os.kill(talk.child.pid, signal.SIGTERM)
    wait_for(lambda: not in_session(talk.child.pid), 20)
    assert _contents(tmp_path) == halfway[1]


def test_it_ends_with_its_window_and_leaves_all_as_it_was(
    talk: Conversation, halfway: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    talk.send(None)
    stdin = talk.child._process.stdin
    assert stdin is not None
    stdin.close()
    wait_for(lambda: not in_session(talk.child.pid), 20)
    assert _contents(tmp_path) == halfway[1]


def test_what_a_killed_one_leaves_is_cleared_away(
    talk: Conversation, halfway: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    out, before = halfway
    os.kill(talk.child.pid, signal.SIGKILL)
    wait_for(lambda: not in_session(talk.child.pid), 20)
    assert _contents(tmp_path) != before
    clear_unfinished(out)
    assert _contents(tmp_path) == before
    clear_unfinished(out)
    assert _contents(tmp_path) == before


def test_a_dataset_that_had_made_room_is_put_back(masks: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export_dataset([masks / "a.masks.json"], out, ExportPlan())
    before = _contents(out)
    out.rename(tmp_path / ".out.old")
    (tmp_path / ".out.part").mkdir()
    clear_unfinished(out)
    assert _contents(out) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["masks", "out", "videos"]


def test_what_another_process_is_writing_is_left_alone(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with made_whole(out, lambda _: False) as part:
        (part / "file").write_text("theirs")
        script = "import sys; from pathlib import Path; from flowcut_napari.core import files; "
        script += "files.clear_unfinished(Path(sys.argv[1]))"
        subprocess.run([sys.executable, "-c", script, str(out)], check=True)
        assert (part / "file").read_text() == "theirs"
    assert (out / "file").read_text() == "theirs"


# Counting.


def test_the_counts_are_those_of_the_export(count: Conversation, masks: Path, tmp_path: Path) -> None:
    (masks / "nonsense.masks.json").write_text("nonsense")
    save_masks(of_letters("AA..", "..AA", name="still"), masks / "still.masks.json")
    parameters = ExportPlan(CurationParameters(gaps=(1, 2), iou=0.8)).parameters
    count.send(CountJob(7, (str(masks),), parameters))
    answer = count.hear(Counted, lambda answer: answer.counts.done == answer.counts.total)
    counts = answer.counts
    report = export_dataset(sorted(masks.glob("*.json")), tmp_path / "out", ExportPlan(parameters))
    assert counts.yields == report.yields
    assert (answer.number, counts.total, counts.videos) == (7, 5, report.videos)
    assert (counts.empty, counts.empties) == (("still",), 1)
    assert (counts.failed, counts.failures) == (tuple(report.failed), 1)
    assert (counts.moved, counts.away) == ((), 0)
    assert counts.all_gaps == report.total
    assert written(tmp_path / "masks") == [f"{name}.masks.json" for name in ("a", "b", "c", "nonsense", "still")]


def test_a_video_that_is_not_where_it_was_is_named(count: Conversation, masks: Path, tmp_path: Path) -> None:
    (tmp_path / "videos" / "b").rename(tmp_path / "videos" / "elsewhere")
    job = CountJob(1, (str(masks),), CurationParameters())
    count.send(job)
    counts = count.hear(Counted, lambda answer: answer.counts.done == 3).counts
    assert (counts.moved, counts.away) == ((("b", str(tmp_path / "videos" / "b")),), 1)
    (tmp_path / "videos" / "elsewhere").rename(tmp_path / "videos" / "b")
    count.send(job)
    assert count.hear(Counted, lambda answer: answer.counts.done == 3).counts.away == 0


def test_a_newer_question_takes_the_place_of_an_older_one(count: Conversation, masks: Path, tmp_path: Path) -> None:
    for number in range(150):
        save_masks(of_letters(*["AA.."] * 40, name=f"v{number}"), tmp_path / "many" / f"v{number}.masks.json")
    count.send(CountJob(1, (str(tmp_path / "many"),), CurationParameters()))
    part = count.hear(Counted)
    assert 0 < part.counts.done < part.counts.total == 150
    count.send(CountJob(2, (str(masks),), CurationParameters()))
    last = count.hear(Counted, lambda answer: answer.number == 2)
    assert last.counts.total == 3
    assert not any(isinstance(said, Counted) and said.counts.done == 150 for said in count.said)


def test_no_masks_at_all_is_one_line_and_the_next_question_is_answered(
    count: Conversation, masks: Path, tmp_path: Path
) -> None:
    count.send(CountJob(1, (str(tmp_path / "nowhere"),), CurationParameters()))
    failed = count.hear(Failed)
    assert (failed.number, "no such file or folder" in failed.text) == (1, True)
    count.send(CountJob(2, (str(masks),), CurationParameters()))
    assert count.hear(Counted, lambda answer: answer.counts.done == 3).counts.videos == 3


def test_only_files_that_changed_are_read_again(masks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from flowcut_napari.core import dataset

    read: list[str] = []
    load = dataset.load_masks
    monkeypatch.setattr(dataset, "load_masks", lambda path: (read.append(path.name), load(path))[1])
    told: list[Any] = []
    counter = Counter(told.append, lambda: False)
    job = CountJob(1, (str(masks),), CurationParameters())
    counter.count(job)
    assert read == ["a.masks.json", "b.masks.json", "c.masks.json"]
    path = masks / "b.masks.json"
    save_masks(load_masks(path).decide(InstanceVerdict((0, 1), "reject")), path)
    read.clear()
    counter.count(job)
    assert read == ["b.masks.json"]
    assert told[-1].counts.all_gaps.instances < told[0].counts.all_gaps.instances
    read.clear()
    counter.count(CountJob(2, job.addresses, CurationParameters(gaps=(1,))))
    assert len(read) == 3


def test_counting_ends_with_its_window(count: Conversation) -> None:
    stdin = count.child._process.stdin
    assert stdin is not None
    stdin.close()
    assert count.end() == "it ended with the exit code 0"
