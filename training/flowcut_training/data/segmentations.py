"""Masks as pixels, out of the forms that COCO and YouTube-VIS have for them."""

from __future__ import annotations

from typing import Any

import numpy as np
from pycocotools import mask as coco

from flowcut_napari.core.errors import InputError
from flowcut_napari.core.masks import check_rle


def decode_segmentation(segmentation: Any, height: int, width: int) -> np.ndarray:
    """Decode a run-length code or polygons.

    Parameters
    ----------
    segmentation : dict or list
        As `records.read_track` lets it pass.
    height, width : int
        Of the frame.

    Returns
    -------
    ndarray
        (height, width) uint8, 0 and 1, columns contiguous.

    Raises
    ------
    InputError
        If a code does not fill the frame exactly, or a polygon is far outside it. pycocotools sees neither, and with
        the wrong runs it reads and writes memory that is not the mask's.
    """
    if isinstance(segmentation, list):
        return coco.decode(coco.merge(coco.frPyObjects(_near(segmentation, height, width), height, width)))
    if segmentation["size"] != [height, width]:
        stated = "x".join(str(side) for side in reversed(segmentation["size"]))
        raise InputError(f"its mask is {stated}, the frame {width}x{height}")
    counts = segmentation["counts"]
    if isinstance(counts, list):
        if not all(type(run) is int and run >= 0 for run in counts) or sum(counts) != height * width:
            raise InputError(f"a mask cannot be decoded: its runs do not fill {height}x{width} pixels")
        return coco.decode(coco.frPyObjects({"size": [height, width], "counts": counts}, height, width))
    check_rle({"size": [height, width], "counts": counts})
    return coco.decode({"size": [height, width], "counts": counts.encode("ascii")})


def _near(polygons: list[list[float]], height: int, width: int) -> list[list[float]]:
    # Its outline is walked pixel by pixel, in integers of 32 bits.
    for polygon in polygons:
        for numbers, side in ((polygon[::2], width), (polygon[1::2], height)):
            if min(numbers) < -side or max(numbers) > 2 * side:
                raise InputError(f"a polygon leaves the frame of {width}x{height} by more than its size")
    return polygons
