"""The cells that a sweep has measured, a line each: what lets it go on where it was ended."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flowcut_napari.core.errors import InputError, OutputError
from flowcut_napari.core.ground_truth import VideoTruth

JOURNAL = "cells.jsonl"
# Raised when the same masks give other numbers than before.
_VERSION = 2


def truth_fingerprint(truth: VideoTruth | None, indices: Sequence[int], places: Mapping[int, int]) -> str:
    """Return a short hash of what a cell depends on besides the video and the setting."""
    digest = hashlib.sha256(json.dumps([_VERSION, list(indices), sorted(places.items())]).encode())
    if truth is not None:
        # However its path was written.
        digest.update(f"{os.path.realpath(truth.place)}{truth.changed()}".encode())
    return digest.hexdigest()


def cell_key(basis: str, about: str) -> str:
    """Return the key of a cell: of its masks (see `masks_basis`) and what they are measured by."""
    return hashlib.sha256(f"{basis}{about}".encode()).hexdigest()[:32]


def read_journal(path: Path) -> tuple[dict[str, dict[str, Any]], int]:
    """Read what was measured before, and count the lines that are damaged.

    One that was cut off when the process ended is as good as none: its cell is measured again.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    known: dict[str, dict[str, Any]] = {}
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    damaged = 0
    for line in lines:
        try:
            item = json.loads(line)
            key, measures = item["key"], dict(item["measures"])
            if not isinstance(key, str) or not all(_is_measure(value) for value in measures.values()):
                raise ValueError
        except (ValueError, KeyError, TypeError, RecursionError):
            damaged += 1
        else:
            known[key] = measures
    return known, damaged


def _is_measure(value: object) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value is None or (is_number and math.isfinite(value))  # type: ignore[arg-type]  # a number


def append_cell(path: Path, key: str, measures: Mapping[str, float | None]) -> None:
    """Write a cell at the end.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    try:
        with path.open("a+b") as stream:
            # What a process left half written must not swallow the line after it.
            stream.seek(0, os.SEEK_END)
            if stream.tell():
                stream.seek(-1, os.SEEK_END)
                if stream.read(1) != b"\n":
                    stream.write(b"\n")
            stream.write(json.dumps({"key": key, "measures": dict(measures)}).encode() + b"\n")
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error})") from None
