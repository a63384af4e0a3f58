"""Predictions of one video: tracks with a score, and a mask in each frame. `prediction_files` reads them.

What a person sees of them follows METHOD 9.3: masks may overlap, and the one with the best score lies on top.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from flowcut_napari.core.errors import InputError
from flowcut_napari.core.segmentations import Packed, unpack

# What a pixel of `differences` is.
NOTHING, HIT, MISS, FALSE = 0, 1, 2, 3


@dataclass(frozen=True, slots=True)
class PredictedTrack:
    """One instance through a video.

    Attributes
    ----------
    id : int
        Its label, from 1 by falling score; the same in all frames.
    score : float or None
        0 to 1; None where the files know none. Those are above every threshold.
    masks : tuple of (Packed or None)
        One for each frame of the prediction; None where it has no pixel.
    """

    id: int
    score: float | None
    masks: tuple[Packed | None, ...]

    @property
    def seen(self) -> int:
        """In how many frames it has a pixel."""
        return sum(mask is not None for mask in self.masks)


# No two are equal: who keeps what was made of one asks whether it is the same.
@dataclass(frozen=True, eq=False)
class Prediction:
    """The tracks of one video.

    Attributes
    ----------
    path : Path
        The folder that they were read from.
    video : str
        Name of the video.
    size : (int, int)
        Height and width in pixels.
    frames : tuple of int
        The frames of the video that were predicted on, rising; not all of them need be.
    tracks : tuple of PredictedTrack
        By falling score.
    model : str
        The weights file, as the prediction names it; empty where it does not.
    step : int or None
        Steps of training of the model, where known.
    windows : int
        In how many windows the video was seen; 1 is all of it at once.
    seconds : float or None
        What it took.
    """

    path: Path
    video: str
    size: tuple[int, int]
    frames: tuple[int, ...]
    tracks: tuple[PredictedTrack, ...]
    model: str = ""
    step: int | None = None
    windows: int = 1
    seconds: float | None = None

    @cached_property
    def _places(self) -> dict[int, int]:
        return {frame: place for place, frame in enumerate(self.frames)}

    def place_of(self, frame: int) -> int | None:
        """Return the place of a frame of the video in `frames`; None if it was not predicted on."""
        return self._places.get(frame)

    def count(self, threshold: float) -> int:
        """Return how many tracks have at least this score, or none at all: the first so many of `tracks`."""
        return sum(track.score is None or track.score >= threshold for track in self.tracks)

    @property
    def has_scores(self) -> bool:
        """Whether a threshold changes anything."""
        return any(track.score is not None for track in self.tracks)

    def paint(self, frame: int, threshold: float = 0.0) -> np.ndarray:
        """Return the labels of a frame, (H, W) uint16: the id of the track at each pixel, else 0.

        Painted by rising score, so that of overlapping masks the best is seen (METHOD 9.3). A frame that was not
        predicted on is empty.
        """
        # pycocotools counts down the columns, so all of it does; napari takes either.
        labels = np.zeros(self.size, np.uint16, order="F")
        place = self.place_of(frame)
        if place is not None:
            for track in reversed(self.tracks[: self.count(threshold)]):
                if (mask := track.masks[place]) is not None:
                    np.copyto(labels, np.uint16(track.id), where=unpack(mask).view(bool))
        return labels


def differences(prediction: np.ndarray, reference: np.ndarray, void: np.ndarray | None = None) -> np.ndarray:
    """Compare the foreground of two pictures of labels, pixel by pixel.

    Parameters
    ----------
    prediction, reference : (H, W) integer
        0 is background.
    void : (H, W) bool, optional
        Pixels that do not count.

    Returns
    -------
    (H, W) uint8
        0 nothing, 1 hit (both), 2 miss (the reference alone), 3 false (the prediction alone).

    Raises
    ------
    InputError
        If they differ in size.
    """
    if prediction.shape != reference.shape:
        raise InputError(f"labels of {_by(prediction.shape)} cannot be compared with those of {_by(reference.shape)}")
    found, wanted = prediction > 0, reference > 0
    compared = np.where(found, np.where(wanted, np.uint8(HIT), np.uint8(FALSE)), wanted * np.uint8(MISS))
    if void is not None:
        compared[void] = NOTHING
    return compared


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
