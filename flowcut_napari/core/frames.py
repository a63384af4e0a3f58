"""What a video is: a lazy sequence of RGB frames, from image files or from one video file."""

from __future__ import annotations

import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from flowcut_napari.core.errors import InputError
from flowcut_napari.core.images import image_size, read_rgb
from flowcut_napari.core.video_file import FrameDecoder

_SAMPLE_BYTES = 1 << 20
_LONGEST_NAME = 200


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
        """Return the file of a frame relative to where its video's frames lie; None if frames are no files."""

    @abstractmethod
    def frame_path(self, index: int) -> Path | None:
        """Return the file of a frame, or None when frames are no files of their own."""

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

    def __init__(
        self, name: str, path: Path, files: Sequence[Path], notices: Sequence[str] = (), root: Path | None = None
    ) -> None:
        if not files:
            raise InputError(f"{path}: the video {name} has no frames")
        self.name = safe_name(name)
        self.path = path
        self.notices = tuple(notices)
        self._files = tuple(files)
        self._root = root or path
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
        """Return the file of a frame relative to the folder `path`, or as the json `path` names it."""
        return self._files[index].relative_to(self._root).as_posix()

    def frame_path(self, index: int) -> Path:
        """Return the file of a frame."""
        return self._files[index]

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

    def frame_path(self, index: int) -> None:
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
    """Return `name` with everything that is awkward in a file name replaced by ``_``, and cut to a length that fits."""
    safe = re.sub(r"[^\w.+-]", "_", name).strip(".") or "video"
    # 255 bytes less what is put around it.
    return safe.encode()[:_LONGEST_NAME].decode(errors="ignore")
