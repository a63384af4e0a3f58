"""Frames to features: read, resized as in training, and encoded a few at a time into memory that is taken once."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from flowcut_napari.core.errors import InputError
from flowcut_napari.core.video import Video
from flowcut_training.data.augmentation import resize_frame, resized_size
from flowcut_training.model.normalize import normalize, pad_to_stride


class Frames(Protocol):
    """What is predicted on: frames of one size that are read when they are asked for, perhaps by another thread."""

    @property
    def length(self) -> int:
        """How many frames there are, at least 1."""

    @property
    def height(self) -> int:
        """Of every frame, in pixels."""

    @property
    def width(self) -> int:
        """Of every frame, in pixels."""

    def frame(self, place: int, /) -> np.ndarray:
        """Read one frame, (H, W, 3) uint8 RGB."""


@dataclass(frozen=True)
class VideoFrames:
    """Frames of a video, all or some of them."""

    video: Video
    indices: tuple[int, ...]

    @property
    def length(self) -> int:
        """How many frames were chosen."""
        return len(self.indices)

    @property
    def height(self) -> int:
        """Of every frame, in pixels."""
        return self.video.height

    @property
    def width(self) -> int:
        """Of every frame, in pixels."""
        return self.video.width

    def frame(self, place: int) -> np.ndarray:
        """Read one of the chosen frames, (H, W, 3) uint8 RGB; errors are those of `Video.__getitem__`."""
        return self.video[self.indices[place]]


@dataclass(frozen=True)
class Sizes:
    """(height, width) in pixels of a frame as it is, resized for the model, and padded to its stride."""

    own: tuple[int, int]
    resized: tuple[int, int]
    padded: tuple[int, int]

    @classmethod
    def of(cls, frames: Frames, short_side: int, max_side: int) -> Sizes:
        """Work out the sizes for a video."""
        resized = resized_size(frames.height, frames.width, short_side, max_side)
        return cls((frames.height, frames.width), resized, (pad_to_stride(resized[0]), pad_to_stride(resized[1])))


def read_padded(frames: Frames, sizes: Sizes, places: range) -> Tensor:
    """Read and resize frames, (1, n, 3, H, W) uint8, padded with zeros.

    Raises
    ------
    InputError
        If a frame cannot be read or has another size than the video.
    """
    height, width = sizes.resized
    batch = np.zeros((1, len(places), 3, *sizes.padded), dtype=np.uint8)
    for row, place in enumerate(places):
        frame = frames.frame(place)
        if frame.shape != (*sizes.own, 3):
            shape = "x".join(map(str, frame.shape))
            raise InputError(f"frame {place} is {shape}, the video is {sizes.own[0]}x{sizes.own[1]}x3")
        batch[0, row, :, :height, :width] = resize_frame(frame, sizes.resized).transpose(2, 0, 1)
    return torch.from_numpy(batch)


def read_chunks(frames: Frames, sizes: Sizes, places: range, chunk: int) -> Iterator[tuple[range, Tensor]]:
    """Give frames in chunks as `read_padded` does, each read while the one before is worked on."""
    parts = [places[start : start + chunk] for start in range(0, len(places), chunk)]
    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(read_padded, frames, sizes, parts[0])
        for part, following in zip(parts, [*parts[1:], None], strict=True):
            batch = coming.result()
            if following is not None:
                coming = reader.submit(read_padded, frames, sizes, following)
            yield part, batch


class ClipFeatures:
    """What `VideoMask2Former.encode` gives for the frames of a clip, in place for `decode`.

    Attributes
    ----------
    mask_features : (1, T, C, H / 4, W / 4) tensor
    levels : list of three (1, T, C, h, w) tensors
    """

    mask_features: Tensor
    levels: list[Tensor]

    def __init__(self, length: int) -> None:
        self._length = length
        self._stores: list[Tensor] | None = None

    def put(self, place: int, mask_features: Tensor, levels: list[Tensor]) -> None:
        """Take the features of frames (n, C, h, w), the first of which is at `place` of the clip."""
        maps = [mask_features, *levels]
        if self._stores is None:
            # Once for all frames: to join what came in pieces would take the memory twice.
            self._stores = [one.new_empty((1, self._length, *one.shape[1:])) for one in maps]
            self.mask_features, *self.levels = self._stores
        for store, one in zip(self._stores, maps, strict=True):
            store[0, place : place + len(one)] = one

    def move_back(self, by: int) -> None:
        """Move all frames so many places towards the start; those before it are gone."""
        for store in self._stores or ():
            # One by one, because the places overlap.
            for place in range(self._length - by):
                store[0, place] = store[0, place + by]


def to_model(batch: Tensor, sizes: Sizes, device: torch.device) -> Tensor:
    """Bring frames of `read_padded` to the device and normalise them, (n, 3, H, W) float32."""
    return normalize(batch.to(device), [sizes.resized])[0]
