"""JSON documents that grow on disk: what was added stays whole whatever happens to what comes after."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path


class GrowingList:
    """A JSON document that is one array, or an object that has one, written item by item.

    Parameters
    ----------
    path : Path
        Made anew.
    head : str
        What stands before the array, such as ``{"videos":``.

    Raises
    ------
    OSError
        If it cannot be written; so do all methods.
    """

    def __init__(self, path: Path, head: str = "") -> None:
        self.count = 0
        # Without a buffer: what could not be written must not come later.
        self._stream = path.open("wb", buffering=0)
        self._write(f"{head}[\n".encode())

    def mark(self) -> tuple[int, int]:
        """Return where the document stands, for `cut`."""
        return self._stream.tell(), self.count

    def cut(self, mark: tuple[int, int]) -> None:
        """Take away everything that was added since `mark`."""
        place, self.count = mark
        self._stream.truncate(place)
        self._stream.seek(place)

    def add(self, items: Iterable[str]) -> None:
        """Add items that are JSON already."""
        for item in items:
            self._write(((",\n" if self.count else "") + item).encode())
            self.count += 1

    def finish(self, tail: str = "") -> None:
        """Close the array, write what stands behind it, such as ``}``, and see the document on the disk."""
        self._write(f"\n]{tail}\n".encode())
        os.fsync(self._stream.fileno())
        self._stream.close()

    def close(self) -> None:
        """Let go of the file, finished or not."""
        with contextlib.suppress(OSError):
            self._stream.close()

    def _write(self, content: bytes) -> None:
        rest = memoryview(content)
        while rest:
            # A disk that is almost full takes a part; the next attempt says why.
            rest = rest[self._stream.write(rest) or 0 :]
