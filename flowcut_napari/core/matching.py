"""Matching the instances of two frames by IoU (FlowCut section 3.3, Algorithm 1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from flowcut_napari.core.errors import InputError
from flowcut_napari.core.masks import Rle, rle_iou_matrix
from flowcut_napari.core.parameters import MatchMethod


@dataclass(frozen=True)
class Matches:
    """Which instances of two frames are the same.

    Attributes
    ----------
    iou : (A, B) float64
        IoU of every instance of the first frame with every one of the second; 0 where both are empty.
    pairs : tuple of (int, int)
        Matched instances as places in the two frames, rising; no instance is in two pairs.
    contested : tuple of (int, int)
        Pairs that `argmax` chose and gave up, because another instance fits the same one better. It takes
        overlapping masks in a frame to have any.
    """

    iou: np.ndarray
    pairs: tuple[tuple[int, int], ...]
    contested: tuple[tuple[int, int], ...] = ()


def match_instances(
    masks_a: Sequence[np.ndarray] | np.ndarray,
    masks_b: Sequence[np.ndarray] | np.ndarray,
    iou_threshold: float = 0.5,
    method: MatchMethod = "argmax",
) -> Matches:
    """Match the instances of two frames (FlowCut Algorithm 1).

    Parameters
    ----------
    masks_a, masks_b : (A, H, W) and (B, H, W) bool, or sequences of (H, W) bool
        Masks of the two frames, of one size; either may be empty.
    iou_threshold : float
        Two instances match only above this, 0 to 1; strict.
    method : str
        ``argmax``: each instance of the first frame takes the one of the second that it overlaps most; where two take
        the same, the higher IoU keeps it (the first of equals). ``hungarian``: of all pairs above the threshold, those
        with the largest sum of IoU. For masks that are disjoint in their frame and a threshold of at least 0.5 the
        two are equal.

    Raises
    ------
    InputError
        (a ``ValueError``) If sizes differ, the threshold is out of range, or the method is unknown.
    """
    return match_iou(iou_matrix(masks_a, masks_b), iou_threshold, method)


def match_iou(iou: np.ndarray, iou_threshold: float = 0.5, method: MatchMethod = "argmax") -> Matches:
    """Match by a matrix of IoU (A, B); the rest is as in `match_instances`."""
    if not 0 <= iou_threshold <= 1:
        raise InputError(f"the IoU threshold is {iou_threshold}; it lies between 0 and 1")
    if method == "hungarian":
        # What may not match must not take part: it could keep two from each other that may.
        rows, cols = linear_sum_assignment(np.where(iou > iou_threshold, iou, 0.0), maximize=True)
        found = zip(rows.tolist(), cols.tolist(), strict=True)
        return Matches(iou, tuple((i, j) for i, j in found if iou[i, j] > iou_threshold))
    if method != "argmax":
        raise InputError(f"unknown matching method {method!r}: choose argmax or hungarian")
    best: dict[int, int] = {}
    contested = []
    for i, j in enumerate(iou.argmax(axis=1).tolist() if iou.size else []):
        if iou[i, j] <= iou_threshold:
            continue
        if j in best and iou[best[j], j] >= iou[i, j]:
            contested.append((i, j))
            continue
        if j in best:
            contested.append((best[j], j))
        best[j] = i
    return Matches(iou, tuple(sorted((i, j) for j, i in best.items())), tuple(sorted(contested)))


def match_video(
    frames: Sequence[Sequence[Rle]], span: int, iou_threshold: float = 0.5, method: MatchMethod = "argmax"
) -> dict[tuple[int, int], Matches]:
    """Match the instances of all pairs of frames that are at most `span` apart.

    The IoU are those of run lengths, a frame against all that follow it at once: no mask is unpacked.

    Parameters
    ----------
    frames : sequence of sequences of Rle
        Masks of each frame of one video, all of one size; see `check_rle`.
    span : int
        Largest distance of two frames, in places of `frames`.
    iou_threshold, method
        As in `match_instances`.

    Returns
    -------
    dict of (int, int) to Matches
        By the places of the two frames, the earlier first.
    """
    matches = {}
    for place, masks in enumerate(frames):
        later = frames[place + 1 : place + 1 + span]
        columns = np.cumsum([0, *map(len, later)])
        iou = rle_iou_matrix(masks, [mask for other in later for mask in other])
        for step in range(len(later)):
            part = iou[:, columns[step] : columns[step + 1]]
            matches[place, place + 1 + step] = match_iou(part, iou_threshold, method)
    return matches


class Matcher:
    """`match_video` for one video that is matched again and again: only what changed is compared again."""

    def __init__(self) -> None:
        self._frames: list[list[Rle]] = []
        self._iou: dict[tuple[int, int], np.ndarray] = {}
        self._matches: dict[tuple[int, int], Matches] = {}
        self._asked: tuple[float, MatchMethod, int] | None = None

    def match_video(
        self, frames: Sequence[Sequence[Rle]], span: int, iou_threshold: float = 0.5, method: MatchMethod = "argmax"
    ) -> dict[tuple[int, int], Matches]:
        """Match as `match_video` does; masks are the same if they are the same objects.

        Where nothing at all has changed, what is returned is the same object as the last time.
        """
        asked = iou_threshold, method, span
        if self._asked is not None and self._asked[:2] != asked[:2]:
            self._matches = {}
        is_asked_again, self._asked = self._asked == asked, asked
        before = self._frames + [[]] * (len(frames) - len(self._frames))
        is_same = [
            place < len(self._frames)
            and len(old) == len(new)
            and all(mask is kept for mask, kept in zip(old, new, strict=True))
            for place, (old, new) in enumerate(zip(before, frames, strict=False))
        ]
        if is_asked_again and len(frames) == len(self._frames) and all(is_same):
            return self._matches
        self._frames = [list(masks) for masks in frames]
        # A copy: who was given the last one still looks at it.
        known = dict(self._matches)
        matches = {}
        for place, masks in enumerate(frames):
            pairs = [(place, other) for other in range(place + 1, min(place + span, len(frames) - 1) + 1)]
            stale = [pair for pair in pairs if pair not in self._iou or not (is_same[place] and is_same[pair[1]])]
            if stale:
                columns = np.cumsum([0, *(len(frames[other]) for _, other in stale)])
                iou = rle_iou_matrix(masks, [mask for _, other in stale for mask in frames[other]])
                for spot, pair in enumerate(stale):
                    self._iou[pair] = iou[:, columns[spot] : columns[spot + 1]]
                    known.pop(pair, None)
            for pair in pairs:
                matches[pair] = known.get(pair) or match_iou(self._iou[pair], iou_threshold, method)
        # What was not asked for this time may be of other masks than those that are remembered now.
        for pair in [pair for pair in self._iou if pair not in matches]:
            del self._iou[pair]
        self._matches = matches
        return matches

    def copy(self) -> Matcher:
        """Return another one that knows the same, for another thread."""
        other = Matcher()
        other._frames, other._iou, other._matches = list(self._frames), dict(self._iou), dict(self._matches)
        other._asked = self._asked
        return other


def iou_matrix(masks_a: Sequence[np.ndarray] | np.ndarray, masks_b: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
    """Return the IoU of every mask of one frame with every mask of another, (A, B) float64.

    Raises
    ------
    InputError
        If the masks are not all of one size.
    """
    if len(masks_a) == 0 or len(masks_b) == 0:
        return np.zeros((len(masks_a), len(masks_b)))
    shapes = {np.shape(mask) for mask in (*masks_a, *masks_b)}
    if len(shapes) > 1 or len(next(iter(shapes))) != 2:
        raise InputError(f"masks to be matched are (H, W) of one size, not {sorted(shapes)}")
    # One product of 0/1 numbers counts all intersections; float32 counts exactly up to 2^24 pixels.
    number = np.float32 if np.prod(next(iter(shapes))) < 1 << 24 else np.float64

    def flatten(masks: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
        return np.stack([np.asarray(mask, dtype=bool).ravel() for mask in masks]).astype(number)

    flat_a, flat_b = flatten(masks_a), flatten(masks_b)
    intersections = (flat_a @ flat_b.T).astype(np.float64)
    areas_a, areas_b = (flat.sum(axis=1, dtype=np.float64) for flat in (flat_a, flat_b))
    unions = areas_a[:, None] + areas_b - intersections
    return np.divide(intersections, unions, out=np.zeros_like(unions), where=unions > 0)
