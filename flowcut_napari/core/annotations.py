"""Ground truth as DAVIS has it: a folder of pictures for each sequence, with the number of the object at each pixel."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from flowcut_napari.core.errors import InputError
from flowcut_napari.core.images import list_images

VOID = 255
# Of a sequence of grey pictures some of which are black and white: more or larger ones are shades.
_MOST_IDS, _LARGEST_ID = 32, 100
# What Pillow raises where bytes are not what they should be.
_DAMAGE = (OSError, SyntaxError, ValueError, TypeError, IndexError, KeyError, EOFError, struct.error)


def read_annotation(path: Path, *, black_and_white: bool | None = None) -> np.ndarray:
    """Read an indexed PNG as object ids (H, W) uint8, 0 background, 255 void.

    A picture in black and white (DAVIS-2016) gives ids 0 and 1. Whether a grey one is that, or has ids and void, it
    can tell by itself only if it has other values; see `is_black_and_white` for a whole sequence.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    try:
        with Image.open(path) as image:
            if image.mode == "P":
                return np.asarray(image)
            grey = np.asarray(image.convert("L"))
    except (*_DAMAGE, Image.DecompressionBombError) as error:
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path}: cannot be read as an annotation ({why})") from None
    if black_and_white is None:
        black_and_white = _has_no_ids(grey)
    return (grey > 127).astype(np.uint8) if black_and_white else grey


def is_black_and_white(files: Sequence[Path]) -> bool:
    """Return whether the annotations of a sequence are black and white, 255 the object, and not ids with 255 for void.

    Each tells by itself, but for those with 0 and 255 alone beside others with further values: there ids look like
    ids, few and small. A file that cannot be read has no say.

    Raises
    ------
    InputError
        If nobody could tell: of shades of grey, as smooth edges have them.
    """
    found: set[int] = set()
    shaded: Path | None = None
    has_plain = False
    for path in files:
        try:
            values = _grey_values(path)
        except (*_DAMAGE, Image.DecompressionBombError):  # said when it is wanted
            continue
        between = values - {0, VOID}
        shaded = path if max(between, default=0) > max(found, default=0) else shaded
        found |= between
        has_plain |= not between and VOID in values
    if not found or not has_plain:
        return not found
    if len(found) > _MOST_IDS or max(found) > _LARGEST_ID:
        raise InputError(
            f"{shaded}: has the value {max(found)}, while others of its sequence are black and white; "
            "an annotation has numbers of objects, or black and white alone without smooth edges"
        )
    return False


def _grey_values(path: Path) -> set[int]:
    """Return the values of a picture of shades of grey; nothing of one with a palette, which has ids."""
    with Image.open(path) as image:
        return set() if image.mode == "P" else set(np.unique(np.asarray(image.convert("L"))).tolist())


def _has_no_ids(grey: np.ndarray) -> bool:
    return not ((grey > 0) & (grey < VOID)).any()


def read_annotations(folder: Path) -> dict[str, Path]:
    """Return the annotation files of a folder by the name of their frame (``00000``, ...).

    Raises
    ------
    InputError
        If there is none.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder of annotations")
    files, _ = list_images(folder)
    if not files:
        raise InputError(f"{folder}: no annotations in this folder")
    return {file.stem: file for file in files}
