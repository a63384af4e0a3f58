"""What prediction gives: instances through a video."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from flowcut_napari.core.masks import Rle

# What takes its time: to encode frames, to find instances in a clip of them and draw their masks, to write them.
Stage = Literal["encoding", "decoding", "writing"]


@dataclass(frozen=True, slots=True)
class Track:
    """One instance.

    Attributes
    ----------
    score : float
        Probability of its class or classes, 0 to 1.
    masks : tuple of (Rle or None)
        One a frame, of the video's own size; None where it has no pixel.
    """

    score: float
    masks: tuple[Rle | None, ...]


@dataclass(frozen=True, slots=True)
class Windows:
    """How a video was cut into parts that were seen one by one.

    Attributes
    ----------
    size, overlap, count : int
        Frames of a window, frames that it has in common with the one before (the last may have more), and how many.
    reason : {"asked", "memory"}
        Whether somebody wanted it, or there was too little memory for the whole video.
    """

    size: int
    overlap: int
    count: int
    reason: Literal["asked", "memory"]

    def __str__(self) -> str:
        """Return a part of a sentence."""
        why = " for want of memory" if self.reason == "memory" else ""
        return f"{self.count} windows of {self.size} frames, {self.overlap} in common{why}"


@dataclass(frozen=True, slots=True)
class VideoPrediction:
    """The instances of a video, the best first; `windows` is None where the whole video was seen at once."""

    tracks: tuple[Track, ...]
    windows: Windows | None = None
