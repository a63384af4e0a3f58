"""Binary masks: IoU, and COCO run-length encoding with text counts as JSON needs them (pycocotools)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pycocotools import mask as coco
from pydantic import ConfigDict, with_config
from typing_extensions import TypedDict

from flowcut_napari.core.errors import InputError

# Of a picture; what is far beyond any camera is damage, and takes memory before it is found out.
LARGEST_SIDE = 1 << 16


@with_config(ConfigDict(strict=True, extra="forbid"))
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


def check_rle(rle: Rle) -> int:
    """See that the runs of a mask fill its size exactly, and return its area in pixels.

    pycocotools does not look: with runs that go on for too long it reads memory that is not the mask's.

    Raises
    ------
    InputError
        If they do not.
    """
    height, width = rle["size"]
    runs = _runs(rle["counts"])
    if runs.size == 0 or runs.min() < 0 or int(runs.sum()) != height * width:
        raise InputError(f"a mask cannot be decoded: its runs do not fill {height}x{width} pixels")
    return int(runs[1::2].sum())


def _runs(counts: str) -> np.ndarray:
    """Return the lengths of the runs, background first, of a compressed mask.

    Each is a number in digits of five bits, lowest first, the sixth bit saying that more follow; from the fourth on
    it is the difference to the one before the last.
    """
    codes = np.frombuffer(counts.encode("ascii", "replace"), dtype=np.uint8).astype(np.int64) - 48
    if codes.size == 0:
        return codes
    last = (codes & 0x20) == 0
    ends = np.flatnonzero(last)
    starts = np.concatenate(([0], ends[:-1] + 1))
    if codes.min() < 0 or codes.max() > 63 or not last[-1] or (ends - starts).max() > 6:
        raise InputError("a mask cannot be decoded: its runs are no run-length code")
    digit = np.arange(codes.size) - np.repeat(starts, ends - starts + 1)
    values = np.add.reduceat((codes & 0x1F) << (5 * digit), starts)
    values -= np.where(codes[ends] & 0x10, 1 << (5 * (ends - starts + 1)), 0)
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values


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
