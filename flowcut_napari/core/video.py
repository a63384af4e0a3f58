"""Videos as lazy sequences of RGB frames: a folder of images, a video file, a DAVIS root, a YouTube-VIS json.

`open_video` takes one address, `open_videos` any address that may hold several. ``ROOT::NAME`` is the video NAME
of a DAVIS root or a YouTube-VIS json.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from flowcut_napari.core.errors import InputError
from flowcut_napari.core.images import image_size, list_images, natural_key, read_rgb
from flowcut_napari.core.video_file import VIDEO_SUFFIXES, FrameDecoder

_SAMPLE_BYTES = 1 << 20


class Video(ABC):
    """A sequence of (H, W, 3) uint8 RGB frames that are read when asked for.

    Reading is safe from several threads; memory does not depend on the length. Videos can be pickled: another
    process opens its own handles.

    Attributes
    ----------
    name : str
        What its results are called after; safe as a file name.
    path : Path
        The folder or file it was opened from.
    height, width : int
        Size of every frame in pixels.
    notices : tuple of str
        What a user should know about how it was read (files passed over and the like).
    """

    name: str
    path: Path
    height: int
    width: int
    notices: tuple[str, ...] = ()

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def _read(self, index: int) -> np.ndarray: ...

    @abstractmethod
    def frame_file(self, index: int) -> str | None:
        """Return the file of a frame relative to `path`, or None when frames are no files of their own."""

    @abstractmethod
    def _fingerprint_parts(self) -> Iterator[bytes]: ...

    def __getitem__(self, index: int) -> np.ndarray:
        """Return frame `index` (negative counts from the end) as (H, W, 3) uint8 RGB.

        Raises
        ------
        IndexError
            If there is no such frame.
        InputError
            If the frame is damaged or of another size than the first.
        """
        position = index + len(self) if index < 0 else index
        if not 0 <= position < len(self):
            raise IndexError(f"{self.name} has {len(self)} frames, no frame {index}")
        frame = self._read(position)
        if frame.shape != (self.height, self.width, 3):
            raise InputError(
                f"{self.path}: frame {position} is {frame.shape[1]}x{frame.shape[0]}, "
                f"the others are {self.width}x{self.height}"
            )
        return frame

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[index] for index in range(len(self)))

    def fingerprint(self) -> str:
        """Return a short hash that tells this video from others wherever it lies (names, sizes, sampled bytes)."""
        digest = hashlib.sha256(f"{len(self)} {self.height} {self.width}".encode())
        for part in self._fingerprint_parts():
            digest.update(part)
        return digest.hexdigest()[:32]


class ImageSequence(Video):
    """A video whose frames are image files.

    Raises
    ------
    InputError
        If there is no frame, a header cannot be read, or two frames differ in size.
    """

    def __init__(self, name: str, path: Path, files: Sequence[Path], notices: Sequence[str] = ()) -> None:
        if not files:
            raise InputError(f"{path}: the video {name} has no frames")
        self.name = safe_name(name)
        self.path = path
        self.notices = tuple(notices)
        self._files = tuple(files)
        self.height, self.width = image_size(files[0])
        for file in files[1:]:
            size = image_size(file)
            if size != (self.height, self.width):
                raise InputError(
                    f"{file}: this frame is {size[1]}x{size[0]}, {files[0].name} is {self.width}x{self.height}; "
                    "all frames of a video must have one size"
                )

    def __len__(self) -> int:
        return len(self._files)

    def _read(self, index: int) -> np.ndarray:
        return read_rgb(self._files[index])

    def frame_file(self, index: int) -> str:
        """Return the file of a frame relative to the folder `path`, or to the folder of the json `path`."""
        folder = self.path if self.path.is_dir() else self.path.parent
        return Path(os.path.relpath(self._files[index], folder)).as_posix()

    def _fingerprint_parts(self) -> Iterator[bytes]:
        for file in self._files:
            yield f"{file.name} {file.stat().st_size}".encode()
        for index in sorted({0, len(self) // 2, len(self) - 1}):
            yield self._files[index].read_bytes()


class VideoFile(Video):
    """A video in one file (mp4, avi, mov, mkv, ...), decoded by OpenCV at exact frame indices."""

    def __init__(self, path: Path) -> None:
        self.name = safe_name(path.stem)
        self.path = path
        self._decoder = FrameDecoder(path)
        self.height, self.width = self._decoder.height, self._decoder.width
        announced = self._decoder.announced_frames()
        # Matroska states no count (OpenCV guesses one); elsewhere a real loss is more than a frame or two.
        if path.suffix.lower() not in (".mkv", ".webm") and announced > len(self) + 2:
            self.notices = (f"{path.name}: {announced} frames announced, {len(self)} can be decoded",)

    def __len__(self) -> int:
        return len(self._decoder)

    def _read(self, index: int) -> np.ndarray:
        return self._decoder[index]

    def frame_file(self, index: int) -> None:
        """Return None: the frames are no files of their own."""
        return None

    def _fingerprint_parts(self) -> Iterator[bytes]:
        size = self.path.stat().st_size
        yield str(size).encode()
        with self.path.open("rb") as stream:
            yield stream.read(_SAMPLE_BYTES)
            stream.seek(max(0, size - _SAMPLE_BYTES))
            yield stream.read(_SAMPLE_BYTES)


def safe_name(name: str) -> str:
    """Return `name` with everything that is awkward in a file name replaced by ``_``."""
    return re.sub(r"[^\w.+-]", "_", name).strip(".") or "video"


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
    videos = open_videos(address)
    if len(videos) > 1:
        names = ", ".join(video.name for video in videos[:5]) + (", ..." if len(videos) > 5 else "")
        raise InputError(f"{address}: holds {len(videos)} videos ({names}); name one as {address}::{videos[0].name}")
    return videos[0]


def open_videos(address: str | os.PathLike[str]) -> list[Video]:
    """Open the video or videos at an address, in natural order of their names.

    Parameters
    ----------
    address : str or path
        What `open_video` takes; a DAVIS root or a YouTube-VIS json without ``::NAME`` gives all of its videos.

    Raises
    ------
    InputError
        If there is no video at the address.
    """
    text = os.fspath(address)
    root, separator, name = text.rpartition("::")
    path, wanted = (Path(root), name) if separator and not Path(text).exists() else (Path(text), None)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    if path.is_dir():
        if (path / "JPEGImages").is_dir():
            return _davis_videos(path, wanted)
        if wanted is not None:
            raise InputError(f"{path}: no DAVIS root (it has no folder JPEGImages), so it has no video {wanted!r}")
        return [_folder_video(path)]
    if path.suffix.lower() == ".json":
        return _ytvis_videos(path, wanted)
    if path.suffix.lower() in VIDEO_SUFFIXES:
        return [VideoFile(path)]
    raise InputError(f"{path}: not a video; expected a folder of images, {', '.join(sorted(VIDEO_SUFFIXES))} or .json")


def _folder_video(path: Path) -> ImageSequence:
    images, others = list_images(path)
    if not images:
        raise InputError(_why_no_image(path, others))
    notices = []
    if others:
        named = ", ".join(file.name for file in others[:3]) + (", ..." if len(others) > 3 else "")
        notices.append(f"{path.name}: passed over {len(others)} file(s) that are no images: {named}")
    return ImageSequence(path.resolve().name, path, images, notices)


def _why_no_image(path: Path, others: list[Path]) -> str:
    if others:
        return f"{path}: none of the {len(others)} file(s) in this folder is an image"
    inner = sorted((entry.name for entry in path.iterdir() if entry.is_dir()), key=natural_key)
    if inner:
        return f"{path}: no images here, only {len(inner)} folder(s); name one of them, such as {path / inner[0]}"
    return f"{path}: the folder is empty"


def _davis_videos(root: Path, wanted: str | None) -> list[Video]:
    """Open ``JPEGImages/SEQ`` or ``JPEGImages/RESOLUTION/SEQ``, of the first resolution that is there."""
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
    return [_folder_video(base / name) for name in ([wanted] if wanted is not None else names)]


def _ytvis_videos(path: Path, wanted: str | None) -> list[Video]:
    named: dict[str, list[str]] = {}
    for files, number in _read_ytvis_entries(path):
        name = PurePosixPath(files[0]).parent.name or str(number)
        # Two-frame clips of one video share their folder.
        named[f"{name}_{number}" if name in named else name] = files
    if wanted is not None and wanted not in named:
        raise InputError(f"{path}: no video {wanted!r}; it has {_some(list(named))}")
    videos: list[Video] = []
    for name in [wanted] if wanted is not None else sorted(named, key=natural_key):
        folder = _frames_folder(path, named[name][0])
        videos.append(ImageSequence(name, path, [folder / file for file in named[name]]))
    return videos


def _read_ytvis_entries(path: Path) -> list[tuple[list[str], int]]:
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
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
            if PurePosixPath(file).is_absolute() or ".." in PurePosixPath(file).parts or "\\" in file:
                raise InputError(f"{path}: the frame {file!r} lies outside the dataset folder")
        entries.append((files, int(video.get("id", place + 1))))
    return entries


def _frames_folder(path: Path, first: str) -> Path:
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
        if (folder / first).is_file():
            return folder
    raise InputError(f"{path}: the frame {first} is in none of {', '.join(str(folder) for folder in candidates)}")


def _some(names: list[str]) -> str:
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
