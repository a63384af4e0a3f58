"""Binary masks: IoU, and COCO run-length encoding with text counts as JSON needs them (pycocotools)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import numpy as np
from pycocotools import mask as coco

from flowcut_napari.core.errors import InputError


class Rle(TypedDict):
    """A compressed mask: ``size`` is [height, width], ``counts`` the runs in column-major order, as ASCII."""

    size: list[int]
    counts: str


def mask_iou(first: np.ndarray, second: np.ndarray) -> float:
    """Return the IoU of two masks of one shape; 0 where both are empty."""
    union = int((first | second).sum())
    return int((first & second).sum()) / union if union else 0.0


def encode_rle(mask: np.ndarray) -> Rle:
    """Encode a mask (H, W) bool."""
    encoded = coco.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": [int(side) for side in encoded["size"]], "counts": encoded["counts"].decode("ascii")}


def decode_rle(rle: Rle) -> np.ndarray:
    """Decode to a mask (H, W) bool.

    Raises
    ------
    InputError
        If the runs do not fill the stated size.
    """
    try:
        mask = coco.decode({"size": rle["size"], "counts": rle["counts"].encode("ascii")})
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise InputError(f"a mask cannot be decoded: {error}") from None
    # pycocotools does not count: runs that stop short leave the rest of its memory as it was.
    if encode_rle(mask)["counts"] != rle["counts"]:
        raise InputError(f"a mask cannot be decoded: its runs do not fill {rle['size'][0]}x{rle['size'][1]} pixels")
    return mask.astype(bool)


def rle_area(rle: Rle) -> int:
    """Return the number of pixels."""
    return int(coco.area(_binary(rle)))


def rle_box(rle: Rle) -> list[float]:
    """Return the bounding box [x, y, width, height] in pixels."""
    return [float(number) for number in coco.toBbox(_binary(rle))]


def rle_iou_matrix(first: Sequence[Rle], second: Sequence[Rle]) -> np.ndarray:
    """Return the IoU of every mask of `first` with every mask of `second`, (len(first), len(second)) float64."""
    if not first or not second:
        return np.zeros((len(first), len(second)))
    return np.asarray(coco.iou([_binary(r) for r in first], [_binary(r) for r in second], [0] * len(second)))


def _binary(rle: Rle) -> dict[str, object]:
    return {"size": rle["size"], "counts": rle["counts"].encode("ascii")}
