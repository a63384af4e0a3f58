"""Which videos to predict on, and what results call them: ids of a YouTube-VIS json, else numbers from 1."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from flowcut_napari.core.errors import InputError
from flowcut_napari.core.formats.ytvis import ANNOTATIONS
from flowcut_napari.core.frames import ImageSequence, Video, safe_name
from flowcut_napari.core.json_stream import read_items
from flowcut_napari.core.video import VideoEntry, find_videos_below, frames_folder, is_inner_path, refuse_same_names


@dataclass(frozen=True)
class VideoToPredict:
    """A video that was found and is not yet opened.

    Attributes
    ----------
    id : int
        What results call it.
    entry : VideoEntry
    files : tuple of str
        Names of its frames as its json has them; empty of a video that is in none.
    """

    id: int
    entry: VideoEntry
    files: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What its results are called after."""
        return self.entry.name


@dataclass(frozen=True)
class _Listed:
    """A video as a json lists it; a size that is not stated is None."""

    id: int
    name: str
    files: tuple[str, ...]
    size: tuple[int | None, int | None]


def find_videos_to_predict(address: str) -> tuple[list[VideoToPredict], list[str]]:
    """Find the videos at an address.

    Parameters
    ----------
    address : str
        What `find_videos_below` takes, or the folder of a dataset, which stands for its ``annotations.json``. Of a
        json all videos are taken, in its order; ``JSON::NAME`` is one of them.

    Returns
    -------
    (list of VideoToPredict, list of str)
        Videos of a json have its ids, others 0 for `number_videos`; and what was passed over, a line each.

    Raises
    ------
    InputError
        If there is no video.
    """
    path, name = _json_of(address)
    if path is None:
        entries, notes = find_videos_below(address)
        return [VideoToPredict(0, entry) for entry in entries], notes
    listed = _read_listed(path)
    if name is not None and name not in {video.name for video in listed}:
        raise InputError(f"{path}: no video {name[:80]!r} among its {len(listed)}, such as {listed[0].name}")
    found = [
        VideoToPredict(
            video.id, VideoEntry(video.name, f"{path}::{video.name}", partial(_open, path, video)), video.files
        )
        for video in listed
        if name in (None, video.name)
    ]
    return found, []


def number_videos(videos: Sequence[VideoToPredict]) -> list[VideoToPredict]:
    """Return the videos with ids: those of a json keep theirs, others get the numbers that follow, from 1.

    Raises
    ------
    InputError
        If two videos have one id or one name.
    """
    refuse_same_names([video.entry for video in videos])
    taken: dict[int, VideoToPredict] = {}
    for video in videos:
        if video.files and taken.setdefault(video.id, video) is not video:
            places = f"{taken[video.id].entry.place} and {video.entry.place}"
            raise InputError(f"{places} have the same id, {video.id}; predict on one json at a time")
    following = max(0, *taken) if taken else 0
    numbered = []
    for video in videos:
        if not video.files:
            following += 1
            video = VideoToPredict(following, video.entry)
        numbered.append(video)
    return numbered


def _json_of(address: str) -> tuple[Path | None, str | None]:
    """Return the json that an address stands for and the video that it names in it; None where it is something else."""
    text = os.fspath(address)
    try:
        whole = Path(text)
        root, separator, name = text.rpartition("::")
        path, wanted = (Path(root), name) if separator and not whole.exists() else (whole, None)
        if path.is_dir() and (path / ANNOTATIONS).is_file():
            return path / ANNOTATIONS, wanted
        return (path, wanted) if path.suffix.lower() == ".json" and path.is_file() else (None, None)
    except (OSError, ValueError):
        return None, None  # whatever it is, no file; that is said by who looks for videos there


def _read_listed(path: Path) -> list[_Listed]:
    """Read the videos of a json; its annotations, which may be gigabytes, are not kept."""
    listed: list[_Listed] = []
    names: set[str] = set()
    ids: set[int] = set()
    for part, value in read_items(path):
        if part == "videos":
            video = _read_one(path, len(listed), value, names)
            if video.id in ids:
                raise InputError(f"{path}: two videos have the id {video.id}")
            ids.add(video.id)
            listed.append(video)
        elif listed:
            break
    if not listed:
        raise InputError(f"{path}: no YouTube-VIS json: it lists no videos")
    return listed


def _read_one(path: Path, place: int, value: Any, names: set[str]) -> _Listed:
    files = value.get("file_names") if isinstance(value, dict) else None
    if not isinstance(files, list) or not files or not all(isinstance(file, str) for file in files):
        raise InputError(f"{path}: video {place} has no list of file_names")
    for file in files:
        if not is_inner_path(file) or len(file) > 1000:
            raise InputError(f"{path}: video {place}: the frame {file[:80]!r} is not in the dataset folder")
    number = value.get("id")
    if type(number) is not int:  # True is an int to Python
        raise InputError(f"{path}: video {place} has the id {repr(number)[:40]}; ids are whole numbers")
    if value.get("length", len(files)) != len(files):
        raise InputError(f"{path}: video {number} has {len(files)} file_names, its length is {value['length']!r:.20}")
    sides = [value.get(side) for side in ("height", "width")]
    if any(side is not None and type(side) is not int for side in sides):
        raise InputError(f"{path}: video {number}: its height and width are no whole numbers")
    name = safe_name(PurePosixPath(files[0]).parent.name or str(number))
    if _key(name) in names:  # clips of one video share its folder
        name = safe_name(f"{name[:150]}_{number}")
    if _key(name) in names:
        raise InputError(f"{path}: two videos would be called {name}")
    names.add(_key(name))
    return _Listed(number, name, tuple(files), (sides[0], sides[1]))


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _open(path: Path, listed: _Listed) -> Video:
    folder = frames_folder(path, listed.files[0])
    video = ImageSequence(listed.name, path, [folder / file for file in listed.files], root=folder)
    for side, stated, own in zip(("height", "width"), listed.size, (video.height, video.width), strict=True):
        # Masks are of the frames' size, and could not be compared with those of the json.
        if stated not in (None, own):
            raise InputError(
                f"{path}: video {listed.id} ({listed.name}): its {side} is {stated}, its frames have {own}"
            )
    return video
