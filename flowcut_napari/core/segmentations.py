"""Masks as pixels, out of the forms that COCO and YouTube-VIS have for them."""

from __future__ import annotations

from typing import Any, TypedDict

import numpy as np
from pycocotools import mask as coco

from flowcut_napari.core.errors import InputError
from flowcut_napari.core.masks import LARGEST_SIDE, check_rle


class Packed(TypedDict):
    """A run-length code as pycocotools takes it; its runs fill its size."""

    size: list[int]
    counts: bytes


def decode_segmentation(segmentation: Any, height: int, width: int) -> np.ndarray:
    """Decode a run-length code or polygons, (height, width) uint8, 0 and 1, columns contiguous; see `pack`."""
    return unpack(pack(segmentation, height, width))


def unpack(packed: Packed) -> np.ndarray:
    """Return a mask as pixels, (height, width) uint8, 0 and 1, columns contiguous."""
    return coco.decode(packed)


def pack_mask(mask: np.ndarray) -> Packed:
    """Return pixels (height, width) bool as a packed code."""
    return coco.encode(np.asfortranarray(mask.view(np.uint8)))


def area_of(packed: Packed) -> int:
    """Return the pixels of a mask without decoding it."""
    return int(coco.area(packed))


def pack(segmentation: Any, height: int, width: int) -> Packed:
    """Return a run-length code or polygons as a packed code, small whatever the frame is.

    Parameters
    ----------
    segmentation : dict or list
        A code that has a `stated_size`, or what passes `are_polygons`.
    height, width : int
        Of the frame.

    Raises
    ------
    InputError
        If a code does not fill the frame exactly, or a polygon is far outside it. pycocotools sees neither, and with
        the wrong runs it reads and writes memory that is not the mask's.
    """
    if isinstance(segmentation, list):
        return coco.merge(coco.frPyObjects(_near(segmentation, height, width), height, width))
    if segmentation["size"] != [height, width]:
        stated = "x".join(str(side) for side in reversed(segmentation["size"]))
        raise InputError(f"its mask is {stated}, the frame {width}x{height}")
    counts = segmentation["counts"]
    if isinstance(counts, list):
        if not all(type(run) is int and run >= 0 for run in counts) or sum(counts) != height * width:
            raise InputError(f"a mask cannot be decoded: its runs do not fill {height}x{width} pixels")
        return coco.frPyObjects({"size": [height, width], "counts": counts}, height, width)
    check_rle({"size": [height, width], "counts": counts})
    return {"size": [height, width], "counts": counts.encode("ascii")}


def read_segmentation(item: Any, height: int, width: int) -> Packed | None:
    """Pack whatever a file has for the mask of an instance in one frame, as files in the wild have it.

    Parameters
    ----------
    item : Any
        A run-length code, packed or not, one polygon, a list of them, or what stands for no mask: None, an empty list.
    height, width : int
        Of the frame.

    Returns
    -------
    Packed or None
        None where the instance is not in the frame.

    Raises
    ------
    InputError
        If it is nothing of this, or a mask of another frame.
    """
    if item is None or item == []:
        return None
    if isinstance(item, list) and not isinstance(item[0], list):
        item = [item]
    if (isinstance(item, list) and are_polygons(item)) or stated_size(item) is not None:
        return pack(item, height, width)
    raise InputError("its mask is neither a run-length code nor polygons")


def are_polygons(item: list[Any]) -> bool:
    """Whether a list is one or more polygons of three points or more, as lists of x, y, x, y, ..."""
    return bool(item) and all(
        isinstance(polygon, list)
        and len(polygon) >= 6
        and len(polygon) % 2 == 0
        and all(type(number) in (int, float) for number in polygon)
        for polygon in item
    )


def stated_size(item: Any) -> tuple[int, int] | None:
    """Return the (height, width) of what looks like a run-length code, else None."""
    if not isinstance(item, dict):
        return None
    size, counts = item.get("size"), item.get("counts")
    is_code = isinstance(counts, list) or (isinstance(counts, str) and counts.isascii())
    if not is_code or not isinstance(size, list) or len(size) != 2:
        return None
    if not all(type(side) is int and 1 <= side <= LARGEST_SIDE for side in size):
        return None
    return size[0], size[1]


def _near(polygons: list[list[float]], height: int, width: int) -> list[list[float]]:
    # Its outline is walked pixel by pixel, in integers of 32 bits.
    for polygon in polygons:
        for numbers, side in ((polygon[::2], width), (polygon[1::2], height)):
            if min(numbers) < -side or max(numbers) > 2 * side:
                raise InputError(f"a polygon leaves the frame of {width}x{height} by more than its size")
    return polygons
