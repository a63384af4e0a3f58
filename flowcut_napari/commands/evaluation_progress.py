"""How far an evaluation is: a bar for people, or lines of JSON for a program that follows it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.progress import Progress, TaskID

from flowcut_napari.commands import console
from flowcut_napari.core.errors import InputError

# Lines a second, at most: there may be 100,000 videos.
_LINES = 10


class Following:
    """Says how far it is, and what came of it.

    Parameters
    ----------
    what : str
        What is counted, in the singular.
    as_json, as_events : bool
        Whether the result is one JSON document, or the last of many lines that are a JSON object each.

    Raises
    ------
    InputError
        If it is to be both.
    """

    def __init__(self, what: str, as_json: bool, as_events: bool) -> None:
        if as_json and as_events:
            raise InputError("--json and --events: give one of them; with --events the last line is the document")
        self._what = what
        self._as_events = as_events
        self._done = 0
        self._total: int | None = None
        self._told, self._last = 0.0, 0
        self._bar: tuple[Progress, TaskID] | None = None

    @contextmanager
    def begin(self, total: int | None) -> Iterator[None]:
        """Follow what is done within this block; `total` may be unknown."""
        self._total = total
        self._tell()
        with console.progress_bar(f"{self._what}s/s") as progress:
            self._bar = progress, progress.add_task("evaluate", total=total)
            yield
        if self._done != self._last:
            self._tell()

    def advance(self, _: object) -> None:
        """Say that one more is done."""
        self._done += 1
        if self._bar is not None:
            self._bar[0].advance(self._bar[1])
        if time.monotonic() - self._told >= 1 / _LINES:
            self._tell()

    def end(self, document: dict[str, Any]) -> None:
        """Print what came of it."""
        if self._as_events:
            _print_line({"event": "done", **document})
        else:
            console.print_json(document)

    def _tell(self) -> None:
        if self._as_events:
            self._told, self._last = time.monotonic(), self._done
            _print_line({"event": "progress", "done": self._done, "total": self._total})


def _print_line(content: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(content, allow_nan=False) + "\n")
    sys.stdout.flush()
