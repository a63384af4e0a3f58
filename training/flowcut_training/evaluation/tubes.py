"""Tubes: the masks of one object through a video, as run lengths, and how two sets of them overlap.

No mask is unpacked. All counts are whole numbers, so that results do not depend on the order of frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pycocotools import mask as coco

from flowcut_napari.core.errors import InputError
from flowcut_napari.core.masks import check_rle
from flowcut_training.evaluation.ytvis_input import shown


@dataclass(frozen=True, slots=True)
class Tube:
    """The masks of one object.

    Attributes
    ----------
    codes : tuple of (dict or None)
        Run-length code of each frame as pycocotools takes it; None without a mask.
    areas : (T,) int64
        Pixels in each frame, 0 without a mask.
    """

    codes: tuple[dict[str, Any] | None, ...]
    areas: np.ndarray


def read_tube(segmentations: Sequence[Any], height: int, width: int, where: str) -> Tube:
    """Check masks of one video and bring them into one form.

    Parameters
    ----------
    segmentations : sequence
        For each frame None or run lengths: ``{"size": [height, width], "counts": ...}`` with compressed counts (text)
        or plain ones (a list of numbers, as YouTube-VIS has them).
    height, width : int
        Of the video, in pixels.
    where : str
        What errors begin with.

    Raises
    ------
    InputError
        If a mask is no run-length code, has another size, or its runs do not fill that size.
    """
    codes: list[dict[str, Any] | None] = []
    areas = np.zeros(len(segmentations), dtype=np.int64)
    for frame, segmentation in enumerate(segmentations):
        if segmentation is None:
            codes.append(None)
            continue
        try:
            code, areas[frame] = _read_mask(segmentation, [height, width])
        except InputError as error:
            raise InputError(f"{where}: frame {frame}: {error}") from None
        codes.append(code)
    return Tube(tuple(codes), areas)


def _read_mask(segmentation: Any, size: list[int]) -> tuple[dict[str, Any], int]:
    if isinstance(segmentation, list):
        raise InputError("its mask is made of polygons; convert them to run lengths")
    if not isinstance(segmentation, dict) or not {"size", "counts"} <= set(segmentation):
        raise InputError("its mask is no run-length code (size and counts)")
    stated, counts = segmentation["size"], segmentation["counts"]
    is_size = isinstance(stated, (list, tuple)) and all(type(side) is int for side in stated)
    if not is_size or list(stated) != size:
        raise InputError(f"its mask has the size {shown(stated)}, its video has {size}")
    if isinstance(counts, list):
        if not all(type(run) is int and run >= 0 for run in counts) or sum(counts) != size[0] * size[1]:
            raise InputError(f"its runs do not fill {size[0]}x{size[1]} pixels")
        return coco.frPyObjects({"size": size, "counts": counts}, *size), sum(counts[1::2])
    if isinstance(counts, bytes):  # as pycocotools has them in memory
        counts = counts.decode("ascii", "replace")
    if not isinstance(counts, str):
        raise InputError("its runs are neither a text nor a list")
    if not counts.isascii():
        raise InputError("its runs are no run-length code")
    area = check_rle({"size": size, "counts": counts})
    return {"size": size, "counts": counts.encode("ascii")}, area


@dataclass(frozen=True, slots=True)
class TubeOverlaps:
    """How the tubes of one set overlap those of another.

    Attributes
    ----------
    ious : (A, B) float64
        The sum over frames of the intersections over that of the unions (METHOD 9.1), 0 where both tubes are empty.
    worst_ious : (A, B) float64
        The lowest IoU in one frame, of the frames in which either has a mask; 1 where there are none.
    worst_frames : (A, B) int32
        Where that is; of equal ones the frame in which the tube of the second set is largest, and of these the first.
        -1 where there are none.
    """

    ious: np.ndarray
    worst_ious: np.ndarray
    worst_frames: np.ndarray


def tube_ious(first: Sequence[Tube], second: Sequence[Tube]) -> np.ndarray:
    """Return the IoU of every tube of `first` with every one of `second`, (A, B) float64; see `TubeOverlaps`."""
    return overlap_tubes(first, second).ious


def overlap_tubes(first: Sequence[Tube], second: Sequence[Tube]) -> TubeOverlaps:
    """Compare every tube of `first` with every one of `second`, both of one video."""
    shape = (len(first), len(second))
    intersections = np.zeros(shape, dtype=np.int64)
    worst_ious, worst_frames = np.full(shape, np.inf), np.full(shape, -1, dtype=np.int32)
    totals = [np.array([tube.areas.sum() for tube in tubes], dtype=np.int64) for tubes in (first, second)]
    if intersections.size:
        areas = [np.stack([tube.areas for tube in tubes]) for tubes in (first, second)]
        largest = np.full(shape, -1, dtype=np.int64)
        for frame in range(areas[0].shape[1]):
            rows, columns = (np.flatnonzero(counts[:, frame]) for counts in areas)
            if not (rows.size or columns.size):
                continue
            here = np.zeros(shape)
            if rows.size and columns.size:
                sides = ((first, rows), (second, columns))
                codes = ([tubes[place].codes[frame] for place in places.tolist()] for tubes, places in sides)
                iou = coco.iou(*codes, [0] * columns.size)
                # One call gives all IoU of a frame, i / (a + b - i); i is whole, so rounding brings it back.
                both = areas[0][rows, frame][:, None] + areas[1][columns, frame]
                pairs = np.ix_(rows, columns)
                intersections[pairs] += np.rint(iou * both / (1 + iou)).astype(np.int64)
                here[pairs] = iou
            size = areas[1][:, frame]
            is_worse = (here < worst_ious) | ((here == worst_ious) & (size > largest))
            if rows.size < shape[0] and columns.size < shape[1]:  # neither of some pairs is there
                is_worse &= (areas[0][:, frame] > 0)[:, None] | (size > 0)
            np.copyto(worst_ious, here, where=is_worse)
            np.copyto(largest, size, where=is_worse)
            worst_frames[is_worse] = frame
    unions = totals[0][:, None] + totals[1] - intersections
    ious = np.divide(intersections, unions, out=np.zeros(unions.shape), where=unions > 0)
    return TubeOverlaps(ious, np.minimum(worst_ious, 1), worst_frames)
