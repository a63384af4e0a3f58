from __future__ import annotations

import itertools
import json
import os
import random as chance
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from made_masks import of_masks
from masks_user import states

from flowcut_napari.core import ClipVerdict, InputError, OutputError, load_masks, save_masks
from flowcut_napari.core.decisions import Stale, decisions_to_json
from flowcut_napari.core.errors import DamagedFileError
from flowcut_napari.core.masks_file import MasksFile, SaveState
from flowcut_napari.core.masks_text import MasksEncoder
from flowcut_napari.core.recovery import (
    RecoveryItem,
    drop_recovery,
    keep_copy,
    list_recovery,
    new_copy,
    recovery_folder,
    take_recovery,
)
from flowcut_napari.core.store import VideoMasks, update_masks

USER = Path(__file__).with_name("masks_user.py")
FIRST, SECOND = ClipVerdict((0, 1), "accept"), ClipVerdict((1, 2), "reject")


@pytest.fixture
def path(tmp_path: Path, random: np.random.Generator) -> Path:
    """A masks file of six frames with two instances each."""
    left, right = np.zeros((2, 30, 40), dtype=bool)
    left[4:20, 3:15] = True
    right[8:28, 20:38] = random.random((20, 18)) < 0.7
    path = tmp_path / "out" / "clip.masks.json"
    save_masks(of_masks([{1: left, 2: right}] * 6, size=(30, 40)), path)
    return path


@pytest.fixture
def opened(path: Path) -> Iterator[tuple[MasksFile, VideoMasks]]:
    file, masks = MasksFile.open(path)
    yield file, masks
    file.close()


def of_kind(kind: str) -> list[RecoveryItem]:
    return [item for item in list_recovery() if item.kind == kind]


def change_outside(path: Path) -> bytes:
    """Decide something as another program does; return what the file holds then."""
    update_masks(path, lambda masks: masks.decide(SECOND) if masks else of_masks([]))
    return path.read_bytes()


# What is written.


def test_the_text_is_the_same_as_of_a_plain_encoder(path: Path) -> None:
    masks = load_masks(path)
    masks = replace(masks, files={0: "a.png", 3: "ü/b.png"})
    stale = Stale("an older basis", FIRST)
    masks = replace(masks, decisions=replace(masks.decisions, stale=(stale,)))
    encoder = MasksEncoder()
    for state in itertools.islice(states(masks), 30):
        content = {
            "schema": "flowcut.masks/1",
            "video": asdict(state.video),
            "parameters": state.parameters.model_dump(),
            "provenance": state.provenance,
            "frames": [
                {
                    "index": frame.index,
                    "file": state.files.get(frame.index),
                    "partner": frame.partner,
                    "stop": frame.stop,
                    "instances": [asdict(instance) for instance in frame.instances],
                    "rejected": [asdict(rejected) for rejected in frame.rejected],
                }
                for frame in state.frames
            ],
            "decisions": decisions_to_json(state.decisions, state.basis),
        }
        plain = json.dumps(content, allow_nan=False, separators=(",", ":")) + "\n"
        assert encoder.encode(state).decode() == plain


def test_another_file_name_of_the_same_frame_is_written(path: Path) -> None:
    masks, encoder = load_masks(path), MasksEncoder()
    encoder.encode(masks)
    again = json.loads(encoder.encode(replace(masks, files={2: "00002.png"})))
    assert [frame["file"] for frame in again["frames"]] == [None, None, "00002.png", None, None, None]


def test_what_is_saved_is_what_save_masks_writes(path: Path, opened: tuple[MasksFile, VideoMasks]) -> None:
    file, masks = opened
    for state in itertools.islice(states(masks), 5):
        file.save(state)
        assert file.wait(10)
        save_masks(state, path.with_name("plain.masks.json"))
        assert path.read_bytes() == path.with_name("plain.masks.json").read_bytes()
        assert load_masks(path) == state


def test_of_many_actions_in_a_row_the_last_is_on_disk(path: Path, opened: tuple[MasksFile, VideoMasks]) -> None:
    file, masks = opened
    for state in itertools.islice(states(masks), 200):
        file.save(state)
    assert file.wait(10)
    assert load_masks(path) == state
    assert not list_recovery()


