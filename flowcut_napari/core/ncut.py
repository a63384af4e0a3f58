"""Object after object out of one frame by normalised cuts (FlowCut section 3.2, Eq. 4).

`foreground` turns an eigenvector into an object; `iterative_cut` takes one object after the other, setting the
affinity of what was cut to eps each time, and says why it stopped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import ndimage

from flowcut_napari.core.affinity import Cosines
from flowcut_napari.core.eigen import MaskedGraph, one_blas_thread, solve
from flowcut_napari.core.errors import InputError
from flowcut_napari.core.masks import mask_iou
from flowcut_napari.core.parameters import CutParameters

StopReason = Literal["max_instances", "duplicate", "too_small", "degenerate", "weak"]


@dataclass(frozen=True)
class Cut:
    """One iteration of the normalised cut on a grid of patches.

    Attributes
    ----------
    iteration : int
        From 1.
    mask : (rows, cols) bool
        The object without what earlier cuts took.
    raw_mask : (rows, cols) bool
        The object as it was cut; this is what later iterations leave out.
    eigenvector : (rows, cols) float64
        Oriented so that the object is positive.
    seed : (row, col)
        The patch with the largest value; the object is the connected part that holds it.
    eigenvalue, eigengap : float
        As in `NormalizedCut`.
    overlap : float
        Largest IoU of `raw_mask` with an earlier raw mask.
    """

    iteration: int
    mask: np.ndarray
    raw_mask: np.ndarray
    eigenvector: np.ndarray
    seed: tuple[int, int]
    eigenvalue: float
    eigengap: float
    overlap: float


@dataclass(frozen=True)
class IterativeCut:
    """The accepted cuts of a frame, why there are no more, and the cut that was refused (if one was)."""

    cuts: tuple[Cut, ...]
    stop: StopReason
    rejected: Cut | None = None


def iterative_cut(
    rgb: np.ndarray, flow: np.ndarray | None, grid: tuple[int, int], parameters: CutParameters
) -> IterativeCut:
    """Cut object after object out of one frame (FlowCut section 3.2).

    Stops at the first cut that is refused, because the next would be the same: when it has no definite
    direction (``degenerate``), when it repeats an accepted cut (``duplicate``), when it is too small
    (``too_small``), when it splits what belongs together (``weak``: its eigenvalue is too high; these two are not
    asked of the first cut), or when there are enough (``max_instances``).

    Parameters
    ----------
    rgb, flow : (N, C) arrays
        Features of the picture and of its flow, any scale; ``flow=None`` means alpha 1.
    grid : (rows, cols)
        Rows of features are patches in row-major order; N = rows * cols.
    parameters : CutParameters
        alpha, tau, eps, max_instances, min_area, max_overlap, max_eigenvalue are used.

    Raises
    ------
    InputError
        (a ``ValueError``) If shapes do not fit or features are not finite.
    """
    with one_blas_thread():
        cosines = Cosines.of(rgb, flow if parameters.uses_flow else None)
    return cut_cosines(cosines, grid, parameters)


def cut_cosines(cosines: Cosines, grid: tuple[int, int], parameters: CutParameters) -> IterativeCut:
    """Do what `iterative_cut` does from cosines that are at hand: what a moved slider of alpha or tau costs."""
    rows, cols = grid
    if rows * cols != len(cosines.rgb):
        raise InputError(f"a grid of {rows}x{cols} has {rows * cols} patches, the features have {len(cosines.rgb)}")
    affinity = cosines.affinity(parameters.alpha, parameters.tau, parameters.eps)
    painted = np.zeros(grid, dtype=bool)
    cuts: list[Cut] = []
    with one_blas_thread():
        for iteration in range(1, parameters.max_instances + 1):
            if painted.all():
                return IterativeCut(tuple(cuts), "degenerate")
            solution = solve(MaskedGraph(affinity, painted.ravel(), parameters.eps))
            eigenvector, raw_mask, seed = foreground(solution.eigenvector.reshape(grid))
            overlap = max((mask_iou(cut.raw_mask, raw_mask) for cut in cuts), default=0.0)
            cut = Cut(
                iteration=iteration,
                mask=raw_mask & ~painted,
                raw_mask=raw_mask,
                eigenvector=eigenvector,
                seed=seed,
                eigenvalue=solution.eigenvalue,
                eigengap=solution.eigengap,
                overlap=overlap,
            )
            if solution.is_degenerate:
                return IterativeCut(tuple(cuts), "degenerate", cut)
            if overlap > parameters.max_overlap:
                return IterativeCut(tuple(cuts), "duplicate", cut)
            # The first mask has no size test: a frame with one small object is not an empty frame.
            if cuts and raw_mask.sum() <= parameters.min_area * raw_mask.size:
                return IterativeCut(tuple(cuts), "too_small", cut)
            if cuts and solution.eigenvalue > parameters.max_eigenvalue:
                return IterativeCut(tuple(cuts), "weak", cut)
            cuts.append(cut)
            painted |= raw_mask
    return IterativeCut(tuple(cuts), "max_instances")


def foreground(eigenvector: np.ndarray) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
    """Turn an eigenvector into an object: side, seed, connected part (METHOD 4.2 to 4.4).

    The vector is split at its mean. It is reversed if three or four corners of the picture lie above, else if its
    largest absolute value does not. In rare frames this rule gives another object for the other sign of the vector;
    the sign that comes from the solver is the same in every run.

    Parameters
    ----------
    eigenvector : (rows, cols) array
        Of either sign.

    Returns
    -------
    oriented : (rows, cols) array
        The eigenvector, turned so that the object is positive.
    mask : (rows, cols) bool
        The 4-connected part of the object's side that holds the seed.
    seed : (row, col)
        The largest value of the oriented vector.
    """
    side = eigenvector > eigenvector.mean()
    corners = int(side[0, 0]) + int(side[0, -1]) + int(side[-1, 0]) + int(side[-1, -1])
    if corners >= 3 or not side.flat[np.abs(eigenvector).argmax()]:
        eigenvector, side = -eigenvector, ~side
    row, col = divmod(int(eigenvector.argmax()), eigenvector.shape[1])
    labels, _ = ndimage.label(side)
    # Label 0 is the other side: only a vector without any contrast puts the seed there.
    mask = labels == labels[row, col] if labels[row, col] else np.zeros_like(side)
    return eigenvector, mask, (row, col)
