"""What the events of a run say, as records: every field is looked at before it is believed."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from operator import ge, itemgetter
from typing import Any, Literal

import numpy as np

from flowcut_napari.core.errors import printable
from flowcut_napari.core.video import is_inner_path

# Of a row, in the order of its columns; what they mean is said in docs/training.md.
FIGURES = (
    *("loss", "classification", "mask", "dice", "gradient_norm", "lr"),
    *("seconds", "data_wait", "memory_gib"),
)
# Of an evaluation, 0 to 1, those of YouTube-VIS.
STATS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
LARGEST_STEP = 10**9
_LONGEST_TEXT = 2000
_LONGEST_VALUE = 200
_LONGEST_PATH = 4096
_LARGEST_PID = 2**31 - 1

EndKind = Literal["done", "stopped", "error"]


@dataclass(frozen=True)
class RunStart:
    """A start of a run, the first or one that goes on; what its event does not tell is None or empty.

    Attributes
    ----------
    time : float
        Seconds since 1970.
    pid, host, process_started : int, str, float
        Of the process that writes the events, and when the system started that.
    dataset_path : str
        As it was written, to be opened; `dataset` is to be shown.
    resumed_from : int
        Steps that were done already.
    steps : int or None
        Steps that are to be done in all.
    parameters : mapping of str to str
        Such as ``optimizer.lr`` to ``1e-06``.
    """

    time: float | None = None
    pid: int | None = None
    host: str = ""
    process_started: float | None = None
    world: int = 1
    device: str = ""
    precision: str = ""
    dataset: str = ""
    dataset_path: str = ""
    clips: int | None = None
    stills: int | None = None
    trained_parameters: int | None = None
    resumed_from: int = 0
    steps: int | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, event: Mapping[str, Any]) -> RunStart:
        """Read the event."""
        return cls(
            time=time_of(event.get("time")),
            pid=whole(event.get("pid"), 1, _LARGEST_PID),
            host=text_of(event.get("host"))[:_LONGEST_VALUE],
            process_started=_finite(event.get("process_started")),
            world=whole(event.get("world"), 1, 10**6) or 1,
            device=text_of(event.get("device"))[:_LONGEST_VALUE],
            precision=text_of(event.get("precision"))[:_LONGEST_VALUE],
            dataset=text_of(event.get("dataset")),
            dataset_path=path if isinstance(path := event.get("dataset"), str) and len(path) <= _LONGEST_PATH else "",
            clips=whole(event.get("clips")),
            stills=whole(event.get("stills")),
            trained_parameters=whole(event.get("trained_parameters"), most=10**15),
            resumed_from=whole(event.get("resumed_from")) or 0,
            steps=whole(event.get("steps"), 1),
            parameters=_flat(event.get("parameters")),
        )


@dataclass(frozen=True)
class Evaluation:
    """An evaluation at a step; `stats` has those of `STATS` that are defined, 0 to 1."""

    step: int
    clips: int | None
    seconds: float | None
    stats: Mapping[str, float]

    @classmethod
    def of(cls, event: Mapping[str, Any]) -> Evaluation | None:
        """Read the event; None if it has no step or no figure."""
        step, stats = whole(event.get("step")), event.get("stats")
        if step is None or not isinstance(stats, dict):
            return None
        found = {name: value for name in STATS if (value := _finite(stats.get(name))) is not None and 0 <= value <= 1}
        return cls(step, whole(event.get("clips")), _finite(event.get("seconds")), found) if found else None

    @property
    def score(self) -> float:
        """What runs are judged by."""
        return self.stats.get("AP", -1.0)


@dataclass(frozen=True)
class SavedCheckpoint:
    """A checkpoint that was written; it may have been removed since."""

    step: int
    path: str

    @classmethod
    def of(cls, event: Mapping[str, Any]) -> SavedCheckpoint | None:
        """Read the event; None if it has no step."""
        step = whole(event.get("step"))
        return None if step is None else cls(step, text_of(event.get("path")))


@dataclass(frozen=True)
class Preview:
    """A picture of what is predicted at a step for a few clips, or of their labels; `path` is inside the run."""

    step: int
    path: str
    is_labels: bool

    @classmethod
    def of(cls, event: Mapping[str, Any]) -> Preview | None:
        """Read the event; None if it has no step, or a path that leads out of the run."""
        step, path = whole(event.get("step")), event.get("path")
        if step is None or not isinstance(path, str) or len(path) > 400 or not is_inner_path(path):
            return None
        return cls(step, path, event.get("labels") is True)


@dataclass(frozen=True)
class RunNote:
    """Something that people should read."""

    kind: str
    text: str
    step: int | None

    @classmethod
    def of(cls, event: Mapping[str, Any]) -> RunNote:
        """Read an event of any kind that has a text or a reason."""
        text = text_of(event.get("text")) or text_of(event.get("reason"))
        return cls(printable(event["event"])[:40], text, whole(event.get("step")))


@dataclass(frozen=True)
class RunEnd:
    """How a run ended by itself; `rank` is that of the process that says so."""

    kind: EndKind
    time: float | None
    step: int | None
    reason: str
    rank: int
    seconds: float | None
    best: str

    @classmethod
    def of(cls, kind: EndKind, event: Mapping[str, Any]) -> RunEnd:
        """Read the event."""
        return cls(
            kind,
            time_of(event.get("time")),
            whole(event.get("step")),
            text_of(event.get("reason")),
            whole(event.get("rank")) or 0,
            _finite(event.get("seconds")),
            text_of(event.get("best")),
        )


def figure_of(value: Any) -> float:
    """Return a figure, which may be a text such as ``nan``; NaN for what is none.

    Examples
    --------
    >>> figure_of(0.5), figure_of("inf"), figure_of(True), figure_of("much")
    (0.5, inf, nan, nan)
    """
    if type(value) is float:
        return value
    if type(value) is int:
        # What a float cannot hold is no figure of a training.
        return float(value) if abs(value) < 1 << 1000 else math.nan
    return {"inf": math.inf, "-inf": -math.inf}.get(value, math.nan) if isinstance(value, str) else math.nan


def whole(value: Any, least: int = 0, most: int = LARGEST_STEP) -> int | None:
    """Return a whole number within bounds; None for anything else."""
    return value if type(value) is int and least <= value <= most else None


def text_of(value: Any) -> str:
    """Return a text as one printable line of bounded length; nothing for what is none."""
    return printable(value[:_LONGEST_TEXT]).strip() if isinstance(value, str) else ""


def time_of(value: Any) -> float | None:
    """Return an ISO 8601 time in seconds since 1970; None for what is none.

    Examples
    --------
    >>> time_of("1970-01-01T00:01:00Z"), time_of("soon")
    (60.0, None)
    """
    if not isinstance(value, str) or len(value) > 40:
        return None
    try:
        found = datetime.fromisoformat(value)
        # Without a zone it would be that of this machine, which need not be that of the run.
        return found.timestamp() if found.tzinfo is not None else None
    except (ValueError, OverflowError, OSError):
        return None


def _finite(value: Any) -> float | None:
    found = figure_of(value)
    return found if math.isfinite(found) else None


def _flat(parameters: Any) -> dict[str, str]:
    """Return parameters by section and name, as text."""
    found: dict[str, str] = {}
    for section, values in parameters.items() if isinstance(parameters, dict) else ():
        for name, value in values.items() if isinstance(values, dict) else ():
            text = value if isinstance(value, str) else json.dumps(value)
            found[text_of(f"{section}.{name}")[:_LONGEST_VALUE]] = text_of(text)[:_LONGEST_VALUE]
    return found


_fields = itemgetter("step", *FIGURES)


def plain_rows(events: list[Mapping[str, Any]], before: int, most: int) -> np.ndarray | None:
    """Return the step and the figures of events as the engine writes them, (N, 10) float64.

    Steps have to rise from above `before` to at most `most`. None if a single event is anything else; this is for the
    thousands that are not, for which `figure_of` takes five times as long.
    """
    try:
        rows = list(map(_fields, events))
    except KeyError:
        return None
    columns = list(zip(*rows, strict=True))
    if set(map(type, columns[0])) != {int} or set(map(type, chain.from_iterable(columns[1:]))) != {float}:
        return None
    steps = columns[0]
    if steps[0] <= before or max(steps) > most or any(map(ge, steps, steps[1:])):
        return None
    return np.array(rows)


def checked_rows(events: list[Mapping[str, Any]], before: int, most: int) -> tuple[np.ndarray, int]:
    """Return rows as `plain_rows` does of events whatever they hold, and how many were no steps that rise."""
    rows: list[list[float]] = []
    for event in events:
        if (step := whole(event.get("step"), before + 1, most)) is not None:
            before = step
            rows.append([step, *(figure_of(event.get(name)) for name in FIGURES)])
    return np.array(rows, float).reshape(-1, 1 + len(FIGURES)), len(events) - len(rows)
