from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from command_line import write_video
from conftest import write_frames

from flowcut_napari.core import CurationParameters, CutParameters, InputError, open_video
from flowcut_napari.core.errors import DamagedFileError, OutputError
from flowcut_napari.core.store import VideoRecord
from flowcut_napari.core.video import find_videos
from flowcut_napari.viewer.find_video import MovedVideoError, address_of, find_again, new_places
from flowcut_napari.viewer.session import Session, SessionVideo, read_session, write_session
from flowcut_napari.viewer.window_session import WindowSession, crashed_windows, windows_folder

USER = Path(__file__).with_name("window_user.py")


def of_videos(*items: SessionVideo, **more: Any) -> Session:
    return Session(videos=items, parameters=CutParameters.preset("handmade"), **more)


def of_path(path: Path | str, name: str = "clip", **more: Any) -> SessionVideo:
    return SessionVideo(video=VideoRecord(name, str(path), 6, 48, 64, "f"), **more)


# The file.


def test_a_session_survives_being_saved(tmp_path: Path) -> None:
    session = Session(
        videos=(
            of_path(tmp_path / "videos" / "dog", "dog", masks=str(tmp_path / "out" / "dog.masks.json"), frame=3),
            of_path("/elsewhere/set.json::cat", "cat"),
        ),
        current=1,
        parameters=CutParameters.preset("maskcut").with_changes(tau=0.31),
        weights={"dino": "/weights/dino.pth"},
        device="cuda:1",
        curation=CurationParameters(gaps=(1, 3)),
        page="Curate",
        tab="Match",
        export={"format": "davis", "out": "x"},
    )
    path = tmp_path / "a.flowcut.json"
    write_session(session, path)
    assert read_session(path) == session
    assert session.names() == "cat, dog"


def test_what_lies_below_or_beside_a_session_moves_with_it(tmp_path: Path) -> None:
    home = tmp_path / "project" / "work"
    home.mkdir(parents=True)
    session = of_videos(
        of_path(home / "clip", masks=str(home / "out" / "clip.masks.json")),
        of_path(tmp_path / "project" / "videos" / "dog", "dog"),
        of_path("/far/away/cat", "cat"),
        weights={"dino": str(home / "dino.pth")},
    )
    write_session(session, home / "s.flowcut.json")
    text = (home / "s.flowcut.json").read_text()
    assert str(tmp_path) not in text
    assert '"../videos/dog"' in text and '"/far/away/cat"' in text
    shutil.move(tmp_path / "project", tmp_path / "moved")
    moved = read_session(tmp_path / "moved" / "work" / "s.flowcut.json")
    assert [item.video.path for item in moved.videos] == [
        str(tmp_path / "moved" / "work" / "clip"),
        str(tmp_path / "moved" / "videos" / "dog"),
        "/far/away/cat",
    ]
    assert moved.videos[0].masks == str(tmp_path / "moved" / "work" / "out" / "clip.masks.json")
    assert moved.weights == {"dino": str(tmp_path / "moved" / "work" / "dino.pth")}


def _changed(**changes: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda content: {**content, **changes}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_changed(schema="flowcut.session/2"), "made by a newer version of FlowCut (schema flowcut.session/2)"),
        (_changed(schema="flowcut.session/10"), "made by a newer version"),
        (_changed(schema="flowcut.masks/1"), "no session of FlowCut"),
        (_changed(schema=7), "no session of FlowCut"),
        (_changed(videos="dog"), "damaged"),
        (_changed(current=5), "damaged"),
        (_changed(surprise=1), "damaged"),
        (_changed(parameters={"tau": "much"}), "damaged"),
        (lambda _: [1, 2], "no session of FlowCut"),
    ],
)
def test_a_session_that_cannot_be_read_gives_one_line(
    tmp_path: Path, change: Callable[[dict[str, Any]], Any], words: str
) -> None:
    path = tmp_path / "a.flowcut.json"
    write_session(of_videos(of_path("/x/clip"), current=0), path)
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(InputError) as caught:
        read_session(path)
    assert words in str(caught.value) and "a.flowcut.json" in str(caught.value)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"schema": NaN}'])
