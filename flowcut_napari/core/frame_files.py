"""The frames of videos as files of a dataset: copied, hard-linked, or as symbolic links to where they are."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import get_args

from PIL import Image

from flowcut_napari.core.errors import InputError, OutputError
from flowcut_napari.core.frames import ImageSequence, Video
from flowcut_napari.core.images import picture_header, read_rgb
from flowcut_napari.core.parameters import FrameFilesMode
from flowcut_napari.core.store import VideoMasks, VideoRecord
from flowcut_napari.core.video import VideoEntry, find_videos, open_video

_JPEG_QUALITY = 95


class FrameSource(ABC):
    """The frames of one video, to be placed in a dataset.

    Attributes
    ----------
    names : dict of int to str
        Name of the file that each frame with masks gets.
    """

    names: dict[int, str]

    @abstractmethod
    def sources(self) -> set[Path]:
        """Return the file that holds the frames, or the folders of those that do."""

    @abstractmethod
    def place(self, index: int, target: Path, mode: FrameFilesMode) -> None:
        """Put a frame at `target`, whose folder is there.

        Raises
        ------
        InputError
            If the frame is not what the masks were made of, or cannot be placed in this way.
        OutputError
            If it cannot be written.
        """


def find_frames(masks: VideoMasks, mode: FrameFilesMode, moved: Mapping[str, VideoEntry] | None = None) -> FrameSource:
    """Find the frames of a video where they were when its masks were made, or among videos that have moved.

    Raises
    ------
    InputError
        If they are not there, or belong to another video.
    """
    if mode not in get_args(FrameFilesMode):
        raise InputError(f"unknown way to place frames {mode!r}: choose {', '.join(get_args(FrameFilesMode))}")
    if mode == "none":
        return _Files(masks, {})
    record = masks.video
    try:
        video = moved[record.name].open() if moved and record.name in moved else open_where_it_was(record)
    except _MovedError as error:
        ways_out = "give --videos with where it is now, or --frame-files none for annotations alone"
        raise InputError(f"{error}; {ways_out}") from None
    same_size = (video.height, video.width, len(video)) == (record.height, record.width, record.frames)
    if not same_size or video.fingerprint() != record.fingerprint:
        raise InputError(
            f"{video.path}: is not what the masks of {record.name} were made of (other frames, or changed since); "
            "make them again"
        )
    if isinstance(video, ImageSequence):
        for index, file in masks.files.items():
            if file != video.frame_file(index):
                raise InputError(f"{video.path}: frame {index} is {video.frame_file(index)}, its masks call it {file}")
        return _Files(masks, {frame.index: video.frame_path(frame.index) for frame in masks.frames})
    return _Decoded(video, masks)


class _MovedError(InputError):
    """A video is not where it was when its masks were made."""


def open_where_it_was(record: VideoRecord) -> Video:
    """Open a video where it lay when its masks were made.

    Raises
    ------
    InputError
        If it is not there any more, or cannot be opened.
    """
    path = Path(record.path)
    try:
        is_there = path.exists()
    except (OSError, ValueError):  # no path that could be
        is_there = False
    if not is_there:
        raise _MovedError(f"{record.name}: its video is not at {str(path)[:200]} any more")
    if path.suffix.lower() == ".json" and path.is_file():
        entries = _entries_of_json(path, path.stat().st_mtime_ns)
        if record.name not in entries:
            raise InputError(f"{path}: has no video {record.name} any more")
        return entries[record.name].open()
    return open_video(path)


@lru_cache(maxsize=4)
def _entries_of_json(path: Path, changed: int) -> dict[str, VideoEntry]:
    """Read a YouTube-VIS json once for all of its videos; `changed` is when it was written last."""
    return {entry.name: entry for entry in find_videos(path)}


def place_file(source: Path, target: Path, mode: FrameFilesMode) -> None:
    """Copy or link a file.

    Raises
    ------
    InputError
        If it cannot be hard-linked, which takes one file system.
    OutputError
        If it cannot be written.
    """
    try:
        if target.exists() or target.is_symlink():
            raise InputError(f"{source}: another frame is called {target.parent.name}/{target.name} already")
        if mode == "copy":
            shutil.copyfile(source, target)
        elif mode == "reference":
            target.symlink_to(source.resolve())
        elif mode == "link":
            try:
                os.link(source.resolve(), target)
            except OSError as error:
                raise InputError(
                    f"{source}: cannot be hard-linked into the dataset ({error.strerror}); use --frame-files copy"
                ) from None
    except InputError:
        raise
    except OSError as error:
        if error.filename == os.fspath(source) and error.filename2 is None:
            raise InputError(f"{source}: cannot be read ({error.strerror or error})") from None
        if error.errno == errno.ENAMETOOLONG:
            raise InputError(f"{source}: its name is too long for the folder of the dataset") from None
        raise OutputError(f"{target}: cannot be written ({error.strerror or error})") from None


def spare(sources: Iterable[str | os.PathLike[str]], replaced: Path) -> None:
    """See that a folder which is about to be replaced does not hold what its replacement is made of.

    Raises
    ------
    OutputError
        If it does.
    """
    folder = os.path.realpath(replaced)
    for source in sources:
        with contextlib.suppress(ValueError):  # what can be no path is nowhere
            if os.path.commonpath([os.path.realpath(source), folder]) == folder:
                raise OutputError(f"{replaced}: holds what this is made of ({source}); give another -o")


class _Files(FrameSource):
    """Frames that are files; without paths there are only their names."""

    def __init__(self, masks: VideoMasks, paths: Mapping[int, Path]) -> None:
        indices = [frame.index for frame in masks.frames]
        self._paths = paths
        self._turned = {index: picture_header(path)[1] for index, path in paths.items()}
        self.names = _file_names(indices, [masks.files.get(index, f"{index:05d}.jpg") for index in indices])
        for index, turned in self._turned.items():
            if turned:  # written anew, upright
                self.names[index] = f"{PurePosixPath(self.names[index]).stem}.png"

    def sources(self) -> set[Path]:
        return {Path(os.path.realpath(path)).parent for path in self._paths.values()}

    def place(self, index: int, target: Path, mode: FrameFilesMode) -> None:
        if mode == "none":
            return
        path = self._paths[index]
        if target.suffix == ".jpg" and path.suffix.lower() not in (".jpg", ".jpeg"):
            if mode != "copy":
                raise InputError(f"{path}: is no JPEG, as this format needs; use --frame-files copy")
            _save(Image.fromarray(read_rgb(path)), target)
            return
        if not self._turned[index]:
            place_file(path, target, mode)
        elif mode == "copy":
            # Programs that read datasets do not all turn what its EXIF says to turn.
            _save(Image.fromarray(read_rgb(path)), target)
        else:
            raise InputError(f"{path}: is stored on its side, with a flag to turn it; use --frame-files copy")


class _Decoded(FrameSource):
    """Frames inside a video file."""

    def __init__(self, video: Video, masks: VideoMasks) -> None:
        self._video = video
        self.names = {frame.index: f"{frame.index:05d}.jpg" for frame in masks.frames}

    def sources(self) -> set[Path]:
        return {Path(os.path.realpath(self._video.path))}

    def place(self, index: int, target: Path, mode: FrameFilesMode) -> None:
        if mode == "none":
            return
        if mode != "copy":
            raise InputError(f"{self._video.path}: its frames are no files of their own; use --frame-files copy")
        _save(Image.fromarray(self._video[index]), target)


def _file_names(indices: Sequence[int], files: Sequence[str]) -> dict[int, str]:
    """Return the files' own names where they tell them apart, else numbers."""
    names = [PurePosixPath(file).name for file in files]
    stems = {PurePosixPath(name).stem.casefold() for name in names}
    if len(stems) < len(names):
        names = [f"{index:05d}{PurePosixPath(name).suffix}" for index, name in zip(indices, names, strict=True)]
    return dict(zip(indices, names, strict=True))


def _save(picture: Image.Image, target: Path) -> None:
    try:
        if target.suffix == ".png":
            picture.save(target)
        else:
            picture.save(target, quality=_JPEG_QUALITY, subsampling=0)
    except OSError as error:
        raise OutputError(f"{target}: cannot be written ({error.strerror or error})") from None
