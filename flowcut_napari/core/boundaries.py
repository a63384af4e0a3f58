"""Contours of labelled masks, and the F-measure between them (boundary accuracy of DAVIS, METHOD 9.2).

Everything happens within the box of each object: that changes no number, and most of a frame is background.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

# Of the diagonal of a frame: how far apart two contours may be and still be the same.
TOLERANCE = 0.008


@dataclass(frozen=True, slots=True)
class Contour:
    """The boundary pixels of one object in a frame.

    Attributes
    ----------
    top, left : int
        Where `pixels` lies in the frame.
    pixels : (h, w) uint8
        1 on the boundary.
    count : int
        How many these are; not 0.
    reach : (h + 2 r, w + 2 r) uint8
        1 on all pixels no farther than the tolerance r from the boundary; it lies r above and left of `pixels`.
    margin : int
        The tolerance r in pixels.
    """

    top: int
    left: int
    pixels: np.ndarray
    count: int
    reach: np.ndarray
    margin: int


def tolerance(height: int, width: int) -> int:
    """Return how far apart contours may be, in pixels."""
    return math.ceil(TOLERANCE * math.sqrt(height**2 + width**2))


def find_contours(labels: np.ndarray, most: int, margin: int) -> list[Contour | None]:
    """Return the contours of the objects 1 to `most`; None for one that is not there or has no boundary.

    A pixel is on the boundary of an object if it or one of its neighbours to the right, below, and below right is in
    the object, and not all four are. Beyond the last row and column a frame goes on as it ends.

    Parameters
    ----------
    labels : (H, W) uint8
        Number of the object at each pixel.
    most : int
    margin : int
        The tolerance in pixels; see `tolerance`.
    """
    boxes = ndimage.find_objects(labels, max_label=most)
    going_on = np.pad(labels, ((0, 1), (0, 1)), mode="edge")
    return [
        None if box is None else _contour(going_on, number, box, margin) for number, box in enumerate(boxes, start=1)
    ]


def mask_contour(mask: np.ndarray) -> Contour | None:
    """Return the contour of one mask (H, W) bool, with the tolerance of a frame of its size."""
    return find_contours(mask.view(np.uint8), 1, tolerance(*mask.shape))[0]


def _contour(labels: np.ndarray, number: int, box: tuple[slice, slice], margin: int) -> Contour | None:
    rows, columns = box
    top, left = max(rows.start - 1, 0), max(columns.start - 1, 0)
    inside = labels[top : rows.stop + 1, left : columns.stop + 1] == number
    here = inside[:-1, :-1]
    pixels = (here ^ inside[:-1, 1:]) | (here ^ inside[1:, :-1]) | (here ^ inside[1:, 1:])
    count = int(np.count_nonzero(pixels))
    if not count:
        return None
    marks = pixels.view(np.uint8)
    return Contour(top, left, marks, count, _dilate(np.pad(marks, margin), margin), margin)


def _dilate(marks: np.ndarray, radius: int) -> np.ndarray:
    """Dilate by the disk of pixels whose centres lie no farther than `radius` from its own.

    The disk is a stack of rows: dilating along rows once for each width, and shifting, costs far less than the disk.
    """
    import cv2

    reach = np.zeros_like(marks)
    half_width, row = -1, marks
    for step in range(radius + 1):
        if (wanted := math.isqrt(radius * radius - step * step)) != half_width:
            half_width = wanted
            row = cv2.dilate(marks, np.ones((1, 2 * half_width + 1), dtype=np.uint8)) if half_width else marks
        below, above = reach[step:], reach[: len(reach) - step]
        np.bitwise_or(below, row[: len(row) - step], out=below)
        np.bitwise_or(above, row[step:], out=above)
    return reach


def f_measure(first: Contour | None, second: Contour | None) -> float:
    """Return F, the harmonic mean of precision and recall of boundary pixels; 1 if both have none, 0 if one has."""
    if first is None or second is None:
        return float(first is second)
    precision = _near(first, second) / first.count
    recall = _near(second, first) / second.count
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _near(contour: Contour, other: Contour) -> int:
    """Return how many pixels of a contour lie within the reach of the other."""
    top, left = other.top - other.margin, other.left - other.margin
    (height, width), (other_height, other_width) = contour.pixels.shape, other.reach.shape
    start_row, start_column = max(contour.top, top), max(contour.left, left)
    stop_row = min(contour.top + height, top + other_height)
    stop_column = min(contour.left + width, left + other_width)
    if start_row >= stop_row or start_column >= stop_column:
        return 0
    mine = contour.pixels[
        start_row - contour.top : stop_row - contour.top, start_column - contour.left : stop_column - contour.left
    ]
    near = other.reach[start_row - top : stop_row - top, start_column - left : stop_column - left]
    return int(np.count_nonzero(mine & near))
