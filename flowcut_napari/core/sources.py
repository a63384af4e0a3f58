"""Which masks files there are, and which of their videos go into which split."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path

from flowcut_napari.core.errors import InputError
from flowcut_napari.core.images import natural_key
from flowcut_napari.core.store import SUFFIX


def find_masks(addresses: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """Find the masks files at addresses, folders or files, in natural order of their names.

    Raises
    ------
    InputError
        If there is none at an address, or two are of one video.
    """
    found: dict[str, Path] = {}
    for address in addresses:
        for file in _masks_at(os.fspath(address)):
            other = found.setdefault(unicodedata.normalize("NFC", name_of(file)).casefold(), file)
            if other is not file:
                raise InputError(f"{other} and {file} are both the masks of {name_of(file)}; leave one out")
    return sorted(found.values(), key=lambda file: natural_key(name_of(file)))


def _masks_at(address: str) -> list[Path]:
    if not address.strip():
        raise InputError("an empty address is no folder of masks; give . for the one you are in")
    path = Path(address)
    try:
        if path.is_dir():
            names = sorted(name for name in os.listdir(path) if name.endswith(SUFFIX) and not name.startswith("."))
            if not names:
                raise InputError(f"{path}: no masks in this folder (no NAME{SUFFIX}); make them by flowcut masks")
            return [path / name for name in names]
        if path.is_file() and path.name.endswith(SUFFIX):
            return [path]
        what = "no masks file" if path.exists() else "no such file or folder"
    except (OSError, ValueError) as error:  # too long, not to be read, or not allowed in a path
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{address[:80]}: cannot be looked into ({getattr(error, 'strerror', None) or error})"
        ) from None
    raise InputError(f"{path}: {what}; give a folder of masks or NAME{SUFFIX}")


def split_by_video(names: Iterable[str], shares: Mapping[str, float]) -> dict[str, list[str]]:
    """Share out videos, and with each all of its clips, by a fixed order that looks random.

    Parameters
    ----------
    names : iterable of str
    shares : mapping of str to float
        Part of the videos, by the name of the split; they add up to 1.

    Returns
    -------
    dict of str to list of str
        The videos of each split. The same names give the same split.

    Raises
    ------
    InputError
        If the shares do not add up to 1, or a split would be empty.
    """
    if not shares or not all(share > 0 for share in shares.values()) or not abs(sum(shares.values()) - 1) < 1e-6:
        raise InputError(f"the shares of a split are above 0 and add up to 1, not {dict(shares)}")
    order = sorted(names, key=lambda name: hashlib.sha256(os.fsencode(name)).digest())
    splits = {}
    start, reached = 0, 0.0
    for name, share in shares.items():
        reached += share
        end = round(reached * len(order))
        if end == start:
            raise InputError(f"too few videos to split ({len(order)}): none is left for {name}")
        splits[name] = sorted(order[start:end], key=natural_key)
        start = end
    return splits


def parse_split(text: str) -> dict[str, float]:
    """Turn ``train=0.9,val=0.1`` into a mapping.

    Raises
    ------
    InputError
        For anything else.
    """
    shares: dict[str, float] = {}
    for part in text.split(","):
        name, separator, share = (piece.strip() for piece in part.partition("="))
        known = {other.casefold() for other in shares}
        if not separator or not re.fullmatch(r"[A-Za-z0-9_-]{1,100}", name) or name.casefold() in known:
            raise InputError(f"--split {text[:80]!r}: give NAME=SHARE,..., such as train=0.9,val=0.1")
        try:
            shares[name] = float(share)
        except ValueError:
            raise InputError(f"--split {text}: {share!r} is no share of the videos, such as 0.9") from None
    return shares


def name_of(file: Path) -> str:
    """Return the name of the video whose masks a file holds."""
    return file.name.removesuffix(SUFFIX)
