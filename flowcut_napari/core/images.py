"""Single pictures: any common image file as RGB uint8, and the images of a folder in natural order."""

from __future__ import annotations

import re
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from flowcut_napari.core.errors import InputError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm"})
_FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "PPM")
_ORIENTATION = 0x0112  # of EXIF
_TURNED = range(2, 9)
# Bytes at the end of a file that hold the mark with which a JPEG or PNG closes.
_TAIL = 64
_SIDEWAYS = range(5, 9)
# What decoders raise when bytes are not what they should be.
_DAMAGE = (
    *(OSError, SyntaxError, ValueError, TypeError, IndexError, KeyError, EOFError),
    *(struct.error, Image.DecompressionBombError),
)
_SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N", "I")


def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key under which ``frame2`` comes before ``frame10``."""
    parts = re.split(r"([0-9]+)", name.casefold())
    # Every second part is a number; the others may be empty.
    return tuple((0, int(part), part) if place % 2 else (1, 0, part) for place, part in enumerate(parts) if part)


def list_images(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return (images in natural order, other files) of a folder; hidden files and folders are passed over.

    Raises
    ------
    InputError
        If an image is a link to a file that is not there.
    """
    images: list[Path] = []
    others: list[Path] = []
    for entry in folder.iterdir():
        if entry.name.startswith("."):
            continue
        is_image = entry.suffix.lower() in IMAGE_SUFFIXES
        if is_image and entry.is_symlink() and not entry.exists():
            # As git-annex leaves them. Without this frame all later ones would move up by one.
            raise InputError(f"{entry}: this frame is a link to a file that is not there; fetch it or remove the link")
        if entry.is_file():
            (images if is_image else others).append(entry)
    return sorted(images, key=lambda path: natural_key(path.name)), sorted(others)


def _open(path: Path) -> Image.Image:
    try:
        # Named, because Pillow goes by the contents: a PostScript file called .png would be run by Ghostscript.
        return Image.open(path, formats=_FORMATS)
    except FileNotFoundError:
        raise InputError(f"{path}: no such image") from None
    except UnidentifiedImageError:
        raise InputError(f"{path}: not a readable image (unknown format); remove or replace it") from None
    except _DAMAGE as error:
        raise InputError(f"{path}: not a readable image ({_brief(error)}); remove or replace it") from None


def image_size(path: Path) -> tuple[int, int]:
    """Return (height, width) as the picture is shown, from the header alone where the format allows it.

    Raises
    ------
    InputError
        If the file is missing or no image.
    """
    return picture_header(path)[0]


def picture_header(path: Path) -> tuple[tuple[int, int], bool]:
    """Return (height, width) as the picture is shown, and whether that takes turning or mirroring what is stored.

    Raises
    ------
    InputError
        If the file is missing or no image.
    """
    with _without_warnings(), _open(path) as image:
        width, height = image.size
        # Only these formats turn pictures by a flag, and asking a PNG for it would decode the whole of it.
        if image.format not in ("JPEG", "MPO", "TIFF", "WEBP"):
            return (height, width), False
        try:
            orientation = image.getexif().get(_ORIENTATION, 1)
        except _DAMAGE as error:
            raise InputError(f"{path}: damaged image ({_brief(error)}); replace it or leave it out") from None
    return (width, height) if orientation in _SIDEWAYS else (height, width), orientation in _TURNED


def check_whole(path: Path) -> None:
    """See that a picture has its end; only where that is in doubt is it decoded.

    Raises
    ------
    InputError
        If it is cut off or otherwise damaged.
    """
    with path.open("rb") as stream:
        stream.seek(max(0, path.stat().st_size - _TAIL))
        tail = stream.read()
    if not any(mark in tail for mark in (b"\xff\xd9", b"IEND")):
        read_rgb(path)


def read_rgb(path: Path) -> np.ndarray:
    """Read an image file as (H, W, 3) uint8 RGB.

    Grey becomes three equal channels, a palette its colours, alpha is dropped, EXIF orientation is applied.
    16-bit values are divided by 257, the fixed scale of the format: one that followed the contents of each
    picture would make a video flicker.

    Raises
    ------
    InputError
        If the file is missing, truncated, no image, or holds values without a fixed range (floating point).
    """
    with _without_warnings(), _open(path) as image:
        try:
            if image.format == "TIFF" and getattr(image, "n_frames", 1) > 1:
                raise InputError(f"{path}: a TIFF of several pages; give one file a frame")
            image.load()
            turns = image.format in ("JPEG", "MPO", "TIFF", "WEBP")
            upright = ImageOps.exif_transpose(image) if turns else image
            if upright.mode in _SIXTEEN_BIT:
                grey = _scale_sixteen_bit(np.asarray(upright, dtype=np.int64), path)
                return np.repeat(grey[..., None], 3, axis=2)
            if upright.mode == "F":
                raise InputError(f"{path}: floating-point image without a fixed range; convert it to 8 or 16 bit")
            return np.asarray(upright.convert("RGB"))
        except InputError:
            raise
        except _DAMAGE as error:
            raise InputError(f"{path}: damaged image ({_brief(error)}); replace it or leave it out") from None


def _scale_sixteen_bit(values: np.ndarray, path: Path) -> np.ndarray:
    if values.min() < 0 or values.max() > 65535:
        raise InputError(f"{path}: 32-bit image; convert it to 8 or 16 bit")
    return ((values + 128) // 257).astype(np.uint8)


@contextmanager
def _without_warnings() -> Iterator[None]:
    # Pillow warns of odd tags and of large pictures; what matters is whether the pixels come.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _brief(error: Exception) -> str:
    text = str(error) or type(error).__name__
    return text.splitlines()[0][:120]
