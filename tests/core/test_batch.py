"""flowcut batch: what holds on good input, whatever the number and place of the workers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from command_line import Result, wait_for, write_video, write_ytvis, written
from conftest import write_frames

from flowcut_napari.core.decisions import ClipVerdict, InstanceVerdict
from flowcut_napari.core.store import load_masks, save_masks

METHOD = ("--preset", "handmade", "--no-crf", "--size", "64x96", "--gap", "1", "--no-cache")
_NAMES = ["a", "b", "c", "movie"]
MADE = [f"{name}.masks.json" for name in _NAMES]


@pytest.fixture
def batch(tmp_path: Path, out: Path) -> Callable[..., Result]:
    """Run `flowcut batch` in a process of its own; assert that it leaves nothing in the temporary folder."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()

    def run(*arguments: str | Path, out: Path = out) -> Result:
        return run_batch_command(*arguments, "-o", out, *METHOD, folder=tmp_path, scratch=scratch)

    return run


def run_batch_command(*arguments: str | Path, folder: Path, scratch: Path) -> Result:
    command = [sys.executable, "-m", "flowcut_napari.cli", "batch", *map(str, arguments)]
    environment = {**os.environ, "TMPDIR": str(scratch), "CUDA_VISIBLE_DEVICES": ""}
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env=environment,
        start_new_session=True,
    )
    try:
        # Ends only when no worker holds the pipes any more.
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert not list(scratch.iterdir())
    return Result(process.returncode, out, err)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of folders of frames and of video files, and things that are neither."""
    root = tmp_path_factory.mktemp("dataset")
    for place, name in enumerate("abc"):
        write_frames(root / name, 3 + place)
    write_video(root / "movie.mp4", 4)
    (root / "docs").mkdir()
    (root / "docs" / "readme.txt").write_text("frames lie beside this")
    (root / "notes.txt").write_text("none of these is a video")
    (root / ".hidden").mkdir()
    write_frames(root / ".hidden" / "inner", 2)
    return root


@pytest.fixture(scope="module")
def of_one_worker(root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """Return what a run with one worker wrote and said."""
    out, scratch = tmp_path_factory.mktemp("of_one_worker"), tmp_path_factory.mktemp("scratch")
    return out, run_batch_command(root, "-o", out, *METHOD, "--workers", "1", folder=root, scratch=scratch)


@pytest.fixture
def made(of_one_worker: tuple[Path, Result], out: Path) -> Path:
    """Return a copy of what one worker wrote, in the output folder."""
    assert of_one_worker[1].code == 0, of_one_worker[1].err
    shutil.copytree(of_one_worker[0], out)
    return out


def masks_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.masks.json")}


def identities(folder: Path) -> dict[str, tuple[int, int]]:
    """Return what changes when a file is written again, even with the same bytes."""
    status = {path.name: path.stat() for path in folder.glob("*.masks.json")}
    return {name: (item.st_ino, item.st_mtime_ns) for name, item in status.items()}


def test_a_folder_of_folders_and_video_files_gets_a_masks_file_each_and_notes_what_it_passed_over(
    of_one_worker: tuple[Path, Result],
) -> None:
    folder, result = of_one_worker
    result.succeeds_with_note("passed over 2", "docs", "notes.txt")
    assert written(folder) == ["a.masks.json", "b.masks.json", "batch.jsonl", "c.masks.json", "movie.masks.json"]
    assert [len(load_masks(folder / name).frames) for name in MADE] == [3, 4, 5, 4]
    for name in _NAMES:
        assert sum(line.startswith(f"{name}: ") for line in result.out.splitlines()) == 1
    assert "4 done" in result.out.splitlines()[-1]


def test_the_journal_has_a_line_of_json_for_every_video(of_one_worker: tuple[Path, Result]) -> None:
    lines = [json.loads(line) for line in (of_one_worker[0] / "batch.jsonl").read_text().splitlines()]
    assert sorted((line["name"], line["status"], line["frames"]) for line in lines) == [
        ("a", "done", 3),
        ("b", "done", 4),
        ("c", "done", 5),
        ("movie", "done", 4),
    ]


def test_two_workers_write_the_same_bytes_as_one_and_json_is_one_document_in_the_order_of_names(
    batch: Callable[..., Result], root: Path, out: Path, of_one_worker: tuple[Path, Result]
) -> None:
    result = batch(root, "--workers", "2", "--json")
    result.succeeds_with_note("passed over")
    assert masks_in(out) == masks_in(of_one_worker[0])
    document = json.loads(result.out)
    assert [(video["video"], video["status"], video["frames"]) for video in document["videos"]] == [
        ("a", "done", 3),
        ("b", "done", 4),
        ("c", "done", 5),
        ("movie", "done", 4),
    ]
    assert document["failed"] == []
    assert document["counts"] == {"done": 4, "skipped": 0, "failed": 0}


def test_resume_leaves_whole_files_as_they_are_and_goes_on_with_the_journal(
    batch: Callable[..., Result], root: Path, made: Path
) -> None:
    before = identities(made)
    result = batch(root, "--workers", "1", "--resume")
    result.succeeds_with_note("passed over")
    assert "4 skipped" in result.out
    assert identities(made) == before
    statuses = [json.loads(line)["status"] for line in (made / "batch.jsonl").read_text().splitlines()]
    assert statuses == ["done"] * 4 + ["skipped"] * 4


def test_resume_makes_what_is_missing_and_what_is_cut_off_and_keeps_the_latter_aside(
    batch: Callable[..., Result], root: Path, made: Path, of_one_worker: tuple[Path, Result]
) -> None:
    (made / "b.masks.json").unlink()
    cut = (made / "c.masks.json").read_bytes()[:-500]
    (made / "c.masks.json").write_bytes(cut)
    before = identities(made)
    result = batch(root, "--workers", "1", "--resume")
    assert (result.code, result.errors, result.strays) == (0, [], [])
    assert sum("c.masks.json" in note and "c.masks.json.damaged" in note for note in result.notes) == 1
    after = identities(made)
    assert masks_in(made) == masks_in(of_one_worker[0])
    assert (made / "c.masks.json.damaged").read_bytes() == cut
    assert [name for name in MADE if after[name] == before.get(name)] == ["a.masks.json", "movie.masks.json"]
    assert "2 done" in result.out
    assert "2 skipped" in result.out


@pytest.mark.parametrize("change", [("--tau", "0.4"), ("--frames", "1:3")], ids=" ".join)
def test_resume_makes_files_of_other_parameters_or_frames_again(
    batch: Callable[..., Result], root: Path, made: Path, change: tuple[str, str]
) -> None:
    result = batch(root, "--workers", "1", "--resume", *change)
    result.succeeds_with_note("passed over")
    assert "4 done" in result.out
    for name in MADE:
        masks = load_masks(made / name)
        if change[0] == "--tau":
            assert masks.parameters.tau == 0.4
        else:
            start, stop = map(int, change[1].split(":"))
            assert [frame.index for frame in masks.frames] == list(range(start, stop))


def test_decisions_survive_runs_with_the_same_parameters_and_are_stale_with_others(
    batch: Callable[..., Result], root: Path, made: Path
) -> None:
    path = made / "a.masks.json"
    masks = load_masks(path)
    instance = masks.frames[0].instances[0].id
    decided = masks.decide(InstanceVerdict((0, instance), "reject", by="me"), ClipVerdict((0, 1), "accept"))
    save_masks(decided, path)
    content = path.read_bytes()
    before = identities(made)
    batch(root, "--workers", "1", "--resume").succeeds_with_note("passed over")
    assert identities(made) == before
    result = batch(root, "--workers", "1", "--resume", "--tau", "0.4", "--json")
    assert result.code == 0
    assert not result.strays
    assert sum("a.masks.json" in note and "2 decisions" in note and "stale" in note for note in result.notes) == 1
    stale = {video["video"]: video["stale"] for video in json.loads(result.out)["videos"]}
    assert stale == {"a": 2, "b": 0, "c": 0, "movie": 0}
    kept = load_masks(path).decisions
    assert kept.made == ()
    assert [item.what for item in kept.stale] == list(decided.decisions.made)
    batch(root, "--workers", "1", "--resume").succeeds_with_note("passed over")
    assert path.read_bytes() == content


def test_resume_does_not_take_the_masks_of_another_video_of_this_name_for_whole(
    batch: Callable[..., Result], root: Path, made: Path
) -> None:
    other = load_masks(made / "b.masks.json")
    save_masks(replace(other, video=replace(other.video, name="a")), made / "a.masks.json")
    batch(root, "--workers", "1", "--resume").succeeds_with_note("passed over")
    assert len(load_masks(made / "a.masks.json").frames) == 3


def test_every_kind_of_root_is_taken_and_several_at_once(
    batch: Callable[..., Result], tmp_path: Path, out: Path
) -> None:
    for name in ("bear", "goat"):
        write_frames(tmp_path / "davis" / "JPEGImages" / "480p" / name, 2)
    for name in ("one", "two"):
        write_frames(tmp_path / "ytvis" / "JPEGImages" / name, 2)
    videos = [
        {"id": number, "file_names": [f"{name}/00000.png", f"{name}/00001.png"]}
        for number, name in enumerate(("one", "two"), 1)
    ]
    (tmp_path / "ytvis" / "all.json").write_text(json.dumps({"videos": videos}))
    for name in ("clip", "folders/x10", "folders/x2"):
        write_frames(tmp_path / name, 2)
    write_video(tmp_path / "movie.avi", 3, codec="MJPG")
    result = batch("davis", "ytvis/all.json", "clip", "folders", "movie.avi", "--workers", "2", "--json")
    result.succeeds_silently()
    names = ["bear", "goat", "one", "two", "clip", "x2", "x10", "movie"]
    assert [video["video"] for video in json.loads(result.out)["videos"]] == names
    assert sorted(masks_in(out)) == sorted(f"{name}.masks.json" for name in names)
    some = tmp_path / "some"
    batch("davis::goat", "ytvis/all.json::two", "--workers", "1", out=some).succeeds_silently()
    assert masks_in(some) == {name: (out / name).read_bytes() for name in ("goat.masks.json", "two.masks.json")}


def test_no_video_is_lost_when_there_are_many(batch: Callable[..., Result], tmp_path: Path, out: Path) -> None:
    names = [f"v{number}" for number in range(25)]
    for name in names:
        write_frames(tmp_path / "many" / name, 1)
    result = batch(tmp_path / "many", "--workers", "2", "--json", "--alpha", "1")
    result.succeeds_silently()
    assert [video["video"] for video in json.loads(result.out)["videos"]] == names
    assert sorted(masks_in(out)) == sorted(f"{name}.masks.json" for name in names)


def test_links_to_folders_and_files_are_videos_of_the_names_of_the_links_and_loops_are_passed_over(
    batch: Callable[..., Result], tmp_path: Path, out: Path
) -> None:
    root = tmp_path / "videos"
    # As a selection out of a large dataset is made, in which all folders of frames have one name.
    for number in ("1", "2"):
        write_frames(tmp_path / "pool" / number / "frames", 2)
        (root / f"chosen{number}").parent.mkdir(exist_ok=True)
        (root / f"chosen{number}").symlink_to(tmp_path / "pool" / number / "frames")
    (tmp_path / "pool" / "1" / "frames" / "back").symlink_to(root)
    (root / "film.mp4").symlink_to(write_video(tmp_path / "pool" / "0001.mp4", 2))
    (root / "itself").symlink_to("itself")
    (root / "up").symlink_to(root)
    (root / "dangling").symlink_to("nowhere")
    (root / "dangling.mp4").symlink_to("nowhere.mp4")
    result = batch(root, "--workers", "1")
    result.succeeds_with_note("passed over 4", "itself", "up", "dangling", "dangling.mp4")
    assert sorted(masks_in(out)) == ["chosen1.masks.json", "chosen2.masks.json", "film.masks.json"]


def test_a_linked_sequence_of_a_davis_root_has_one_name_in_the_file_and_of_the_file(
    batch: Callable[..., Result], tmp_path: Path, out: Path, clip: Path
) -> None:
    (tmp_path / "davis" / "JPEGImages").mkdir(parents=True)
    (tmp_path / "davis" / "JPEGImages" / "bear").symlink_to(clip)
    batch(tmp_path / "davis", "--workers", "1").succeeds_silently()
    assert load_masks(out / "bear.masks.json").video.name == "bear"


def test_an_output_folder_inside_the_root_can_be_resumed(batch: Callable[..., Result], tmp_path: Path) -> None:
    root = tmp_path / "videos"
    write_frames(root / "v", 2)
    (root / "masks").mkdir()
    result = batch(root, "--workers", "1", "--resume", out=root / "masks")
    result.succeeds_with_note("passed over 1", "masks")
    assert written(root / "masks") == ["batch.jsonl", "v.masks.json"]


def test_no_more_workers_start_than_there_are_videos(tmp_path: Path, out: Path, clip: Path) -> None:
    command = [sys.executable, "-m", "flowcut_napari.cli", "batch", clip, "-o", out, *METHOD, "--workers", "6"]
    process = subprocess.Popen(map(str, command), stdout=subprocess.DEVNULL)
    most = 0
    while process.poll() is None:
        most = max(most, len(_workers_of(process.pid)))
        time.sleep(0.02)
    assert process.returncode == 0
    assert most == 1


def _workers_of(pid: int) -> list[psutil.Process]:
    found = []
    try:
        for child in psutil.Process(pid).children():
            if "spawn_main" in " ".join(child.cmdline()):
                found.append(child)
    except psutil.Error:
        pass
    return found


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return the scheduler file of a cluster of two workers, one of two threads, started in another folder."""
    folder = tmp_path_factory.mktemp("cluster")
    file = folder / "scheduler.json"
    environment = {**os.environ, "TMPDIR": str(folder), "CUDA_VISIBLE_DEVICES": ""}
    tool = [sys.executable, "-m", "distributed.cli"]
    common = ["--scheduler-file", str(file), "--no-dashboard"]
    commands = [
        [f"{tool[2]}.dask_scheduler", *common, "--host", "127.0.0.1", "--port", "0"],
        [f"{tool[2]}.dask_worker", *common, "--host", "127.0.0.1", "--nthreads", "2"],
        [f"{tool[2]}.dask_worker", *common, "--host", "127.0.0.1", "--nthreads", "1", "--no-nanny"],
    ]
    with (folder / "log").open("w") as log:
        started = [
            subprocess.Popen([*tool[:2], *command], stderr=log, cwd=folder, env=environment, start_new_session=True)
            for command in commands
        ]
    try:
        wait_for(lambda: (folder / "log").read_text().count("Registered to:") == 2)
        yield file
    finally:
        for process in started:
            for left in (*psutil.Process(process.pid).children(recursive=True), process):
                left.kill()
        for process in started:
            process.wait()


