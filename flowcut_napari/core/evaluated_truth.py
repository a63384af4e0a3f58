"""The ground truth of one evaluated video, frame by frame, as numbers of objects."""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from flowcut_napari.core.clip_view import MOST_INSTANCES
from flowcut_napari.core.dataset_scan import JsonIndex, files_of, video_name
from flowcut_napari.core.errors import FlowCutError, InputError
from flowcut_napari.core.evaluation_report import VideoResult
from flowcut_napari.core.scoring import VOID, read_annotation
from flowcut_napari.core.segmentations import Packed, read_segmentation, unpack

_DAMAGE = (FlowCutError, OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)


@dataclass(frozen=True)
class Truth(ABC):
    """The objects of a video, as they are drawn: nothing that is wrong with one frame keeps the others away.

    Attributes
    ----------
    frames, height, width : int
    """

    frames: int
    height: int
    width: int

    @abstractmethod
    def frame(self, place: int) -> np.ndarray:
        """Return the number of the object at each pixel of a frame, (height, width) uint8, 0 for none."""

    def _nothing(self) -> np.ndarray:
        return np.zeros((self.height, self.width), np.uint8)


@dataclass(frozen=True)
class DavisTruth(Truth):
    """Annotations that are read when they are looked at; `files` has one for each frame, or None."""

    files: tuple[Path | None, ...]

    def frame(self, place: int) -> np.ndarray:
        """Return a frame; without an object if it has no file, or that can no longer be read."""
        path = self.files[place]
        if path is None:
            return self._nothing()
        try:
            labels = np.array(read_annotation(path), dtype=np.uint8)
        except _DAMAGE:  # it was read when it was evaluated, and is only looked at here
            return self._nothing()
        labels[labels == VOID] = 0
        return labels if labels.shape == (self.height, self.width) else self._nothing()


@dataclass(frozen=True)
class YtvisTruth(Truth):
    """Masks of a json, packed; for each frame the numbers of objects and their masks."""

    masks: tuple[tuple[tuple[int, Packed], ...], ...]

    def frame(self, place: int) -> np.ndarray:
        """Return a frame; where objects overlap the later one is seen."""
        labels = self._nothing()
        for number, mask in self.masks[place]:
            labels[unpack(mask) > 0] = number
        return labels


def davis_truth(video: VideoResult, frames: Sequence[str]) -> DavisTruth:
    """Return the annotations of a sequence.

    Parameters
    ----------
    video : VideoResult
    frames : sequence of str
        What the frames of the video are called, without suffixes. An annotation belongs to the frame of its name; if
        none has one, and they are as many, to that of its place.

    Raises
    ------
    InputError
        If the first of them is gone, cannot be read, or they do not belong to these frames.
    """
    if video.folder is None or not video.files:
        raise InputError(f"{video.name}: nobody knows where its annotations are")
    files = [video.folder / Path(file).name for file in video.files]
    by_name = {file.stem: file for file in files}
    fitting: list[Path | None] = [by_name.get(name) for name in frames]
    if not any(fitting):
        if len(files) != len(frames):
            raise InputError(f"{video.name}: none of its {len(files)} annotations belongs to one of these frames")
        fitting = list(files)
    try:
        height, width = read_annotation(files[0]).shape
    except _DAMAGE as error:
        raise InputError(f"{files[0]}: the annotation cannot be shown ({error})") from None
    return DavisTruth(len(fitting), height, width, tuple(fitting))


def ytvis_truth(index: JsonIndex, video: VideoResult) -> YtvisTruth:
    """Read the masks of a video out of its json.

    Raises
    ------
    InputError
        If it is not in there as it was evaluated.
    """
    number = _find(index, video)
    item = index.item(number)
    height, width = item.get("height"), item.get("width")
    if type(height) is not int or type(width) is not int:
        raise InputError(f"{index.path}: video {video.number} has no size")
    frames: list[list[tuple[int, Packed]]] = [[] for _ in video.files]
    for place, annotation in enumerate(index.annotations(number)[:MOST_INSTANCES], start=1):
        masks: Any = annotation.get("segmentations")
        if not isinstance(masks, list) or len(masks) != len(frames):
            raise InputError(f"{index.path}: the masks of video {video.number} are not those that were evaluated")
        for frame, mask in zip(frames, masks, strict=True):
            if (packed := read_segmentation(mask, height, width)) is not None:
                frame.append((place, packed))
    return YtvisTruth(len(frames), height, width, tuple(map(tuple, frames)))


def _find(index: JsonIndex, video: VideoResult) -> int:
    """Return where a video is in an index, which knows names and lengths, but no ids."""
    name = video_name(list(video.files), 0)
    named = index.names.index(name) if name in index.names else -1
    for number in np.flatnonzero((index.videos == named) & (index.lengths == len(video.files))).tolist():
        item = index.item(number)
        if item.get("id") == video.number and files_of(item) == list(video.files):
            return int(number)
    raise InputError(f"{index.path}: video {video.number} is not in there as it was evaluated; evaluate again")
