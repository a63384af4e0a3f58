"""Whether a run is at work, has ended, or died without a word: what its events say, and what the machine knows."""

from __future__ import annotations

import platform
import time
from dataclasses import dataclass
from typing import Literal

import numpy as np
import psutil

from flowcut_napari.core.run_history import RunView
from flowcut_napari.core.run_records import RunEnd, RunStart

State = Literal["starting", "running", "stopped", "done", "failed", "lost", "unknown"]
# The start of a process as two programs learn of it.
_SAME_SECONDS = 2.0
# A run elsewhere that was silent for longer than this, and than so many of its pauses, may be dead.
_LEAST_SILENCE, _PAUSES = 120.0, 10.0
# Steps whose duration tells how quick it is now.
_RECENT = 50


@dataclass(frozen=True)
class RunState:
    """How a run stands.

    Attributes
    ----------
    state : str
        ``lost`` is a run that ended without a word, ``unknown`` one of which that cannot be told.
    reason : str
        Why, in one line of plain words; may be empty.
    step : int
        Steps that are done.
    steps : int or None
        Steps that are to be done in all.
    rate : float or None
        Steps a second, lately.
    seconds_left : float or None
        Until the last step at this rate; of a run that is at work.
    resumes_from : int or None
        The last checkpoint; None if there is none.
    is_stopping : bool
        Whether a stop was asked for that was not heard yet.
    is_here : bool
        Whether its process runs on this machine, where it can be ended.
    """

    state: State = "unknown"
    reason: str = ""
    step: int = 0
    steps: int | None = None
    rate: float | None = None
    seconds_left: float | None = None
    resumes_from: int | None = None
    is_stopping: bool = False
    is_here: bool = False

    @property
    def share(self) -> float:
        """How much is done, 0 to 1."""
        return min(1.0, self.step / self.steps) if self.steps else 0.0

    @property
    def is_at_work(self) -> bool:
        """Whether a process is, or may be, at work."""
        return self.state in ("starting", "running")

    @property
    def can_go_on(self) -> bool:
        """Whether the run can be resumed."""
        is_over = self.state in ("stopped", "failed", "lost")
        return (is_over or self.state == "unknown") and self.resumes_from is not None


def judge_run(
    view: RunView, *, stop_asked: bool = False, changed_at: float = 0.0, now: float | None = None
) -> RunState:
    """Return how a run stands.

    Parameters
    ----------
    view : RunView
        What its events say.
    stop_asked : bool
        Whether the stop file is there.
    changed_at : float
        When ``events.jsonl`` was last written to, in seconds since 1970.
    now : float, optional
        The time in seconds since 1970; that of the clock if not given.
    """
    start, end = view.start, view.end
    state, reason, is_here = _standing(view, changed_at, time.time() if now is None else now)
    rate = _rate(view)
    steps = start.steps if start is not None else None
    left = (steps - view.step) / rate if state == "running" and steps is not None and rate else None
    return RunState(
        state=state,
        reason=reason,
        step=view.step,
        steps=steps,
        rate=rate,
        seconds_left=max(0.0, left) if left is not None else None,
        resumes_from=view.checkpoints[-1].step if view.checkpoints else (start.resumed_from or None if start else None),
        is_stopping=stop_asked and state == "running" and end is None,
        is_here=is_here,
    )


def find_process(start: RunStart) -> psutil.Process | None:
    """Return the process that writes the events of a run, if it is alive and on this machine.

    Where the event does not tell when its process was started, it has to be a Python that was there before the event.
    """
    if start.pid is None or not is_this_machine(start):
        return None
    try:
        process = psutil.Process(start.pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        began = process.create_time()
        if start.process_started is not None:
            is_it = abs(began - start.process_started) <= _SAME_SECONDS
        else:
            was_before = start.time is None or began <= start.time + _SAME_SECONDS
            is_it = was_before and _is_python(process)
        return process if is_it else None
    except (psutil.Error, OSError, ValueError):
        return None


def is_this_machine(start: RunStart) -> bool:
    """Whether a run was started on this machine; if its event does not tell, it may have been."""
    return not start.host or start.host == platform.node()


def ago(seconds: float) -> str:
    """Return how long something is ago, roughly.

    Examples
    --------
    >>> ago(4), ago(200), ago(3 * 3600 + 60), ago(3 * 86400)
    ('4 s ago', '3 min ago', '3 h ago', '3 days ago')
    """
    for size, word in ((86400, "day"), (3600, "h"), (60, "min")):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {word}{'s' if word == 'day' and count > 1 else ''} ago"
    return f"{max(0, int(seconds))} s ago"


def _standing(view: RunView, changed_at: float, now: float) -> tuple[State, str, bool]:
    """Return the state, its reason, and whether a process of this machine is at work."""
    if view.end is not None:
        return (*_ended(view.end), False)
    start = view.start
    if start is None:
        return (
            "unknown",
            "no training has begun in this folder" if not view.events else "its events tell no start",
            False,
        )
    silence = max(0.0, now - max(changed_at, view.last_time or 0.0))
    if is_this_machine(start):
        if find_process(start) is not None:
            is_slow = silence > max(_LEAST_SILENCE, _PAUSES * view.pause)
            return "running", f"alive, but its last word was {ago(silence)}" if is_slow else "", True
        return "lost", f"it ended without a word: killed, or the machine went down; {_goes_on(view)}", False
    if silence <= max(_LEAST_SILENCE, _PAUSES * view.pause):
        return "running", f"on {start.host}", False
    return "unknown", f"its last word was {ago(silence)}, on {start.host}", False


def _ended(end: RunEnd) -> tuple[State, str]:
    if end.kind == "done":
        return "done", ""
    if end.kind == "stopped":
        return "stopped", f"stopped by {_who(end.reason)}"
    return "failed", end.reason or "it gave no reason"


def _who(reason: str) -> str:
    """Say who stopped a run.

    Examples
    --------
    >>> _who("stop file"), _who("SIGTERM")
    ('somebody who asked for it', 'the signal SIGTERM')
    """
    if reason == "stop file":
        return "somebody who asked for it"
    return f"the signal {reason}" if reason.startswith("SIG") else reason or "somebody"


def _goes_on(view: RunView) -> str:
    kept = view.checkpoints[-1].step if view.checkpoints else view.start.resumed_from if view.start else 0
    return f"resume goes on from step {kept:,}" if kept else "there is no checkpoint to go on from"


def _rate(view: RunView) -> float | None:
    seconds = view.figure("seconds")[-_RECENT:]
    seconds = seconds[np.isfinite(seconds) & (seconds > 0)]
    return 1.0 / float(np.median(seconds)) if len(seconds) else None


def _is_python(process: psutil.Process) -> bool:
    words = (process.name(), *process.cmdline()[:1])
    return any("python" in word.lower() or "flowcut" in word.lower() for word in words)
