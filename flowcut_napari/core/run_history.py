"""What has happened in a run so far, gathered event by event."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from flowcut_napari.core.errors import printable
from flowcut_napari.core.run_records import (
    FIGURES,
    LARGEST_STEP,
    Evaluation,
    Preview,
    RunEnd,
    RunNote,
    RunStart,
    SavedCheckpoint,
    checked_rows,
    plain_rows,
    time_of,
)

# More steps are never logged; beyond this many rows every second one goes.
MOST_ROWS = 1 << 20
_FIRST_ROWS = 64
_MOST_ITEMS = 10_000
_MOST_NOTES = 200
# Events between which the usual pause is measured.
_PACE = 64

_Record = TypeVar("_Record", Evaluation, Preview, SavedCheckpoint)


@dataclass(frozen=True, eq=False)
class RunView:
    """A run as far as it was read, which stays as it is while reading goes on.

    Attributes
    ----------
    steps : (N,) int64
        Rising; those that were logged.
    figures : (9, N) float64
        In the order of `FIGURES`; NaN where something was not told.
    evaluations, checkpoints, previews : tuple
        By rising step; the previews of labels are in `labels`.
    start : RunStart or None
        The last one.
    first_time : float or None
        When the run began for the first time.
    end : RunEnd or None
        How it ended; None while it goes on, or if it was killed.
    last_time : float or None
        Of the last event.
    pause : float
        The longest of the last pauses between events, seconds.
    remark : str
        What was not understood, in one line.
    """

    steps: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    figures: np.ndarray = field(default_factory=lambda: np.zeros((len(FIGURES), 0)))
    evaluations: tuple[Evaluation, ...] = ()
    checkpoints: tuple[SavedCheckpoint, ...] = ()
    previews: tuple[Preview, ...] = ()
    labels: Preview | None = None
    notes: tuple[RunNote, ...] = ()
    broken_clips: int = 0
    start: RunStart | None = None
    first_time: float | None = None
    end: RunEnd | None = None
    last_time: float | None = None
    pause: float = 0.0
    events: int = 0
    remark: str = ""

    def figure(self, name: str) -> np.ndarray:
        """Return one of `FIGURES` at all steps, (N,) float64."""
        found: np.ndarray = self.figures[FIGURES.index(name)]
        return found

    @property
    def step(self) -> int:
        """The last step that is known to be done."""
        known = [self.start.resumed_from if self.start else 0]
        known += [int(self.steps[-1])] if len(self.steps) else []
        known += [item[-1].step for item in (self.checkpoints, self.evaluations) if item]
        known += [self.end.step] if self.end is not None and self.end.step is not None else []
        return max(known)

    @property
    def best(self) -> Evaluation | None:
        """The evaluation with the highest AP, the latest of equals."""
        return max(self.evaluations, key=lambda found: (found.score, found.step), default=None)


class RunHistory:
    """Gathers the events of a run.

    A start that goes on from a checkpoint drops what is said of later steps: a run that was killed went further than
    its last checkpoint, and takes those steps again.

    Parameters
    ----------
    most_rows : int
        How many steps are kept at most.
    is_tail : bool
        Whether beyond these the earliest go; else every second one does.
    """

    def __init__(self, most_rows: int = MOST_ROWS, *, is_tail: bool = False) -> None:
        self._most_rows, self._is_tail = most_rows, is_tail
        self.clear()

    def clear(self) -> None:
        """Forget all."""
        self._count = 0
        self._steps = np.zeros(_FIRST_ROWS, np.int64)
        self._figures = np.zeros((len(FIGURES), _FIRST_ROWS))
        self._evaluations: list[Evaluation] = []
        self._checkpoints: list[SavedCheckpoint] = []
        self._previews: list[Preview] = []
        self._labels: Preview | None = None
        self._notes: deque[RunNote] = deque(maxlen=_MOST_NOTES)
        self._broken_clips = 0
        self._start: RunStart | None = None
        self._first_time: float | None = None
        self._end: RunEnd | None = None
        self._last_time: float | None = None
        self._last_text: Any = None
        self._pauses: deque[float] = deque(maxlen=_PACE)
        self._events = 0
        self._unknown: dict[str, int] = {}
        self._refused = 0

    def add(self, events: Iterable[Mapping[str, Any]]) -> None:
        """Take up events, in their order."""
        steps: list[Mapping[str, Any]] = []
        for event in events:
            if event["event"] == "step":
                steps.append(event)
            else:
                self._add_steps(steps)
                self._add(event)
        self._add_steps(steps)

    def view(self, passed_over: int = 0) -> RunView:
        """Return what is known now; `passed_over` lines were no events."""
        return RunView(
            steps=self._steps[: self._count],
            figures=self._figures[:, : self._count],
            evaluations=tuple(self._evaluations),
            checkpoints=tuple(self._checkpoints),
            previews=tuple(self._previews),
            labels=self._labels,
            notes=tuple(self._notes),
            broken_clips=self._broken_clips,
            start=self._start,
            first_time=self._first_time,
            end=self._end,
            last_time=self._last_time,
            pause=max(self._pauses, default=0.0),
            events=self._events,
            remark=_remark(passed_over + self._refused, self._unknown),
        )

    def _add(self, event: Mapping[str, Any]) -> None:
        kind = event["event"]
        self._events += 1
        self._see_time(event.get("time"), is_pause=kind != "start")
        if kind == "evaluation":
            self._put(self._evaluations, Evaluation.of(event))
        elif kind == "checkpoint":
            self._put(self._checkpoints, SavedCheckpoint.of(event))
        elif kind == "preview":
            self._add_preview(Preview.of(event))
        elif kind == "start":
            self._begin(RunStart.of(event))
        elif kind in ("done", "stopped", "error"):
            self._finish(RunEnd.of(kind, event))
        elif kind in ("note", "evaluation_failed", "preview_failed", "broken_clip"):
            self._broken_clips += kind == "broken_clip"
            self._notes.append(RunNote.of(event))
        elif len(self._unknown) < 20 or kind in self._unknown:
            self._unknown[kind] = self._unknown.get(kind, 0) + 1

    def _see_time(self, text: Any, *, is_pause: bool) -> None:
        if text == self._last_text:  # within the same second
            return
        time = time_of(text)
        if time is None:
            return
        if self._last_time is not None and is_pause:
            self._pauses.append(max(0.0, time - self._last_time))
        self._last_text, self._last_time = text, time

    def _add_steps(self, events: list[Mapping[str, Any]]) -> None:
        """Take up steps that follow one another, and empty the list."""
        if not events:
            return
        self._events += len(events)
        if len(events) > _PACE:  # of more pauses nobody asks
            self._see_time(events[-_PACE - 1].get("time"), is_pause=False)
        for event in events[-_PACE:]:
            self._see_time(event.get("time"), is_pause=True)
        before = int(self._steps[self._count - 1]) if self._count else -1
        most = self._start.steps if self._start is not None and self._start.steps is not None else LARGEST_STEP
        table = plain_rows(events, before, most)
        if table is None:
            table, refused = checked_rows(events, before, most)
            self._refused += refused
        events.clear()
        self._put_rows(table)

    def _put_rows(self, table: np.ndarray) -> None:
        """Add rows of a step and its figures each."""
        while len(table):
            if self._count == self._most_rows:
                self._thin()
            if self._count == len(self._steps):
                # Twice as much each time: what is copied in all stays below twice what there is.
                self._keep(slice(0, self._count), min(2 * self._count, max(self._most_rows, self._count + 1)))
            room = min(len(self._steps), self._most_rows) - self._count
            rows, table = table[:room], table[room:]
            place = slice(self._count, self._count + len(rows))
            self._steps[place], self._figures[:, place] = rows[:, 0], rows[:, 1:].T
            self._count += len(rows)

    def _thin(self) -> None:
        rows = slice(self._count // 2, self._count) if self._is_tail else slice(0, self._count, 2)
        self._keep(rows, len(self._steps))

    def _keep(self, rows: slice, size: int) -> None:
        """Keep some rows, in new arrays: a view of the old ones stays what it was."""
        steps, figures = self._steps[rows], self._figures[:, rows]
        self._steps, self._figures = np.zeros(size, np.int64), np.zeros((len(FIGURES), size))
        self._count = len(steps)
        self._steps[: self._count], self._figures[:, : self._count] = steps, figures

    def _put(self, known: list[_Record], record: _Record | None) -> None:
        if record is None or len(known) >= _MOST_ITEMS:
            self._refused += 1
            return
        # The same step again is one that was taken again.
        _drop_after(known, record.step - 1)
        known.append(record)

    def _add_preview(self, preview: Preview | None) -> None:
        if preview is not None and preview.is_labels:
            self._labels = preview
        else:
            self._put(self._previews, preview)

    def _begin(self, start: RunStart) -> None:
        self._start, self._end = start, None
        self._pauses.clear()
        if self._first_time is None or not start.resumed_from:
            self._first_time = start.time
        last = start.resumed_from
        known = int(np.searchsorted(self._steps[: self._count], last, side="right"))
        if known < self._count:
            self._keep(slice(0, known), len(self._steps))
        _drop_after(self._evaluations, last)
        _drop_after(self._checkpoints, last)
        _drop_after(self._previews, last)

    def _finish(self, end: RunEnd) -> None:
        # Of several processes the others fail because the first one did.
        if self._end is not None and self._end.kind == end.kind == "error" and end.rank != self._end.rank:
            return
        self._end = end


def _drop_after(records: list[_Record], step: int) -> None:
    while records and records[-1].step > step:
        records.pop()


def _remark(passed_over: int, unknown: Mapping[str, int]) -> str:
    """Say what was not understood.

    Examples
    --------
    >>> _remark(2, {"profile": 3})
    '2 lines of events.jsonl are no events of a run, and 3 of a kind that is not known here (profile)'
    """
    parts = []
    if passed_over:
        parts.append(f"{passed_over:,} lines of events.jsonl are no events of a run")
    if unknown:
        names = ", ".join(printable(name)[:40] for name in sorted(unknown)[:3])
        parts.append(f"{sum(unknown.values()):,} of a kind that is not known here ({names})")
    return ", and ".join(parts)
