"""What the layers of predictions show of a frame, made when napari asks: tracks above a threshold, references, both."""

from __future__ import annotations

from abc import abstractmethod
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from flowcut_napari.core.predictions import Prediction, differences
from flowcut_napari.core.reference_masks import Kind, ReferenceMasks
from flowcut_napari.core.video import Video
from flowcut_napari.viewer.lazy_arrays import TimeSeries

Mode = Literal["blend", "beside", "differences"]
# Of each layer: the frame in sight, and those that a step or two lead to.
_KEPT_FRAMES = 8
_KEPT_BYTES = 50_000_000


@dataclass
class PredictionView:
    """What is looked at; changed by the desk of the Predict tab, read when napari asks for a frame.

    Attributes
    ----------
    prediction : Prediction or None
    threshold : float
        Tracks with a lower score are not seen.
    pseudo, truth : ReferenceMasks or None
    compared : {"pseudo-masks", "ground truth"}
        Which of both differences and IoU are about.
    mode : {"blend", "beside", "differences"}
    """

    prediction: Prediction | None = None
    threshold: float = 0.3
    pseudo: ReferenceMasks | None = None
    truth: ReferenceMasks | None = None
    compared: Kind = "ground truth"
    mode: Mode = "blend"

    @property
    def reference(self) -> ReferenceMasks | None:
        """The masks that are compared with."""
        return self.pseudo if self.compared == "pseudo-masks" else self.truth

    @property
    def count(self) -> int:
        """How many tracks are seen."""
        return self.prediction.count(self.threshold) if self.prediction is not None else 0


class _MadeFrames(TimeSeries):
    """Frames (T, H, W) that are made of the view; the last few are kept until it shows something else."""

    def __init__(self, view: PredictionView, video: Video, dtype: type) -> None:
        super().__init__((len(video), video.height, video.width), dtype)
        self._view = view
        self._kept: OrderedDict[tuple[Any, ...], np.ndarray] = OrderedDict()

    def frame(self, index: int) -> np.ndarray:
        """Return one frame, (H, W)."""
        key = index, *self._depends_on()
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        made = self._make(index)
        # What was made of another video has no place here.
        if made.shape != self.shape[1:]:
            made = np.zeros(self.shape[1:], self.dtype)
        self._kept[key] = made
        while len(self._kept) > max(1, min(_KEPT_FRAMES, _KEPT_BYTES // self._frame_bytes)):
            self._kept.popitem(last=False)
        return made

    @property
    def kept_bytes(self) -> int:
        """Memory of the frames that are kept."""
        return sum(frame.nbytes for frame in self._kept.values())

    def about(self) -> tuple[Any, ...]:
        """Return what all frames depend on; equal where nothing changed."""
        return self._depends_on()

    @abstractmethod
    def _depends_on(self) -> tuple[Any, ...]:
        """Return what frames depend on besides their index, as something that can be a key."""

    @abstractmethod
    def _make(self, index: int) -> np.ndarray: ...


class PredictionLabels(_MadeFrames):
    """The tracks above the threshold by their id, (T, H, W) uint16; the best lies on top."""

    def __init__(self, view: PredictionView, video: Video) -> None:
        super().__init__(view, video, np.uint16)

    def _depends_on(self) -> tuple[Any, ...]:
        return self._view.prediction, self._view.count

    def _make(self, index: int) -> np.ndarray:
        prediction = self._view.prediction
        if prediction is None:
            return np.zeros(self.shape[1:], self.dtype)
        return prediction.paint(index, self._view.threshold)


class ReferenceLabels(_MadeFrames):
    """The masks of a reference by their label, (T, H, W) uint16."""

    def __init__(self, view: PredictionView, video: Video, kind: Kind) -> None:
        super().__init__(view, video, np.uint16)
        self._kind = kind

    @property
    def _reference(self) -> ReferenceMasks | None:
        return self._view.pseudo if self._kind == "pseudo-masks" else self._view.truth

    def _depends_on(self) -> tuple[Any, ...]:
        return (self._reference,)

    def _make(self, index: int) -> np.ndarray:
        reference = self._reference
        return reference.paint(index) if reference is not None else np.zeros(self.shape[1:], self.dtype)


class Differences(_MadeFrames):
    """Where predictions and reference agree, (T, H, W) uint8: 0 nothing, 1 hit, 2 miss, 3 false.

    Nothing in frames that have no reference or were not predicted on: there is nothing to compare.
    """

    def __init__(self, view: PredictionView, video: Video) -> None:
        super().__init__(view, video, np.uint8)

    def _depends_on(self) -> tuple[Any, ...]:
        return self._view.prediction, self._view.count, self._view.reference

    def _make(self, index: int) -> np.ndarray:
        prediction, reference = self._view.prediction, self._view.reference
        if prediction is None or reference is None or prediction.size != reference.size:
            return np.zeros(self.shape[1:], self.dtype)
        if prediction.place_of(index) is None or index not in reference.frames:
            return np.zeros(self.shape[1:], self.dtype)
        found = prediction.paint(index, self._view.threshold)
        return differences(found, reference.paint(index), reference.void(index))
