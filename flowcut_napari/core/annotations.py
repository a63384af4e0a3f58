"""Ground truth as DAVIS has it: a folder of pictures for each sequence, with the number of the object at each pixel."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from PIL import Image

from flowcut_napari.core.errors import InputError
from flowcut_napari.core.images import list_images

VOID = 255
# What Pillow raises where bytes are not what they should be.
_DAMAGE = (OSError, SyntaxError, ValueError, TypeError, IndexError, KeyError, EOFError, struct.error)


def read_annotation(path: Path) -> np.ndarray:
    """Read an indexed PNG as object ids (H, W) uint8, 0 background, 255 void.

    A picture in black and white (DAVIS-2016) gives ids 0 and 1.

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
    return (grey > 127).astype(np.uint8) if set(np.unique(grey)) <= {0, 255} else grey


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
