"""The numerics of the reference programs and of the paper, written plainly: what FlowCut is measured against.

Cuts: everything in float64, the affinity computed anew for every cut from features whose cut patches are set to zero,
and the generalised eigenproblem solved densely (METHOD 3.1, 4.1, 4.7). Matches: pixel by pixel. Slow on purpose;
`flowcut bench` and the tests use it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.linalg

from flowcut_napari.core.masks import Rle, decode_rle, mask_iou
from flowcut_napari.core.ncut import foreground
from flowcut_napari.core.parameters import CutParameters


def pixel_matches(
    frames: Sequence[Sequence[Rle]], span: int, iou_threshold: float = 0.5
) -> dict[tuple[int, int], list[tuple[int, int]]]:
    """Return the pairs of Algorithm 1 for all frames at most `span` apart, from the pixels of every two masks."""
    masks = [[decode_rle(mask) for mask in frame] for frame in frames]
    found: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for first in range(len(masks)):
        for second in range(first + 1, min(first + span + 1, len(masks))):
            pairs = found.setdefault((first, second), [])
            for i, mask in enumerate(masks[first]):
                ious = [mask_iou(mask, other) for other in masks[second]]
                if ious and max(ious) > iou_threshold:
                    pairs.append((i, int(np.argmax(ious))))
    return found


def dense_affinity(rgb: np.ndarray, flow: np.ndarray | None, parameters: CutParameters) -> np.ndarray:
    """Return the affinity of features (N, C) in float64, (N, N)."""

    def cosines(features: np.ndarray) -> np.ndarray:
        values = features.astype(np.float64)
        norms = np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12)
        return (values / norms) @ (values / norms).T

    fused = cosines(rgb)
    if flow is not None:
        fused = parameters.alpha * fused + (1 - parameters.alpha) * cosines(flow)
    return np.where(fused > parameters.tau, 1.0, parameters.eps)


def dense_second_vector(affinity: np.ndarray) -> tuple[float, float, np.ndarray]:
    """Return (lambda_2, lambda_3, x_2) of (D - W) x = lambda D x by the dense generalised solver."""
    degrees = np.diag(affinity.sum(axis=1))
    values, vectors = scipy.linalg.eigh(degrees - affinity, degrees, subset_by_index=[1, 2])
    return float(values[0]), float(values[1]), vectors[:, 0]


def dense_iterative_cut(
    rgb: np.ndarray, flow: np.ndarray | None, grid: tuple[int, int], parameters: CutParameters
) -> list[np.ndarray]:
    """Return the disjoint masks (rows, cols) bool of a frame; stops as `iterative_cut` does."""
    rgb = rgb.copy()
    flow = None if flow is None else flow.copy()
    painted = np.zeros(grid, dtype=bool)
    raw_masks: list[np.ndarray] = []
    masks: list[np.ndarray] = []
    for _ in range(parameters.max_instances):
        _, _, vector = dense_second_vector(dense_affinity(rgb, flow, parameters))
        _, raw, _ = foreground(vector.reshape(grid))
        repeated = any(mask_iou(earlier, raw) > parameters.max_overlap for earlier in raw_masks)
        if raw_masks and (repeated or raw.sum() <= parameters.min_area * raw.size):
            break
        raw_masks.append(raw)
        masks.append(raw & ~painted)
        painted |= raw
        rgb[raw.ravel()] = 0
        if flow is not None:
            flow[raw.ravel()] = 0
    return masks
