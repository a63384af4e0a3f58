"""Arrays with a time axis that are made frame by frame when napari asks, so that no video has to fit into memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from flowcut_napari.core.errors import FlowCutError, InputError
from flowcut_napari.core.pseudo_masks import FrameMasks
from flowcut_napari.core.refine import upsample_mask
from flowcut_napari.core.video import Video
from flowcut_napari.viewer.frame_results import FrameResults

# More is not read at once.
_MOST_BYTES = 1_000_000_000
# Decoded frames that are kept: a frame, its partner, and those that a step or two lead to.
_KEPT_FRAMES = 12
_KEPT_BYTES = 100_000_000


class TimeSeries(ABC):
    """An array (frames, ...) that napari can slice: what a layer needs of an array, and no more.

    A single frame is made when it is asked for; the last one is kept, because napari asks several times.
    """

    def __init__(self, shape: tuple[int, ...], dtype: DTypeLike) -> None:
        self.shape = shape
        self.dtype: np.dtype[Any] = np.dtype(dtype)
        self.ndim = len(shape)
        self._frame_bytes = int(np.prod(shape[1:])) * self.dtype.itemsize

    @abstractmethod
    def frame(self, index: int) -> np.ndarray:
        """Return one frame, of the shape and type that the whole has without its first axis."""

    @property
    def size(self) -> int:
        """The number of values."""
        return int(np.prod(self.shape))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> np.ndarray:
        """Return what numpy would of the whole array; only the frames that take part are made."""
        key = (key if isinstance(key, tuple) else (key,)) or (Ellipsis,)
        first, rest = key[0], key[1:]
        if first is Ellipsis:
            missing = self.ndim - len(rest)
            return self[(slice(None),) * missing + rest]
        if isinstance(first, int | np.integer):
            index = int(first) + len(self) if first < 0 else int(first)
            if not 0 <= index < len(self):
                raise IndexError(f"there is no frame {first} among {len(self)}")
            return self.frame(index)[rest]
        if isinstance(first, slice):
            count = len(range(len(self))[first])
            if count * self._frame_bytes > _MOST_BYTES:
                # A volume view asks for all frames at once, before anybody can tell it not to: it gets one, repeated.
                one = self.frame(0)[rest]
                return np.broadcast_to(one, (count, *one.shape))
            chosen = [self.frame(index)[rest] for index in range(len(self))[first]]
            return np.stack(chosen) if chosen else np.empty((0, *self.shape[1:]), self.dtype)[(slice(None), *rest)]
        return self._gather(np.asarray(first), rest)

    def __setitem__(self, key: Any, value: Any) -> None:
        """Refuse to be painted on.

        Raises
        ------
        InputError
            Always: what is computed would be computed anew.
        """
        raise InputError("this layer shows what was computed; it cannot be painted on")

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> np.ndarray:
        """Return all frames at once, as far as `__getitem__` gives them."""
        return np.asarray(self[:], dtype=dtype)

    def _gather(self, frames: np.ndarray, rest: tuple[Any, ...]) -> np.ndarray:
        """Index with arrays, as a brush does: (frames, rows, columns) of single values."""
        others = [np.asarray(part) for part in rest]
        gathered = np.empty(np.broadcast_shapes(frames.shape, *(part.shape for part in others)), self.dtype)
        frames = np.broadcast_to(np.where(frames < 0, frames + len(self), frames), gathered.shape)
        others = [np.broadcast_to(part, gathered.shape) for part in others]
        for index in np.unique(frames):
            here = frames == index
            gathered[here] = self.frame(int(index))[tuple(part[here] for part in others)]
        return gathered


class LazyFrames(TimeSeries):
    """The frames of a video, (T, H, W, 3) uint8 RGB.

    A frame that cannot be read is grey, and `on_damage` is told of it once.
    """

    def __init__(self, video: Video) -> None:
        super().__init__((len(video), video.height, video.width, 3), np.uint8)
        self.video = video
        self.on_damage: Callable[[str], None] | None = None
        self._kept: OrderedDict[int, np.ndarray] = OrderedDict()
        self._damaged: set[int] = set()

    def frame(self, index: int) -> np.ndarray:
        """Return frame `index`, (H, W, 3) uint8."""
        if index in self._kept:
            self._kept.move_to_end(index)
            return self._kept[index]
        try:
            picture = self.video[index]
        except FlowCutError as error:
            picture = np.full(self.shape[1:], 96, np.uint8)
            if index not in self._damaged:
                self._damaged.add(index)
                if self.on_damage is not None:
                    self.on_damage(str(error))
        self._kept[index] = picture
        while len(self._kept) > max(2, min(_KEPT_FRAMES, _KEPT_BYTES // self._frame_bytes)):
            self._kept.popitem(last=False)
        return picture


class FlowPictures(TimeSeries):
    """The flow pictures of a video at working size, (T, h, w, 3) uint8; grey where none is known."""

    def __init__(self, results: FrameResults, frames: int, size: tuple[int, int]) -> None:
        super().__init__((frames, *size, 3), np.uint8)
        self._results = results
        self._nothing = np.full((*size, 3), 40, np.uint8)

    def frame(self, index: int) -> np.ndarray:
        """Return the flow picture of a frame."""
        picture = self._results.flow_picture(index)
        return picture if picture is not None and picture.shape == self.shape[1:] else self._nothing


class Eigenvectors(TimeSeries):
    """The eigenvectors of one iteration, (T, rows, cols) float32, `scaled` for the eye."""

    def __init__(self, results: FrameResults, iteration: int, frames: int, grid: tuple[int, int]) -> None:
        super().__init__((frames, *grid), np.float32)
        self._results = results
        self._iteration = iteration

    def frame(self, index: int) -> np.ndarray:
        """Return the eigenvector of a frame, the object positive; zeros where there is none."""
        answer = self._results.answer(index)
        cut = answer.cut(self._iteration) if answer else None
        if cut is None or cut.eigenvector.shape != self.shape[1:]:
            return np.zeros(self.shape[1:], np.float32)
        return scaled(cut.eigenvector)


class RawCuts(TimeSeries):
    """The raw cuts of one iteration as labels, (T, rows, cols) uint8: the iteration where it cut, else 0."""

    def __init__(self, results: FrameResults, iteration: int, frames: int, grid: tuple[int, int]) -> None:
        super().__init__((frames, *grid), np.uint8)
        self._results = results
        self._iteration = iteration

    def frame(self, index: int) -> np.ndarray:
        """Return the cut of a frame; zeros where there is none."""
        answer = self._results.answer(index)
        cut = answer.cut(self._iteration) if answer else None
        if cut is None or cut.raw_mask.shape != self.shape[1:]:
            return np.zeros(self.shape[1:], np.uint8)
        return cut.raw_mask.astype(np.uint8) * np.uint8(self._iteration)


class Seeds(TimeSeries):
    """The seeds of all cuts as labels, (T, rows, cols) uint8: the iteration at the patch that it grew from, else 0."""

    def __init__(self, results: FrameResults, frames: int, grid: tuple[int, int]) -> None:
        super().__init__((frames, *grid), np.uint8)
        self._results = results

    def frame(self, index: int) -> np.ndarray:
        """Return the seeds of a frame; where two share a patch, the earlier one is seen."""
        seeds = np.zeros(self.shape[1:], np.uint8)
        answer = self._results.answer(index)
        for cut in reversed(answer.cuts() if answer else ()):
            if cut.eigenvector.shape == seeds.shape:
                seeds[cut.seed] = cut.iteration
        return seeds


class MaskLabels(TimeSeries):
    """The masks of a video as labels, (T, H, W) uint16: the id of each instance where it is, else 0.

    Until a frame is refined, what was cut stands for it, as coarse as its patches.
    """

    def __init__(self, results: FrameResults, video: Video) -> None:
        super().__init__((len(video), video.height, video.width), np.uint16)
        self.results = results
        self.video = video
        self._last: tuple[object, np.ndarray] | None = None

    def frame(self, index: int) -> np.ndarray:
        """Return the labels of a frame."""
        masks = self.results.masks(index)
        answer = self.results.answer(index) if masks is None else None
        source: object = masks if masks is not None else answer.result if answer is not None else None
        if self._last is None or self._last[0] is not source:
            if masks is not None:
                labels = labels_of(masks, (self.shape[1], self.shape[2]))
            else:
                labels = np.zeros(self.shape[1:], np.uint16)
                for cut in answer.result.cuts if answer else ():
                    labels[upsample_mask(cut.mask, *labels.shape)] = cut.iteration
            self._last = source, labels
        return self._last[1]


def labels_of(masks: FrameMasks, size: tuple[int, int]) -> np.ndarray:
    """Return the masks of a frame as labels (height, width) uint16."""
    labels = np.zeros(size, np.uint16)
    for instance in masks.instances:
        labels[instance.mask] = instance.id
    return labels


def scaled(eigenvector: np.ndarray) -> np.ndarray:
    """Return an eigenvector for the eye, float32: most of its values between -1 and 1, its sign as it is.

    It is divided by what 98 % of its absolute values are below: a patch or two far out would leave all others dark.
    """
    sizes = np.abs(eigenvector)
    largest = float(np.percentile(sizes, 98)) or float(sizes.max())
    return (eigenvector / largest if largest else eigenvector).astype(np.float32)