def test_a_file_that_is_no_json_is_damaged(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.flowcut.json"
    path.write_bytes(content)
    with pytest.raises(DamagedFileError, match=r"a\.flowcut\.json: damaged"):
        read_session(path)


def test_a_session_that_is_not_there_or_a_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_session(tmp_path / "a.flowcut.json")
    with pytest.raises(InputError, match="not a regular file"):
        read_session(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        write_session(of_videos(), tmp_path / "file" / "a.flowcut.json")


# Videos that are found again.


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_frames(tmp_path / "here" / "clip", 6)


def record_of(address: Path | str) -> VideoRecord:
    video = open_video(address)
    return VideoRecord.of(video)


def test_a_video_that_is_where_it_was_is_found(clip: Path) -> None:
    found = find_again(record_of(clip))
    assert (found.video.name, len(found.video), found.has_changed) == ("clip", 6, False)


def test_a_video_that_has_moved_is_asked_for_and_found_where_the_user_says(clip: Path, tmp_path: Path) -> None:
    record = record_of(clip)
    clip.rename(tmp_path / "renamed")
    with pytest.raises(MovedVideoError, match="no such file or folder") as caught:
        find_again(record)
    assert caught.value.record == record
    found = find_again(record, {record.path: str(tmp_path / "renamed")})
    assert not found.has_changed and found.video.path == tmp_path / "renamed"


def test_a_folder_around_the_video_will_do(clip: Path, tmp_path: Path) -> None:
    record = record_of(clip)
    write_frames(tmp_path / "there" / "other", 4)
    shutil.move(clip, tmp_path / "there" / "clip")
    assert find_again(record, {record.path: str(tmp_path / "there")}).video.path == tmp_path / "there" / "clip"


def test_another_video_in_its_place_is_refused(clip: Path, tmp_path: Path) -> None:
    record = record_of(clip)
    shutil.rmtree(clip)
    other = write_frames(tmp_path / "other", 5)
    with pytest.raises(MovedVideoError, match=r"had 6 frames of 64x48, but .*other has 5 of 64x48"):
        find_again(record, {record.path: str(other)})


def test_another_content_of_the_same_size_and_length_is_told(clip: Path, tmp_path: Path) -> None:
    record = replace(record_of(clip), fingerprint="another")
    assert find_again(record).has_changed
    assert not find_again(replace(record, fingerprint="")).has_changed


def test_others_that_lay_beside_it_are_looked_for_there() -> None:
    moved = {"/old/set/dog": "/new/place/set/dog"}
    assert new_places("/old/set/dog", moved) == [("/new/place/set/dog", True)]
    assert new_places("/old/set/cat", moved) == [("/new/place/set/cat", False)]
    assert new_places("/other/cat", moved) == []


def test_videos_of_a_dataset_keep_an_address_that_finds_the_others_too(tmp_path: Path) -> None:
    root = tmp_path / "DAVIS"
    for name in ("bear", "dog"):
        write_frames(root / "JPEGImages" / "480p" / name, 3, suffix=".jpg")
    entries = find_videos(root)
    address = address_of(entries[1].open(), entries[1], len(entries))
    assert address == str(root)
    found = find_again(VideoRecord("dog", address, 3, 48, 64, ""))
    assert found.video.name == "dog" and [entry.name for entry in found.sisters] == ["bear", "dog"]


def test_single_videos_keep_their_own_address(clip: Path, tmp_path: Path) -> None:
    movie = write_video(tmp_path / "moving.mp4", 6)
    for path in (clip, movie):
        (entry,) = find_videos(path)
        assert address_of(entry.open(), entry, 1) == str(path)
        assert address_of(entry.open(), None, 0) == str(path)


# Windows that end unexpectedly.


@contextmanager
def window(session: Session, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    path = tmp_path / "open.flowcut.json"
    write_session(session, path)
    with subprocess.Popen(
        [sys.executable, USER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == "kept\n"
        yield process


def test_a_window_that_was_killed_is_found_and_one_that_lives_is_not(tmp_path: Path) -> None:
    session = of_videos(of_path("/x/dog", "dog"), current=0)
    with window(session, tmp_path) as process:
        assert crashed_windows() == []
        process.kill()
    (crashed,) = crashed_windows()
    assert crashed.session == session
    # Whoever found it first has it.
    assert crashed_windows() == []
    crashed.forget()
    assert crashed_windows() == [] and not any(windows_folder().iterdir())


def left_behind(number: int, days: float) -> None:
    path = windows_folder() / f"{number}-a.json"
    write_session(of_videos(of_path("/x/dog", f"dog{number}"), current=0), path)
    then = time.time() - 86400 * days
    os.utime(path, (then, then))


def test_a_window_that_nobody_answered_for_is_found_again() -> None:
    left_behind(1, 0)
    (crashed,) = crashed_windows()
    assert crashed_windows() == []
    crashed.release()
    (again,) = crashed_windows()
    assert again.session == crashed.session
    again.forget()
    assert not any(windows_folder().iterdir())


def test_windows_of_more_than_a_month_ago_and_beyond_twenty_go() -> None:
    for number in range(25):
        left_behind(number, number)
    left_behind(99, 31)
    held = crashed_windows()
    assert [window.session.videos[0].video.name for window in held] == [f"dog{number}" for number in range(20)]
    assert len(list(windows_folder().glob("*.json"))) == 20
    left_behind(98, 31)
    assert crashed_windows() == [] and len(list(windows_folder().glob("*.json"))) == 20


def test_a_window_that_ends_as_it_should_leaves_nothing(tmp_path: Path) -> None:
    with window(of_videos(of_path("/x/dog", "dog")), tmp_path) as process:
        process.communicate("")
    assert crashed_windows() == [] and not any(windows_folder().iterdir())


def test_a_window_without_a_video_is_not_worth_an_offer() -> None:
    kept = WindowSession()
    kept.keep(of_videos(of_path("/x/dog", "dog")))
    assert len(list(windows_folder().glob("*.json"))) == 1
    kept.keep(of_videos())
    assert not list(windows_folder().glob("*.json"))
    kept.end()
    kept.keep(of_videos(of_path("/x/dog", "dog")))
    assert not any(windows_folder().iterdir())


def test_what_is_damaged_goes_and_what_is_newer_stays() -> None:
    windows_folder().mkdir(parents=True)
    (windows_folder() / "1-a.json").write_text("{")
    (windows_folder() / "1-b.json").write_text('{"schema": "flowcut.session/9"}')
    assert crashed_windows() == []
    assert [path.name for path in windows_folder().glob("*.json")] == ["1-b.json"]


def test_the_names_of_many_videos_are_cut_short() -> None:
    session = of_videos(*(of_path(f"/x/{name}", name) for name in "abcdef"), current=4)
    assert session.names() == "e, a, b and 3 more"