def test_each_state_is_told_and_the_last_that_is_told_is_so(path: Path) -> None:
    told: list[SaveState] = []
    file, masks = MasksFile.open(path, told.append)
    for state in itertools.islice(states(masks), 50):
        file.save(state)
    assert file.wait(10)
    file.close()
    assert told[0].kind == "saving" and told[-1] == file.state == SaveState("saved")
    assert all(one != other for one, other in itertools.pairwise(told))


def test_saving_returns_while_another_process_holds_the_folder(path: Path) -> None:
    fcntl = pytest.importorskip("fcntl")
    file, masks = MasksFile.open(path)
    held = os.open(path.parent, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    before = path.read_bytes()
    file.save(masks.decide(FIRST))
    assert not file.wait(0.2)
    assert file.state.kind == "saving" and path.read_bytes() == before
    os.close(held)
    assert file.wait(10)
    assert load_masks(path).decisions.made == (FIRST,)
    file.close()


def test_no_thread_is_left_when_all_is_saved(opened: tuple[MasksFile, VideoMasks]) -> None:
    file, masks = opened
    before = threading.active_count()
    file.save(masks.decide(FIRST))
    assert file.wait(10)
    assert threading.active_count() <= before


def test_work_is_on_disk_after_the_program_ended_without_closing(path: Path) -> None:
    program = (
        "import sys; from flowcut_napari.core import ClipVerdict\n"
        "from flowcut_napari.core.masks_file import MasksFile\n"
        "file, masks = MasksFile.open(sys.argv[1])\n"
        "file.save(masks.decide(ClipVerdict((0, 1), 'accept')))\n"
    )
    subprocess.run([sys.executable, "-c", program, str(path)], check=True, timeout=60)
    assert load_masks(path).decisions.made == (FIRST,)


def test_a_link_stays_a_link(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "linked.masks.json"
    link.symlink_to(path)
    file, masks = MasksFile.open(link)
    file.save(masks.decide(FIRST))
    assert file.wait(10)
    file.close()
    assert link.is_symlink()
    assert load_masks(path).decisions.made == (FIRST,)


# Others change the file, too.


def test_a_change_by_another_program_is_not_written_over(path: Path, opened: tuple[MasksFile, VideoMasks]) -> None:
    file, masks = opened
    theirs = change_outside(path)
    ours = masks.decide(FIRST)
    file.save(ours)
    assert not file.wait(10)
    assert file.state.kind == "conflict"
    assert "changed by another program" in file.state.text
    assert path.read_bytes() == theirs
    assert file.state.kept_at is not None and load_masks(file.state.kept_at) == ours


def test_work_goes_on_apart_during_a_conflict(path: Path, opened: tuple[MasksFile, VideoMasks]) -> None:
    file, masks = opened
    theirs = change_outside(path)
    for state in itertools.islice(states(masks), 5):
        file.save(state)
        file.wait(10)
    assert file.state.kind == "conflict" and path.read_bytes() == theirs
    (item,) = list_recovery()
    assert load_masks(item.copy) == state
    assert item.path == path and item.kind == "unsaved" and item.is_in_use


def test_ours_can_take_the_place_of_theirs_which_is_kept(path: Path, opened: tuple[MasksFile, VideoMasks]) -> None:
    file, masks = opened
    theirs = change_outside(path)
    ours = masks.decide(FIRST)
    file.save(ours)
    file.wait(10)
    file.overwrite()
    assert file.wait(10)
    assert load_masks(path) == ours
    (item,) = list_recovery()
    assert item.kind == "replaced" and item.copy.read_bytes() == theirs


def test_theirs_can_be_taken_and_ours_is_kept(path: Path, opened: tuple[MasksFile, VideoMasks]) -> None:
    file, masks = opened
    theirs = change_outside(path)
    ours = masks.decide(FIRST)
    file.save(ours)
    file.wait(10)
    taken = file.reload()
    assert taken.decisions.made == (SECOND,)
    assert file.state == SaveState("saved") and path.read_bytes() == theirs
    (item,) = list_recovery()
    assert item.kind == "put aside" and not item.is_in_use and load_masks(item.copy) == ours
    file.save(taken.decide(FIRST))
    assert file.wait(10)
    assert load_masks(path).decisions.made == (SECOND, FIRST)


def test_a_file_that_was_edited_into_nonsense_is_not_taken_and_ours_is_kept(
    path: Path, opened: tuple[MasksFile, VideoMasks]
) -> None:
    file, masks = opened
    path.write_text('{"schema": "flowcut.masks/1", "video": "mine"}')
    ours = masks.decide(FIRST)
    file.save(ours)
    assert not file.wait(10)
    with pytest.raises(DamagedFileError, match=r"clip\.masks\.json: damaged"):
        file.reload()
    assert file.state.kind == "conflict"
    file.overwrite()
    assert file.wait(10)
    assert load_masks(path) == ours
    assert [item.copy.read_text() for item in of_kind("replaced")] == ['{"schema": "flowcut.masks/1", "video": "mine"}']


def test_a_touch_and_an_identical_rewrite_are_no_conflict(path: Path, opened: tuple[MasksFile, VideoMasks]) -> None:
    file, masks = opened
    os.utime(path, (1, 1))
    file.save(masks.decide(FIRST))
    assert file.wait(10)
    shutil.copy(path, path.with_name("copy"))
    os.replace(path.with_name("copy"), path)
    file.save(masks.decide(SECOND))
    assert file.wait(10)
    assert load_masks(path).decisions.made == (SECOND,)


def test_a_change_that_hides_its_time_is_seen(path: Path, opened: tuple[MasksFile, VideoMasks]) -> None:
    file, masks = opened
    status = path.stat()
    content = path.read_bytes()
    with path.open("r+b") as stream:  # the same place, size and time
        stream.write(content.replace(b"/nowhere/clip", b"/nowhere/CLIP"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    file.save(masks.decide(FIRST))
    assert not file.wait(10)
    assert file.state.kind == "conflict"


def test_a_conflict_is_over_when_theirs_goes_back(path: Path, opened: tuple[MasksFile, VideoMasks]) -> None:
    file, masks = opened
    before = path.read_bytes()
    change_outside(path)
    file.save(masks.decide(FIRST))
    assert not file.wait(10)
    path.write_bytes(before)
    file.retry()
    assert file.wait(10)
    assert load_masks(path).decisions.made == (FIRST,)
    assert not list_recovery()


def test_a_file_that_was_taken_away_is_written_again_and_that_is_said(
    path: Path, opened: tuple[MasksFile, VideoMasks]
) -> None:
    file, masks = opened
    path.unlink()
    file.save(masks.decide(FIRST))
    assert file.wait(10)
    assert "taken away" in file.state.text
    assert load_masks(path).decisions.made == (FIRST,)
    file.save(masks.decide(SECOND))
    assert file.wait(10)
    assert file.state.text == ""


def test_of_two_processes_that_save_one_is_told_and_nobody_loses_work(path: Path, tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, USER, path], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        file, masks = MasksFile.open(path)
        for _ in range(3):
            other.stdout.readline()
        ours = masks.decide(FIRST)
        file.save(ours)
        file.wait(10)
        other.kill()
    mine = [item for item in list_recovery() if load_masks(item.copy) == ours]
    theirs = load_masks(path)
    # Whoever came second kept its work apart.
    if file.state.kind == "conflict":
        assert mine and any(theirs == state for state in itertools.islice(states(masks), 3000))
    else:
        assert theirs == ours
        assert any(item.kind == "unsaved" and not item.is_in_use for item in list_recovery())
    file.close()


# Nothing can be written.


def test_a_folder_that_is_gone_is_said_and_the_work_is_kept(path: Path, opened: tuple[MasksFile, VideoMasks]) -> None:
    file, masks = opened
    shutil.rmtree(path.parent)
    ours = masks.decide(FIRST)
    file.save(ours)
    assert not file.wait(10)
    assert file.state.kind == "failed" and "its folder is not there any more" in file.state.text
    assert file.state.kept_at is not None and load_masks(file.state.kept_at) == ours
    assert not path.parent.exists()  # a drive that is not plugged in must not get a folder in its place
    path.parent.mkdir()
    file.retry()
    assert file.wait(10)
    assert load_masks(path) == ours and not list_recovery()


def test_work_can_be_saved_elsewhere(path: Path, tmp_path: Path, opened: tuple[MasksFile, VideoMasks]) -> None:
    file, masks = opened
    theirs = change_outside(path)
    file.save(masks.decide(FIRST))
    assert not file.wait(10)
    other = tmp_path / "elsewhere.masks.json"
    other.write_text("what the user said may be replaced")
    file.save_elsewhere(other)
    assert file.wait(10)
    assert file.path == other and load_masks(other).decisions.made == (FIRST,)
    assert path.read_bytes() == theirs and not list_recovery()
    file.save(masks.decide(FIRST, SECOND))
    assert file.wait(10)
    assert load_masks(other).decisions.made == (FIRST, SECOND)


@pytest.mark.skipif(os.name != "posix", reason="limits of processes are a matter of POSIX")
def test_a_full_disk_is_said_and_nothing_is_lost(path: Path) -> None:
    before = load_masks(path)
    done = subprocess.run(
        [sys.executable, USER, path, "500"], capture_output=True, text=True, timeout=60, check=True
    ).stdout.splitlines()
    kind, is_kept, text = done[0].split("|")
    # The limit is one of the process: there is no room for the copy either.
    assert (kind, is_kept) == ("failed", "False")
    assert "cannot be written" in text and "cannot be kept" in text
    assert done[1] == "saved|saving,failed,saving,saved"
    assert load_masks(path) == next(states(before))
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


_FULL = """
set -e
mount -t tmpfs -o size=64k none "$1"
cp "$2" "$1/clip.masks.json"
dd if=/dev/zero of="$1/filler" bs=1k 2>/dev/null || true
"$3" "$4" "$1/clip.masks.json" 100000000
"""
_READ_ONLY = """
set -e
mount --bind "$1" "$1"
cp "$2" "$1/clip.masks.json"
mount -o remount,ro,bind "$1"
"$3" "$4" "$1/clip.masks.json" 100000000
"""


@pytest.mark.parametrize(("script", "why"), [(_FULL, "No space left on device"), (_READ_ONLY, "read-only")])
def test_where_the_folder_takes_nothing_the_work_is_in_the_recovery_folder(
    path: Path, tmp_path: Path, script: str, why: str
) -> None:
    place = tmp_path / "mounted"
    place.mkdir()
    options = [] if os.geteuid() == 0 else ["-r"]
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-m", *options, "true"]).returncode:
        pytest.skip("no file system can be mounted here")
    words = ["unshare", "-m", *options, "sh", "-c", script, "sh", place, path, sys.executable, USER]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    if "mount:" in done.stderr:
        pytest.skip(f"no file system can be mounted here: {done.stderr}")
    assert done.returncode == 0, done.stderr
    kind, is_kept, text = done.stdout.splitlines()[0].split("|")
    assert (kind, is_kept) == ("failed", "True")
    assert why.lower() in text.lower()
    assert done.stdout.splitlines()[1].startswith("failed|")
    (item,) = list_recovery()
    assert item.path == place / "clip.masks.json" and not item.is_in_use
    assert load_masks(item.copy) == next(states(load_masks(path)))


def test_a_file_that_is_a_folder_now_is_said(path: Path, opened: tuple[MasksFile, VideoMasks]) -> None:
    file, masks = opened
    path.unlink()
    path.mkdir()
    file.save(masks.decide(FIRST))
    assert not file.wait(10)
    assert file.state.kind == "failed" and "not a regular file" in file.state.text
    assert file.state.kept_at is not None


def test_where_nothing_at_all_can_be_written_that_is_said(
    path: Path, opened: tuple[MasksFile, VideoMasks], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, masks = opened
    (tmp_path / "home").write_text("a file where the home folder should be")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home"))
    shutil.rmtree(path.parent)
    file.save(masks.decide(FIRST))
    assert not file.wait(10)
    assert file.state.kept_at is None and "cannot be kept" in file.state.text


# A kill at any moment.


@pytest.mark.parametrize("attempt", range(20))
def test_a_kill_at_any_moment_leaves_a_whole_file_that_lacks_the_last_action_at_most(path: Path, attempt: int) -> None:
    before = load_masks(path)
    with subprocess.Popen([sys.executable, USER, path], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline()]
        time.sleep(chance.Random(attempt).uniform(0.0, 0.25))
        process.send_signal(signal.SIGKILL)
        lines += process.stdout.read().splitlines()
    words = [line.split() for line in lines if line.strip()]
    done = int(words[-1][0])
    # Actions that came while the disk was slower than 15 ms wait for it together.
    waiting = len(list(itertools.takewhile(lambda line: "late" in line, reversed(words))))
    found = load_masks(path)
    # The kill may have come between the last action and its number.
    possible = [before, *itertools.islice(states(before), done + 1)]
    assert any(found == state for state in possible[max(0, done - 1 - waiting) :])
    file, _ = MasksFile.open(path)
    file.close()
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


# The recovery folder.


def kept(path: Path, masks: VideoMasks) -> RecoveryItem:
    keep_copy(MasksEncoder().encode(masks), new_copy(path), path, "unsaved")
    return list_recovery()[0]


def test_work_is_put_back_in_its_place(path: Path) -> None:
    ours = load_masks(path).decide(FIRST)
    path.unlink()
    item = kept(path, ours)
    assert (item.name, item.is_in_use) == ("clip", False)
    assert take_recovery(item) == path
    assert load_masks(path) == ours and not list_recovery()


def test_what_stands_in_its_place_is_kept_in_turn(path: Path) -> None:
    ours = load_masks(path).decide(FIRST)
    item = kept(path, ours)
    theirs = change_outside(path)
    take_recovery(item)
    assert load_masks(path) == ours
    assert [item.copy.read_bytes() for item in of_kind("replaced")] == [theirs]


def test_work_whose_folder_is_gone_stays_until_it_is_put_elsewhere(path: Path, tmp_path: Path) -> None:
    ours = load_masks(path).decide(FIRST)
    item = kept(path, ours)
    shutil.rmtree(path.parent)
    with pytest.raises(OutputError, match="folder is not there"):
        take_recovery(item)
    assert list_recovery() == [item]
    assert take_recovery(item, tmp_path / "new.masks.json") == tmp_path / "new.masks.json"
    assert load_masks(tmp_path / "new.masks.json") == ours and not list_recovery()


def test_a_damaged_copy_is_said_and_stays(path: Path) -> None:
    item = kept(path, load_masks(path))
    before = path.read_bytes()
    item.copy.write_text("{")
    with pytest.raises(DamagedFileError):
        take_recovery(item)
    assert item.copy.exists() and path.read_bytes() == before


def test_work_that_a_living_process_keeps_is_not_taken(path: Path, opened: tuple[MasksFile, VideoMasks]) -> None:
    file, masks = opened
    change_outside(path)
    file.save(masks.decide(FIRST))
    file.wait(10)
    (item,) = list_recovery()
    with pytest.raises(InputError, match="still at work"):
        take_recovery(item)
    file.close()
    (item,) = list_recovery()
    assert not item.is_in_use
    assert load_masks(take_recovery(item)).decisions.made == (FIRST,)


def test_work_can_be_forgotten(path: Path) -> None:
    drop_recovery(kept(path, load_masks(path)))
    assert not list_recovery() and not any(recovery_folder().iterdir())


def test_notes_that_are_nonsense_are_passed_over(path: Path) -> None:
    item = kept(path, load_masks(path))
    (recovery_folder() / "x.about.json").write_text("[]")
    (recovery_folder() / "x.masks.json").write_text("[]")
    assert list_recovery() == [item]


def test_no_more_than_fifty_copies_are_kept_and_unsaved_ones_go_last(path: Path) -> None:
    content = path.read_bytes()
    keep_copy(content, new_copy(path), path, "unsaved")
    for _ in range(52):
        keep_copy(content, new_copy(path), path, "replaced")
    assert len(list_recovery()) == 50 and len(of_kind("unsaved")) == 1
