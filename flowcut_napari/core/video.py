"""Where videos are found: a folder of images, a video file, a DAVIS root, a YouTube-VIS json.

`open_video` takes one address, `open_videos` any address that may hold several. ``ROOT::NAME`` is the video NAME
of a DAVIS root or a YouTube-VIS json.
"""

from __future__ import annotations

import contextlib
import json
import os
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from flowcut_napari.core.errors import InputError
from flowcut_napari.core.frames import ImageSequence, Video, VideoFile, safe_name
from flowcut_napari.core.images import list_images, natural_key
from flowcut_napari.core.video_file import VIDEO_SUFFIXES

__all__ = ["ImageSequence", "Video", "VideoEntry", "VideoFile", "find_videos", "open_video", "open_videos", "safe_name"]


def open_video(address: str | os.PathLike[str]) -> Video:
    """Open exactly one video.

    Parameters
    ----------
    address : str or path
        A folder of images, a video file, or ``ROOT::NAME`` for one video of a DAVIS root or a YouTube-VIS json
        (``::NAME`` may be left out where there is only one).

    Raises
    ------
    InputError
        If there is no video at the address, or more than one.
    """
    entries = find_videos(address)
    if len(entries) > 1:
        names = ", ".join(entry.name for entry in entries[:5]) + (", ..." if len(entries) > 5 else "")
        raise InputError(f"{address}: holds {len(entries)} videos ({names}); name one as {address}::{entries[0].name}")
    return entries[0].open()


def open_videos(address: str | os.PathLike[str]) -> list[Video]:
    """Open the video or videos at an address, in natural order of their names.

    Parameters
    ----------
    address : str or path
        What `open_video` takes; a DAVIS root or a YouTube-VIS json without ``::NAME`` gives all of its videos.

    Raises
    ------
    InputError
        If there is no video at the address, or one of them cannot be opened.
    """
    return [entry.open() for entry in find_videos(address)]


@dataclass(frozen=True)
class VideoEntry:
    """A video that was found and is not yet opened: its name, where it lies, and how to open it."""

    name: str
    place: str
    open: Callable[[], Video]

    @classmethod
    def of(cls, video: Video) -> VideoEntry:
        """Return where a video lies that is open already."""
        place = str(video.path)
        return cls(video.name, place, partial(open_video, place))


def find_videos(address: str | os.PathLike[str]) -> list[VideoEntry]:
    """Find the videos at an address without opening them, so that a damaged one does not keep the others away.

    Parameters and errors are those of `open_videos`, less what opening finds out.
    """
    text = os.fspath(address)
    if not text.strip():
        raise InputError("an empty address is no video")
    try:
        return _entries_at(text)
    except InputError:
        raise
    except OSError as error:  # a folder that is not ours to look into, or too long
        raise InputError(f"{text[:80]}: cannot be looked up ({error.strerror or error})") from None
    except ValueError as error:  # not allowed in a path
        raise InputError(f"{text[:80]}: cannot be looked up ({error})") from None


def _entries_at(text: str) -> list[VideoEntry]:
    root, separator, name = text.rpartition("::")
    path, wanted = (Path(root), name) if separator and not Path(text).exists() else (Path(text), None)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    if path.is_dir():
        if (path / "JPEGImages").is_dir():
            return _davis_entries(path, wanted)
        if wanted is not None:
            raise InputError(f"{path}: no DAVIS root (it has no folder JPEGImages), so it has no video {wanted!r}")
        return [VideoEntry(safe_name(_own_name(path)), str(path), partial(_folder_video, path))]
    suffix = path.suffix.lower()
    if suffix not in VIDEO_SUFFIXES and suffix != ".json":
        expected = ", ".join(sorted(VIDEO_SUFFIXES))
        raise InputError(f"{path}: not a video; expected a folder of images, {expected} or .json")
    if not path.is_file():
        raise InputError(f"{path}: not a regular file")
    if suffix == ".json":
        return _ytvis_entries(path, wanted)
    if wanted is not None:
        raise InputError(f"{path}: one video, so it has no video {wanted!r} inside")
    return [VideoEntry(safe_name(path.stem), str(path), partial(VideoFile, path))]


