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
    """Return whether the annotations of a sequence are black and white: grey, and no id in any of them.

    Raises
    ------
    InputError
        If one cannot be read.
    """
    return all(_is_grey(path) and _has_no_ids(read_annotation(path, black_and_white=False)) for path in files)


def _is_grey(path: Path) -> bool:
    try:
        with Image.open(path) as image:
            return image.mode != "P"
    except (*_DAMAGE, Image.DecompressionBombError):  # said by what reads it
        return True


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
