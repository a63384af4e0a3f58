"""Whole clips for evaluation: no augmentation, all frames in order, and the ground truth in YouTube-VIS form."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from flowcut_napari.core.errors import InputError
from flowcut_training.data.source import ClipSource


@dataclass(frozen=True)
class WholeClip:
    """One clip; frames are read when they are asked for.

    Attributes
    ----------
    id : int
        Of its video in the ground truth.
    name : str
        What messages call it.
    height, width, length : int
        Size of every frame in pixels, and how many there are.
    """

    id: int
    name: str
    height: int
    width: int
    length: int
    _source: ClipSource
    _number: int

    def frame(self, place: int) -> np.ndarray:
        """Read one frame, (H, W, 3) uint8 RGB.

        Raises
        ------
        InputError
            If it is missing, damaged or of another size than the json says.
        """
        return self._source.load_frame(self._number, place)

    def frames(self) -> np.ndarray:
        """Read all frames, (T, H, W, 3) uint8 RGB; errors are those of `frame`."""
        return np.stack([self.frame(place) for place in range(self.length)])


@dataclass(frozen=True)
class WholeClips:
    """Clips of a dataset in the order of its json, read one by one; see `whole_clips`."""

    source: ClipSource
    numbers: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.numbers)

    def __iter__(self) -> Iterator[WholeClip]:
        for number in self.numbers:
            clip = self.source.clip_record(number)
            name = self.source.describe(number)
            yield WholeClip(clip.id, name, clip.height, clip.width, len(clip.files), self.source, number)

    def ground_truth(self) -> dict[str, Any]:
        """Return the ground truth of these clips as a YouTube-VIS document, as it stands in the dataset.

        Of the categories only their ids are kept; it holds all masks of these clips, so choose few of a large dataset.
        """
        annotations = [item for number in self.numbers for item in self.source.annotations(number)]
        categories = sorted({item["category_id"] for item in annotations} | {1})
        return {
            "info": {},
            "licenses": [],
            "videos": [self.source.item(number) for number in self.numbers],
            "categories": [{"id": number, "name": str(number)} for number in categories],
            "annotations": annotations,
        }


def whole_clips(source: ClipSource, most: int | None = None) -> WholeClips:
    """Choose the clips that a model in training is evaluated on.

    Parameters
    ----------
    source : ClipSource
        Of clips; of any categories, since evaluation knows none.
    most : int, optional
        So many at most, evenly spread over the dataset; all where not given.

    Raises
    ------
    InputError
        If there is none, or they are stills.
    """
    if source.kind != "clips":
        raise InputError(f"{source.path}: holds stills, where clips are needed")
    if not len(source):
        raise InputError(f"{source.path}: has no clips")
    if most is not None and most < 1:
        raise InputError(f"{most} clips cannot be evaluated; give 1 or more")
    count = len(source) if most is None else min(most, len(source))
    return WholeClips(source, tuple(int(place) for place in np.arange(count) * len(source) // count))
