"""Reading ``events.jsonl`` of a run while it is written: each line once, whatever else the file may hold.

The file is the truth about a run, but not to be trusted: a run that is killed leaves half a line, a full disk holes of
zeros, and people restore, cut and delete files while they are watched.
"""

from __future__ import annotations

import json
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from flowcut_napari.core.errors import printable

EVENTS, LOG, STOP = "events.jsonl", "log.txt", "stop"
# Of a line; the longest event, a start with all parameters, has some thousand bytes.
LONGEST_LINE = 1 << 20
# Read at a time: some hundred events, so that whoever else wants to work has to wait for milliseconds.
PIECE = 64 << 10
# Bytes before the place reached that are compared, to notice that the file is another one.
_SEAM = 64
# Such lines are all but a few of a long file; where only the last are wanted, the others need not be understood.
_STEP = b'{"event": "step"'


@dataclass(frozen=True)
class EventBatch:
    """What is new in the file.

    Attributes
    ----------
    events : tuple of dict
        Each has a text under ``event``; nothing else in it is checked.
    is_anew : bool
        Whether it is another file than before, read from its start: what was known is of no account any more.
    is_more : bool
        Whether there is more to be read at once.
    problem : str
        Why it cannot be read, in one line; empty if it can, or is not there.
    """

    events: tuple[dict[str, Any], ...] = ()
    is_anew: bool = False
    is_more: bool = False
    problem: str = ""


class EventFollower:
    """Reads the events of a run as they are written; a bounded piece with each `poll`.

    Parameters
    ----------
    run : Path
        The folder of the run.
    last_steps : int, optional
        Of the steps in each piece only so many are wanted, the last ones.

    Attributes
    ----------
    passed_over : int
        Lines that are no events.
    changed_at : float
        When the file was last written to, in seconds since 1970; 0 if it was never seen.
    """

    def __init__(self, run: Path, last_steps: int | None = None) -> None:
        self.path = run / EVENTS
        self.passed_over = 0
        self.changed_at = 0.0
        self._last_steps = last_steps
        self._identity: tuple[int, int] | None
        self._seam: bytes
        self._half: bytes
        self._is_skipping: bool
        self._forget()

    @property
    def is_there(self) -> bool:
        """Whether the file was there when it was last looked for."""
        return self._identity is not None

    def poll(self, most_bytes: int = PIECE) -> EventBatch:
        """Read on for at most so many bytes; never raises."""
        was_there = self._identity is not None
        try:
            # To open a pipe would wait for ever.
            if not stat.S_ISREG(os.stat(self.path).st_mode):
                return self._lost(was_there, f"{self.path}: not a regular file")
            with open(self.path, "rb", buffering=0) as stream:
                return self._read(stream, was_there, most_bytes)
        except FileNotFoundError:
            return self._lost(was_there, "")
        except (OSError, ValueError) as error:
            return self._lost(was_there, f"{self.path}: cannot be read ({getattr(error, 'strerror', None) or error})")

    def _read(self, stream: Any, was_there: bool, most_bytes: int) -> EventBatch:
        about = os.fstat(stream.fileno())
        identity = (about.st_dev, about.st_ino)
        is_anew = was_there and not (identity == self._identity and self._goes_on(stream, about))
        if is_anew:
            self._forget()
        self._identity, self.changed_at = identity, about.st_mtime
        self._stamp = about.st_mtime_ns
        stream.seek(self._place)
        piece = stream.read(min(most_bytes, max(0, about.st_size - self._place)))
        self._place += len(piece)
        if piece:
            self._seam = (self._seam + piece)[-_SEAM:]
        return EventBatch(tuple(self._events(piece)), is_anew, is_more=self._place < about.st_size)

    def _goes_on(self, stream: BinaryIO, about: os.stat_result) -> bool:
        """Whether the file still holds what was read; one that was written anew may be as long as the other."""
        if about.st_size < self._place:
            return False
        if about.st_size == self._place and about.st_mtime_ns == self._stamp:
            return True
        stream.seek(self._place - len(self._seam))
        return stream.read(len(self._seam)) == self._seam

    def _events(self, piece: bytes) -> list[dict[str, Any]]:
        *lines, rest = piece.split(b"\n")
        if lines:
            lines[0] = self._half + lines[0]
            if self._is_skipping:  # the end of a line that was given up
                del lines[0]
            self._half, self._is_skipping = b"", False
        if not self._is_skipping:
            self._half += rest
            if len(self._half) > LONGEST_LINE:
                self._half, self._is_skipping = b"", True
                self.passed_over += 1
        if max(map(len, lines), default=0) > LONGEST_LINE:
            self.passed_over += sum(len(line) > LONGEST_LINE for line in lines)
            lines = [line for line in lines if len(line) <= LONGEST_LINE]
        if self._last_steps is not None:
            lines = _without_early_steps(lines, self._last_steps)
        found = _events_of(lines)
        self.passed_over += sum(event is None for event in found)
        return [event for event in found if event is not None]

    def _lost(self, was_there: bool, problem: str) -> EventBatch:
        self._forget()
        return EventBatch(is_anew=was_there, problem=printable(problem))

    def _forget(self) -> None:
        self.passed_over = 0
        self._identity = None
        self._stamp = 0
        self._place = 0
        self._seam = self._half = b""
        self._is_skipping = False


def _events_of(lines: list[bytes]) -> list[dict[str, Any] | None]:
    """Return the event of each line that is not empty; None where it is none."""
    lines = [line for line in lines if line.strip()]
    try:
        # All at once is quicker by half. No text goes over the end of a line, so each line is an item.
        found = json.loads((b"[" + b",\n".join(lines) + b"]").decode("utf-8"))
    except (ValueError, RecursionError):
        found = []
    if len(found) != len(lines):
        found = [_parsed(line) for line in lines]
    return [item if type(item) is dict and type(item.get("event")) is str else None for item in found]


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError):
        return None


def _without_early_steps(lines: list[bytes], last: int) -> list[bytes]:
    steps = [place for place, line in enumerate(lines) if line.startswith(_STEP)]
    dropped = set(steps[: max(0, len(steps) - last)])
    return [line for place, line in enumerate(lines) if place not in dropped]


def last_lines(path: Path, count: int = 200, most_bytes: int = 32 << 10) -> tuple[str, ...]:
    """Return the last lines of a text file, each printable and of bounded length; none if it cannot be read."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return ()
        with open(path, "rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, size - most_bytes))
            text = stream.read(most_bytes).decode("utf-8", errors="replace")
    except (OSError, ValueError):
        return ()
    lines = text.split("\n")
    if size > most_bytes:
        lines = lines[1:] or lines
    found = [line.rstrip("\r")[:1000] for line in lines if line.strip()][-count:]
    return tuple(line if line.isprintable() else printable(line) for line in found)
