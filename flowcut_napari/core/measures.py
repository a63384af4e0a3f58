"""The region similarity J of DAVIS, and what becomes of a measure over the frames of a video (METHOD 9.2).

Together with `flowcut_napari.core.boundaries` (the boundary accuracy F) the one implementation of these numbers:
pseudo-masks and predictions are measured by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_BINS = 4


@dataclass(frozen=True, slots=True)
class Measure:
    """A measure over the frames of one object.

    Attributes
    ----------
    mean : float
    recall : float
        Share of the frames above 0.5.
    decay : float
        Mean of the first quarter of the frames less that of the last.
    """

    mean: float
    recall: float
    decay: float

    @classmethod
    def of(cls, values: Sequence[float] | np.ndarray) -> Measure:
        """Measure the values of all frames, in order; at least one.

        Examples
        --------
        >>> Measure.of([0.9, 0.8, 0.4, 0.3]).recall
        0.5
        """
        values = np.asarray(values, dtype=np.float64)
        # Quarters share the frames at which they meet.
        edges = (np.round(np.linspace(1, len(values), _BINS + 1) + 1e-10) - 1).astype(np.intp)
        decay = values[: edges[1] + 1].mean() - values[edges[-2] : edges[-1] + 1].mean()
        return cls(float(values.mean()), float((values > 0.5).mean()), float(decay))


def region_similarity(mask: np.ndarray, truth: np.ndarray, void: np.ndarray | None = None) -> float:
    """Return J of two masks (H, W) bool: intersection over union outside `void`, 1 where both are empty."""
    if void is not None:
        mask, truth = mask & ~void, truth & ~void
    union = int(np.count_nonzero(mask | truth))
    return int(np.count_nonzero(mask & truth)) / union if union else 1.0


def region_similarities(
    truth: np.ndarray, found: np.ndarray, void: np.ndarray, proposals: int, objects: int
) -> np.ndarray:
    """Return J of every proposal with every object of one frame at once.

    Parameters
    ----------
    truth, found : (H, W) uint8
        Number of the object, and of the proposal, at each pixel. Objects beyond `objects` are background.
    void : (H, W) bool
        Pixels that count for nothing.
    proposals, objects : int

    Returns
    -------
    (proposals, objects) float64
        As `region_similarity` of each pair.
    """
    truth = np.where(truth > objects, np.uint8(0), truth)
    pairs = np.bincount(
        (found.astype(np.intp) * (objects + 1) + truth)[~void], minlength=(proposals + 1) * (objects + 1)
    ).reshape(proposals + 1, objects + 1)
    intersections = pairs[1:, 1:]
    unions = pairs[1:].sum(axis=1)[:, None] + pairs[:, 1:].sum(axis=0) - intersections
    return np.divide(intersections, unions, out=np.ones(unions.shape), where=unions > 0)
