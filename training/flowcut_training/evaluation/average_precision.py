"""Average precision and recall over tubes: matching by score, precision at every recall, the twelve numbers.

The rules are those of the YouTube-VIS evaluator, which has them from COCO. Axes are T thresholds of IoU, R recalls,
K categories (one if they are not told apart), A ranges of area, M numbers of detections.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)
# Of the mean area of an object, in pixels, both ends included: all, small, medium, large.
AREAS = np.array([[0, 1e10], [0, 128**2], [128**2, 256**2], [256**2, 1e10]])
# Only so many detections of a video (and category) count, those with the highest scores.
MOST_DETECTIONS = (1, 10, 100)
AT_50, AT_75 = 0, 5
_ALL, _SMALL, _MEDIUM, _LARGE = range(4)


@dataclass(frozen=True, slots=True)
class Overlaps:
    """Objects and detections of one video, or of one category in it.

    Attributes
    ----------
    video : int
    category : int or None
        None where categories are not told apart.
    scores : (D,) float64
        Falling; of equal ones the earlier in the file comes first. At most the highest 100.
    detection_areas, object_areas : (D,) and (G,) float64
        Mean of the areas of the frames in which there is any.
    object_ids, object_categories : (G,) int64
        In the order of the file.
    is_crowd : (G,) bool
    ious : (D, G) float64
    worst_ious : (D, G) float64
        The lowest IoU in one frame.
    worst_frames : (D, G) int32
        Where that is; see `tubes.TubeOverlaps`.
    largest_frames : (G,) int32
        Where each object is largest; -1 if it has no mask.
    """

    video: int
    category: int | None
    scores: np.ndarray
    detection_areas: np.ndarray
    object_ids: np.ndarray
    object_categories: np.ndarray
    object_areas: np.ndarray
    is_crowd: np.ndarray
    ious: np.ndarray
    worst_ious: np.ndarray
    worst_frames: np.ndarray
    largest_frames: np.ndarray

    def above(self, score: float) -> Overlaps:
        """Return these without detections below a score."""
        count = int((self.scores >= score).sum())
        names = ("scores", "detection_areas", "ious", "worst_ious", "worst_frames")
        return replace(self, **{name: getattr(self, name)[:count] for name in names})


@dataclass(frozen=True, slots=True)
class Matched:
    """What became of the detections of one `Overlaps`.

    Attributes
    ----------
    is_match : (A, T, D) bool
        Whether it found an object, or a crowd.
    is_ignored : (A, T, D) bool
        Whether it counts neither for nor against.
    objects_ignored : (A, G) bool
        Crowds, and objects of other sizes.
    """

    scores: np.ndarray
    is_match: np.ndarray
    is_ignored: np.ndarray
    objects_ignored: np.ndarray


def match_detections(overlaps: Overlaps) -> Matched:
    """Match greedily by falling score, for all thresholds and ranges of area at once.

    Each detection takes the object that it overlaps most of those that are free, and of equals the last; objects
    that count go before those that do not; a crowd stays free for others.
    """
    # Where categories are not told apart, the reference lists objects by category: that decides between equals.
    order = np.argsort(overlaps.object_categories, kind="stable")
    crowd, areas, ious = overlaps.is_crowd[order], overlaps.object_areas[order], overlaps.ious[:, order]
    low, high = AREAS[:, :1], AREAS[:, 1:]
    objects_ignored = crowd | (areas < low) | (areas > high)
    shape = (len(AREAS), len(THRESHOLDS), len(ious))
    is_match, is_ignored = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
    free = np.ones((*shape[:2], len(crowd)), dtype=bool)
    for place, row in enumerate(ious):
        if not row.size or row.max() < THRESHOLDS[0]:
            continue
        fits = (free | crowd) & (row >= THRESHOLDS[:, None])
        counting = fits & ~objects_ignored[:, None, :]
        counts = counting.any(axis=2)
        choice = np.where(counts[..., None], counting, fits)
        found = choice.any(axis=2)
        last_first = np.where(choice, row, -1.0)[..., ::-1]
        best = len(crowd) - 1 - last_first.argmax(axis=2)
        is_match[:, :, place] = found
        is_ignored[:, :, place] = found & ~counts
        area, threshold = np.nonzero(found)
        free[area, threshold, best[area, threshold]] = False
    outside = (overlaps.detection_areas < low) | (overlaps.detection_areas > high)
    is_ignored |= ~is_match & outside[:, None, :]
    return Matched(overlaps.scores, is_match, is_ignored, objects_ignored)


@dataclass(frozen=True, slots=True)
class Curves:
    """Precision and score at every recall, and the recall that is reached; -1 where there is nothing to find.

    Attributes
    ----------
    precision, scores : (T, R, K, A, M) float64
    recall : (T, K, A, M) float64
    """

    precision: np.ndarray
    scores: np.ndarray
    recall: np.ndarray


def accumulate(by_category: Sequence[Sequence[Matched]]) -> Curves:
    """Put the videos of each category together, those with lower ids first."""
    shape = (len(by_category), len(AREAS), len(MOST_DETECTIONS))
    precision = np.full((len(THRESHOLDS), len(RECALLS), *shape), -1.0)
    scores = precision.copy()
    recall = np.full((len(THRESHOLDS), *shape), -1.0)
    for category, videos in enumerate(by_category):
        for area in range(len(AREAS)):
            wanted = sum(int((~video.objects_ignored[area]).sum()) for video in videos)
            if not wanted:
                continue
            for place, most in enumerate(MOST_DETECTIONS):
                here = (slice(None), slice(None), category, area, place)
                precision[here], scores[here], recall[:, category, area, place] = _curve(videos, area, most, wanted)
    return Curves(precision, scores, recall)


def _curve(videos: Sequence[Matched], area: int, most: int, wanted: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return precision and score at the recalls, (T, R), and the recall reached, (T,)."""
    precision, scores = np.zeros((2, len(THRESHOLDS), len(RECALLS)))
    all_scores = np.concatenate([video.scores[:most] for video in videos])
    if not all_scores.size:
        return precision, scores, np.zeros(len(THRESHOLDS))
    order = np.argsort(-all_scores, kind="stable")
    is_match = np.concatenate([video.is_match[area, :, :most] for video in videos], axis=1)[:, order]
    counts = ~np.concatenate([video.is_ignored[area, :, :most] for video in videos], axis=1)[:, order]
    right = np.cumsum(is_match & counts, axis=1, dtype=np.float64)
    wrong = np.cumsum(~is_match & counts, axis=1, dtype=np.float64)
    reached = right / wanted
    # The reference keeps 0 / 0 away by adding the smallest step to the divisor.
    raw = right / (wrong + right + np.spacing(1))
    envelope = np.maximum.accumulate(raw[:, ::-1], axis=1)[:, ::-1]
    for row in range(len(THRESHOLDS)):
        places = np.searchsorted(reached[row], RECALLS, side="left")
        places = places[places < len(order)]
        precision[row, : len(places)] = envelope[row, places]
        scores[row, : len(places)] = all_scores[order][places]
    return precision, scores, reached[:, -1]


def summarize(curves: Curves) -> dict[str, float]:
    """Return the twelve numbers, 0 to 1, and -1 where there is nothing to find."""
    last = len(MOST_DETECTIONS) - 1
    whole = slice(None)

    def precision(threshold: slice | int = whole, area: int = _ALL) -> float:
        return _mean_of_defined(curves.precision[threshold, ..., area, last])

    def recall(area: int = _ALL, most: int = last) -> float:
        return _mean_of_defined(curves.recall[:, :, area, most])

    return {
        "AP": precision(),
        "AP50": precision(AT_50),
        "AP75": precision(AT_75),
        "APs": precision(area=_SMALL),
        "APm": precision(area=_MEDIUM),
        "APl": precision(area=_LARGE),
        "AR1": recall(most=0),
        "AR10": recall(most=1),
        "AR100": recall(),
        "ARs": recall(_SMALL),
        "ARm": recall(_MEDIUM),
        "ARl": recall(_LARGE),
    }


def _mean_of_defined(values: np.ndarray) -> float:
    defined = values[values > -1]
    return float(defined.mean()) if defined.size else -1.0