def find_videos_below(root: str | os.PathLike[str]) -> tuple[list[VideoEntry], list[str]]:
    """Find all videos of a dataset: what `find_videos` takes, or a folder of folders of images and of video files.

    Returns
    -------
    (list of VideoEntry, list of str)
        In natural order of their names, and what was passed over, a line each.

    Raises
    ------
    InputError
        If there is no video, or two have one name.
    """
    path = Path(root)
    entries: list[VideoEntry] = []
    others: list[str] = []
    try:
        if not os.fspath(root).strip() or not path.is_dir() or (path / "JPEGImages").is_dir():
            return refuse_same_names(find_videos(root)), []
        for inner in sorted(path.iterdir(), key=lambda inner: natural_key(inner.name)):
            if inner.name.startswith("."):
                continue
            is_video = inner.is_file() and inner.suffix.lower() in VIDEO_SUFFIXES
            if is_video or (inner.is_dir() and _has_images(inner)):
                entries += find_videos(inner)
            else:
                others.append(inner.name)
    except OSError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{os.fspath(root)[:80]}: cannot be looked into ({error.strerror or error})") from None
    if entries:
        notes = [f"{path}: passed over {len(others)} without frames: {_some(others)}"] if others else []
        return refuse_same_names(entries), notes
    if not _has_images(path):
        raise InputError(f"{path}: no videos here: no video file, and no folder with images in it")
    return find_videos(root), []


def _has_images(folder: Path) -> bool:
    """Whether a folder is a video, if perhaps one that cannot be opened: that is to be said of it alone."""
    try:
        return bool(list_images(folder)[0])
    except InputError:
        return True


def refuse_same_names(entries: list[VideoEntry]) -> list[VideoEntry]:
    """Return the entries as they are, if results of none would overwrite another's, also where names ignore case.

    Raises
    ------
    InputError
        Else.
    """
    seen: dict[str, VideoEntry] = {}
    for entry in entries:
        other = seen.setdefault(unicodedata.normalize("NFC", entry.name).casefold(), entry)
        if other is entry:
            continue
        if other.place == entry.place:
            raise InputError(f"{entry.place} is given twice")
        raise InputError(
            f"{other.place} and {entry.place} would both write {entry.name}; run them into different folders"
        )
    return entries


def _own_name(path: Path) -> str:
    """Return the name of a folder, also of ``.``; that of a link is its own, not that of where it leads."""
    return os.path.basename(os.path.abspath(path))


def _folder_video(path: Path) -> ImageSequence:
    try:
        images, others = list_images(path)
        why = "" if images else _why_no_image(path, others)
    except OSError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: cannot be looked into ({error.strerror or error})") from None
    if why:
        raise InputError(why)
    notices = []
    if others:
        named = ", ".join(file.name for file in others[:3]) + (", ..." if len(others) > 3 else "")
        notices.append(f"{path.name}: passed over {len(others)} file(s) that are no images: {named}")
    return ImageSequence(_own_name(path), path, images, notices)


def _why_no_image(path: Path, others: list[Path]) -> str:
    if others:
        return f"{path}: none of the {len(others)} file(s) in this folder is an image"
    inner = sorted((entry.name for entry in path.iterdir() if entry.is_dir()), key=natural_key)
    if inner:
        return f"{path}: no images here, only {len(inner)} folder(s); name one of them, such as {path / inner[0]}"
    return f"{path}: the folder is empty"


def _davis_entries(root: Path, wanted: str | None) -> list[VideoEntry]:
    """Find ``JPEGImages/SEQ`` or ``JPEGImages/RESOLUTION/SEQ``, of the first resolution that is there."""
    base = root / "JPEGImages"
    for resolution in ("480p", "Full-Resolution", "1080p", "360p"):
        if (base / resolution).is_dir():
            base = base / resolution
            break
    names = sorted((entry.name for entry in base.iterdir() if entry.is_dir()), key=natural_key)
    if not names:
        raise InputError(f"{base}: this DAVIS root has no sequences")
    if wanted is not None and wanted not in names:
        raise InputError(f"{base}: no sequence {wanted!r}; it has {_some(names)}")
    chosen = [wanted] if wanted is not None else names
    return [VideoEntry(safe_name(name), str(base / name), partial(_folder_video, base / name)) for name in chosen]


