"""How a run stands once it is known what became of the process that this window started for it; and that in words."""

from __future__ import annotations

from dataclasses import replace

from flowcut_napari.core.errors import printable
from flowcut_napari.core.run_records import RunStart
from flowcut_napari.core.run_state import RunState, State
from flowcut_napari.widgets.run.controller import duration
from flowcut_napari.widgets.training_desk import Launch

WORDS: dict[State, str] = {
    "starting": "starting …",
    "running": "training",
    "stopped": "stopped",
    "done": "done",
    "failed": "failed",
    "lost": "ended without a word",
    "unknown": "unknown",
}
# Of a dot beside the word, in either theme.
COLOURS: dict[State, tuple[int, int, int]] = {
    "starting": (90, 160, 235),
    "running": (90, 160, 235),
    "stopped": (225, 165, 60),
    "done": (70, 185, 115),
    "failed": (228, 88, 78),
    "lost": (228, 88, 78),
    "unknown": (140, 144, 152),
}
# A clock of events has whole seconds.
_SLACK = 2.0


def with_launch(state: RunState, launch: Launch | None, launched_at: float, last_time: float | None) -> RunState:
    """Return how a run stands, by its events and by the process that this window started for it.

    Parameters
    ----------
    state : RunState
        What the events say.
    launch : Launch or None
    launched_at : float
        When that was started, in seconds since 1970.
    last_time : float or None
        Of the last event.

    Examples
    --------
    >>> with_launch(RunState(), Launch(True), 100.0, None).state
    'starting'
    >>> with_launch(RunState("lost"), Launch(False, "no space left on device"), 100.0, 150.0).reason
    'no space left on device'
    """
    if launch is None or state.is_at_work:
        return state
    is_older = last_time is None or last_time < launched_at - _SLACK
    if launch.is_alive:
        return replace(state, state="starting", reason="", is_stopping=False) if is_older else state
    if launch.reason and (state.state in ("lost", "unknown") or is_older):
        return replace(state, state="failed", reason=printable(launch.reason))
    return state


def describe_progress(state: RunState) -> str:
    """Say in a line how far a run is.

    Examples
    --------
    >>> describe_progress(RunState("running", step=1240, steps=5000, rate=2.0, seconds_left=1880.0))
    'step 1,240 of 5,000 · 2.00 steps/s · 31 min 20 s left'
    >>> describe_progress(RunState("done", step=60, steps=60))
    '60 of 60 steps'
    """
    if state.steps is None:
        return f"step {state.step:,}" if state.step else ""
    if not state.is_at_work:
        return f"{state.step:,} of {state.steps:,} steps"
    parts = [f"step {state.step:,} of {state.steps:,}"]
    if state.rate is not None and state.state == "running":
        parts.append(pace(state.rate))
    if state.seconds_left is not None:
        parts.append(f"{duration(state.seconds_left)} left")
    return " · ".join(parts)


def pace(rate: float) -> str:
    """Return steps a second, or seconds a step where that is easier to read.

    Examples
    --------
    >>> pace(2.134), pace(0.25)
    ('2.13 steps/s', '4.0 s a step')
    """
    return f"{rate:.3g} steps/s" if rate >= 10 else f"{rate:.2f} steps/s" if rate >= 0.5 else f"{1 / rate:.1f} s a step"


def describe_start(start: RunStart | None) -> str:
    """Say in a line what is trained where.

    Examples
    --------
    >>> describe_start(RunStart(device="NVIDIA H100", world=2, precision="bf16", clips=1204))
    '1,204 clips · 2 x NVIDIA H100 · bf16'
    """
    if start is None:
        return ""
    clips = f"{start.clips:,} clips" if start.clips is not None else ""
    clips += f" and {start.stills:,} stills" if start.stills else ""
    device = f"{start.world} x {start.device}" if start.world > 1 else start.device
    return " · ".join(part for part in (clips, device, start.precision) if part)


def headline(state: RunState) -> str:
    """Return the word for a state, and what is under way.

    Examples
    --------
    >>> headline(RunState("running", is_stopping=True))
    'stopping after this step'
    """
    return "stopping after this step" if state.is_stopping else WORDS[state.state]
