"""The numbers of the benchmarks as their definitions say, on dense masks, loop by loop: an oracle."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.optimize import linear_sum_assignment

AREAS = {"": (0, 1e10), "s": (0, 128**2), "m": (128**2, 256**2), "l": (256**2, 1e10)}
NAMES = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")


@dataclass(frozen=True, eq=False)
class DenseTube:
    """An object, or a detection with its score: masks (T, H, W) bool; a frame without pixels is one without a mask."""

    video: int
    category: int
    masks: np.ndarray
    score: float = 0.0
    is_crowd: bool = False

    @property
    def area(self) -> float:
        areas = [int(mask.sum()) for mask in self.masks if mask.any()]
        return sum(areas) / len(areas) if areas else 0.0


def dense_iou(first: DenseTube, second: DenseTube) -> float:
    union = int((first.masks | second.masks).sum())
    return int((first.masks & second.masks).sum()) / union if union else 0.0


def slow_ytvis(objects: Sequence[DenseTube], detections: Sequence[DenseTube], use_categories: bool) -> dict[str, float]:
    """Return the twelve numbers; objects and detections in the order of their files."""
    categories = sorted({item.category for item in objects}) if use_categories else [None]
    ious = {
        (id(found), id(thing)): dense_iou(found, thing)
        for found in detections
        for thing in objects
        if found.video == thing.video
    }

    def curve(area: str, most: int, threshold: float, category: int | None) -> tuple[float, float] | None:
        """Return average precision and recall, or None where there is nothing to find."""
        wanted, ranked = 0, []
        videos = sorted({item.video for item in (*objects, *detections)})
        for video in videos:
            here = [item for item in objects if item.video == video and category in (None, item.category)]
            here.sort(key=lambda item: item.category)
            found = [item for item in detections if item.video == video and category in (None, item.category)]
            found.sort(key=lambda item: (-item.score, item.category))
            wanted += sum(_counts(item, area) for item in here)
            ranked += _judged(found[:100], here, area, threshold, ious)[:most]
        if not wanted:
            return None
        ranked.sort(key=lambda item: -item[0])
        right, wrong, points = 0, 0, []
        for _, verdict in ranked:
            right += verdict == "right"
            wrong += verdict == "wrong"
            points.append((right / wanted, right / (right + wrong) if right + wrong else 0.0))
        heights = []
        for step in range(101):
            recall = np.linspace(0, 1, 101)[step]
            heights.append(max((precision for reached, precision in points if reached >= recall), default=0.0))
        return sum(heights) / 101, points[-1][0] if points else 0.0

    def mean(which: int, area: str = "", most: int = 100, thresholds: Sequence[int] = range(10)) -> float:
        values = [
            curve(area, most, np.linspace(0.5, 0.95, 10)[place], category)
            for place in thresholds
            for category in categories
        ]
        defined = [value[which] for value in values if value is not None]
        return sum(defined) / len(defined) if defined else -1.0

    numbers = [mean(0), mean(0, thresholds=[0]), mean(0, thresholds=[5]), *(mean(0, area) for area in "sml")]
    numbers += [mean(1, most=1), mean(1, most=10), mean(1), *(mean(1, area) for area in "sml")]
    return dict(zip(NAMES, numbers, strict=True))


def _counts(item: DenseTube, area: str) -> bool:
    low, high = AREAS[area]
    return not item.is_crowd and low <= item.area <= high


def _judged(
    found: Sequence[DenseTube],
    here: Sequence[DenseTube],
    area: str,
    threshold: float,
    ious: dict[tuple[int, int], float],
) -> list[tuple[float, str]]:
    taken: set[int] = set()
    verdicts = []
    for item in found:
        options = [
            (place, ious[id(item), id(thing)])
            for place, thing in enumerate(here)
            if ious[id(item), id(thing)] >= threshold and (place not in taken or thing.is_crowd)
        ]
        counting = [option for option in options if _counts(here[option[0]], area)]
        if counting or options:
            # Of equal ones the last.
            best = max(counting or options, key=lambda option: (option[1], option[0]))[0]
            taken.add(best)
            verdicts.append((item.score, "right" if counting else "ignored"))
        else:
            low, high = AREAS[area]
            verdicts.append((item.score, "wrong" if low <= item.area <= high else "ignored"))
    return verdicts


def slow_boundary(mask: np.ndarray) -> np.ndarray:
    """Return where a pixel, and those right, below and below right of it, are not all in or all out of a mask."""
    height, width = mask.shape
    boundary = np.zeros_like(mask)
    for row in range(height):
        for column in range(width):
            square = mask[row : row + 2, column : column + 2]
            boundary[row, column] = square.any() and not square.all()
    return boundary


def slow_f(first: np.ndarray, second: np.ndarray) -> float:
    radius = math.ceil(0.008 * math.hypot(*first.shape))
    edges = [slow_boundary(mask) for mask in (first, second)]
    counts = [int(edge.sum()) for edge in edges]
    if not all(counts):
        return float(counts[0] == counts[1])
    distances = [ndimage.distance_transform_edt(~edge) for edge in edges]
    precision = (edges[0] & (distances[1] <= radius)).sum() / counts[0]
    recall = (edges[1] & (distances[0] <= radius)).sum() / counts[1]
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def slow_j(first: np.ndarray, second: np.ndarray) -> float:
    union = (first | second).sum()
    return (first & second).sum() / union if union else 1.0


def slow_davis(truth: np.ndarray, found: np.ndarray) -> tuple[np.ndarray, np.ndarray, dict[str, float]]:
    """Return J and F of proposals and objects, (P, G, T) each, and the seven numbers of this one sequence."""
    seen = truth != 255
    objects = int((truth * seen)[0].max())
    proposals = max(int(found.max()), objects)
    j, f = np.zeros((2, proposals, objects, len(truth)))
    for row, column, frame in np.ndindex(j.shape):
        proposal = (found[frame] == row + 1) & seen[frame]
        thing = truth[frame] == column + 1
        j[row, column, frame], f[row, column, frame] = slow_j(proposal, thing), slow_f(proposal, thing)
    rows, columns = linear_sum_assignment((j + f).mean(axis=2), maximize=True)
    numbers = {}
    for name, values in (("J", j[rows, columns]), ("F", f[rows, columns])):
        numbers[f"{name}-Mean"] = float(values.mean())
        numbers[f"{name}-Recall"] = float((values > 0.5).mean())
        edges = [math.floor((len(truth) - 1) * part / 4 + 0.5 + 1e-9) for part in (0, 1, 3, 4)]
        first, last = values[:, edges[0] : edges[1] + 1], values[:, edges[2] : edges[3] + 1]
        numbers[f"{name}-Decay"] = float((first.mean(axis=1) - last.mean(axis=1)).mean())
    return j, f, {"J&F-Mean": (numbers["J-Mean"] + numbers["F-Mean"]) / 2, **numbers}