def _ytvis_entries(path: Path, wanted: str | None) -> list[VideoEntry]:
    named = ytvis_videos(path)
    if wanted is not None and wanted not in named:
        raise InputError(f"{path}: no video {wanted!r}; it has {_some(list(named))}")
    chosen = [wanted] if wanted is not None else sorted(named, key=natural_key)
    return [
        VideoEntry(safe_name(name), f"{path}::{name}", partial(_ytvis_video, path, name, named[name][0]))
        for name in chosen
    ]


def ytvis_videos(path: Path) -> dict[str, tuple[list[str], int]]:
    """Return the videos of a YouTube-VIS json by the name that they go by here: their frames, and their id.

    Raises
    ------
    InputError
        If it cannot be read, or lists no videos.
    """
    listed = _read_ytvis_files(path)
    named: dict[str, tuple[list[str], int]] = {}
    for name, (files, number) in zip(ytvis_names(listed), listed, strict=True):
        if name in named:
            raise InputError(f"{path}: two videos have the id {number}")
        named[name] = files, number
    return named


def ytvis_names(videos: Iterable[tuple[Sequence[str], int]]) -> list[str]:
    """Return what the videos of a YouTube-VIS json are called in addresses, by their files and ids, in its order.

    Examples
    --------
    >>> ytvis_names([(["boat/0.jpg"], 1), (["boat/3.jpg"], 2), (["0.jpg"], 3)])
    ['boat', 'boat_2', '3']
    """
    names: dict[str, None] = {}
    listed = []
    for files, number in videos:
        name = PurePosixPath(files[0]).parent.name or str(number)
        if name in names:  # two-frame clips of one video share their folder
            name = f"{name}_{number}"
        names[name] = None
        listed.append(name)
    return listed


def _ytvis_video(path: Path, name: str, files: list[str]) -> ImageSequence:
    folder = frames_folder(path, files[0])
    return ImageSequence(name, path, [folder / file for file in files], root=folder)


def _read_ytvis_files(path: Path) -> list[tuple[list[str], int]]:
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read as JSON ({error})") from None
    videos = content.get("videos") if isinstance(content, dict) else None
    if not isinstance(videos, list) or not videos:
        raise InputError(f"{path}: no YouTube-VIS json: it lists no videos")
    entries = []
    for place, video in enumerate(videos):
        files = video.get("file_names") if isinstance(video, dict) else None
        if not isinstance(files, list) or not files or not all(isinstance(file, str) for file in files):
            raise InputError(f"{path}: video {place} has no list of file_names")
        for file in files:
            if not file.strip() or not file.isprintable() or len(file) > 1000:
                raise InputError(f"{path}: video {place} has a frame without a usable name: {file[:40]!r}")
            if not is_inner_path(file):
                raise InputError(f"{path}: the frame {file!r} lies outside the dataset folder")
        number = video.get("id", place + 1)
        if not isinstance(number, int) or isinstance(number, bool):
            raise InputError(f"{path}: video {place} has the id {number!r}; ids are whole numbers")
        entries.append((files, number))
    return entries


def is_inner_path(file: str) -> bool:
    """Whether a path in a file that somebody else wrote stays below the folder that it is meant to start from."""
    path = PurePosixPath(file)
    is_outside = path.is_absolute() or ".." in path.parts or "\\" in file or PureWindowsPath(file).drive
    return bool(path.name) and file.isprintable() and not is_outside


def frames_folder(path: Path, first: str) -> Path:
    """Find where the frames lie: beside the json, or in the places where YouTube-VIS and our exports keep them."""
    parent = path.parent
    candidates = [
        parent,
        parent / "JPEGImages",
        parent / "frames",
        parent / path.stem / "JPEGImages",
        parent.parent / "JPEGImages",
        parent.parent / path.stem / "JPEGImages",
    ]
    for folder in candidates:
        with contextlib.suppress(OSError):  # a name too long for the system is in none of them
            if (folder / first).is_file():
                return folder
    raise InputError(f"{path}: the frame {first} is in none of {', '.join(str(folder) for folder in candidates)}")


def _some(names: list[str]) -> str:
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