@pytest.mark.parametrize("how", ["file", "address"])
def test_a_cluster_of_other_processes_writes_the_same_bytes(
    batch: Callable[..., Result],
    root: Path,
    out: Path,
    of_one_worker: tuple[Path, Result],
    cluster: Path,
    how: str,
) -> None:
    # The second of these runs also sees that the first one has left the cluster alive.
    scheduler = str(cluster) if how == "file" else json.loads(cluster.read_text())["address"]
    result = batch(root, "--scheduler", scheduler)
    result.succeeds_with_note("passed over")
    assert masks_in(out) == masks_in(of_one_worker[0])
    assert written(out) == sorted([*MADE, "batch.jsonl"])
    before = identities(out)
    again = batch(root, "--scheduler", scheduler, "--resume")
    assert "4 skipped" in again.out
    assert identities(out) == before


def test_a_cluster_started_elsewhere_finds_videos_that_are_given_relative_to_where_the_user_stands(
    batch: Callable[..., Result], tmp_path: Path, cluster: Path, out: Path
) -> None:
    write_frames(tmp_path / "videos" / "folder", 2)
    write_frames(tmp_path / "davis" / "JPEGImages" / "sequence", 2)
    write_frames(tmp_path / "frames" / "listed", 2)
    write_video(tmp_path / "videos" / "film.mp4", 3)
    write_ytvis(tmp_path / "set.json", ["listed/00000.png", "listed/00001.png"])
    batch("videos", "davis", "set.json", "--scheduler", cluster).succeeds_silently()
    assert sorted(masks_in(out)) == [f"{name}.masks.json" for name in ("film", "folder", "listed", "sequence")]
