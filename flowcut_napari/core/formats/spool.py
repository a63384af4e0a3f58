"""Large JSON files, written item by item: memory does not grow with the number of items."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path
from typing import IO


class Spool:
    """The items of one JSON array, kept in a file of their own until the document is put together."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.count = 0
        self._stream = path.open("w", encoding="utf-8")

    def add(self, item: str) -> None:
        """Add an item that is JSON already."""
        self._stream.write(",\n" + item if self.count else item)
        self.count += 1

    def move_into(self, target: IO[str]) -> None:
        """Write ``[items]`` to an open text file, and remove this one."""
        self._stream.close()
        target.write("[\n" if self.count else "[")
        with self.path.open(encoding="utf-8") as source:
            shutil.copyfileobj(source, target, 1 << 20)
        target.write("\n]" if self.count else "]")
        self.path.unlink()

    def close(self) -> None:
        """Let go of the file; what is still in it does not matter any more."""
        with contextlib.suppress(OSError):
            self._stream.close()


def write_document(path: Path, parts: dict[str, str | Spool]) -> None:
    """Write one JSON object whose values are JSON already or spools, in the given order, and see it on the disk."""
    with path.open("w", encoding="utf-8") as stream:
        for place, (name, value) in enumerate(parts.items()):
            stream.write(("{" if place == 0 else ",\n") + f'"{name}":')
            if isinstance(value, Spool):
                value.move_into(stream)
            else:
                stream.write(value)
        stream.write("}\n")
        stream.flush()
        os.fsync(stream.fileno())
