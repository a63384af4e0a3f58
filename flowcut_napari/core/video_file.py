"""Frames of a compressed video file at their exact index.

Seeking by frame number trusts the nominal frame rate of the container, and lands frames off on files with
B-frames, a variable rate or a late start. Here every frame's presentation time is read once, in order; after a
seek the time of the frame that arrived says which frame it is, and decoding goes on from there to the one asked for.
"""

from __future__ import annotations

import bisect
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flowcut_napari.core.errors import InputError

if TYPE_CHECKING:
    import cv2

VIDEO_SUFFIXES = frozenset({".mp4", ".m4v", ".avi", ".mov", ".mkv", ".webm"})
# Frames before the target at which a seek is tried, so that a key frame lies between.
_RUN_UPS = (0, 12, 60, 250)
# Up to this distance, decoding forward is quicker than a seek.
_FORWARD = 24


class FrameDecoder:
    """Random access to the frames of a video file; safe to use from several threads.

    Opening decodes the file once without converting colours, to count the frames and learn their times.
    Memory does not depend on the length of the video (8 bytes a frame).

    Raises
    ------
    InputError
        If the file cannot be opened as a video or holds no frame.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._capture = self._open()
        self._times = self._read_times()
        if not self._times:
            raise InputError(f"{path}: no frame of this video can be decoded")
        # Without strictly rising times a frame cannot be told from its time: then every seek starts at frame 0.
        self._seekable = all(a < b for a, b in zip(self._times, self._times[1:], strict=False))
        self._capture = self._open()
        self._next: int | None = 0
        first = self[0]
        self.height, self.width = first.shape[:2]

    def __len__(self) -> int:
        return len(self._times)

    def __getitem__(self, index: int) -> np.ndarray:
        """Return frame `index` as (H, W, 3) uint8 RGB."""
        import cv2

        with self._lock:
            place = self._next
            # Unknown until the frame has arrived: after an error the decoder stands anywhere.
            self._next = None
            self._move_to(index, place)
            arrived, frame = self._capture.read()
            if not arrived:
                raise InputError(f"{self.path}: frame {index} cannot be decoded; the file is damaged there")
            self._next = index + 1
        return cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)

    def __getstate__(self) -> dict[str, Any]:
        # A capture and a lock cannot travel to another process; the times can, so it need not decode all again.
        return {key: value for key, value in self.__dict__.items() if key not in ("_lock", "_capture", "_next")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()
        self._capture = self._open()
        self._next = 0

    def announced_frames(self) -> int:
        """Return the number of frames that the header states; it may differ from what can be decoded."""
        import cv2

        return int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))

    def _open(self) -> cv2.VideoCapture:
        import cv2

        # Decoders print what they think of a damaged file; to say it is our part. FFmpeg's is read at the first video.
        os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
        capture = cv2.VideoCapture(str(self.path), cv2.CAP_FFMPEG)
        if not capture.isOpened():
            raise InputError(f"{self.path}: not a video that OpenCV can decode")
        return capture

    def _read_times(self) -> list[float]:
        import cv2

        times = []
        while self._capture.grab():
            times.append(self._capture.get(cv2.CAP_PROP_POS_MSEC))
        return times

    def _move_to(self, index: int, place: int | None) -> None:
        """Bring the decoder from where it would read frame `place` to where it reads frame `index`."""
        if place is not None and place <= index <= place + _FORWARD:
            self._skip(index - place)
            return
        if self._seekable:
            for run_up in _RUN_UPS:
                if self._seek(index, run_up):
                    return
        self._capture = self._open()
        self._skip(index)

    def _seek(self, index: int, run_up: int) -> bool:
        """Seek `run_up` frames before `index` and decode up to it; False if it landed behind or nowhere."""
        import cv2

        # One frame more, because the frame that tells where the seek landed is used up by telling it.
        target = index - run_up - 1
        if target < 0:
            return False
        self._capture.set(cv2.CAP_PROP_POS_FRAMES, target)
        if not self._capture.grab():
            return False
        landed = self._index_of(self._capture.get(cv2.CAP_PROP_POS_MSEC))
        if landed is None or landed >= index:
            return False
        self._skip(index - landed - 1)
        return True

    def _index_of(self, time: float) -> int | None:
        place = bisect.bisect_left(self._times, time - 1e-3)
        if place < len(self._times) and abs(self._times[place] - time) <= 1e-3:
            return place
        return None

    def _skip(self, count: int) -> None:
        for _ in range(count):
            if not self._capture.grab():
                raise InputError(f"{self.path}: the video cannot be decoded up to the frame asked for")
