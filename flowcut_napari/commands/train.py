"""``flowcut train``: stage 3, a model from a dataset; every event is a line, for people or for programs."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import psutil
from rich.progress import Progress, TaskID

from flowcut_napari.commands import console
from flowcut_napari.core.errors import FlowCutError

# Of a step, and what they are called on a line of 80 columns.
_FIGURES = {"loss": "loss", "classification": "class", "mask": "mask", "dice": "dice", "lr": "lr", "seconds": "in"}


def train_model(
    dataset: Path,
    run: Path,
    *,
    config: str | None,
    overrides: list[str],
    resume: bool,
    device: str,
    weights: Mapping[str, Path],
    skip_broken: bool = False,
    as_json: bool = False,
) -> int:
    """Train a model on a dataset; return the exit code.

    On a terminal people read what is going on; elsewhere each event is one JSON object a line, as in events.jsonl.
    """
    # Whoever reads lines gets no bar, and under torchrun only the first process speaks.
    is_first = _speaks()
    with console.progress_bar("steps/s") as progress:
        listener = _Listener(progress if is_first else None, as_json=as_json)
        try:
            from flowcut_training.engine.loop import train
            from flowcut_training.engine.plan import TrainingPlan
            from flowcut_training.engine.run_folder import choose_config

            changes = [*overrides, *(["data.skip_broken=true"] if skip_broken else [])]
            chosen = choose_config(run, config, changes, resume)
            plan = TrainingPlan(dataset, run, chosen, resume, device, weights, _asked_at())
            outcome = train(plan, listener)
        except Exception as error:
            # Programs that read events learn of what went wrong before there was a run, too.
            if isinstance(error, FlowCutError) and is_first and not listener.has_failed:
                listener({"event": "error", "reason": str(error)})
            if os.environ.get("WORLD_SIZE", "1") == "1":
                raise
            _leave(error, is_first)
    if not is_first:
        return 128 + outcome.signal if outcome.signal else 0
    if as_json:
        console.print_json(
            {
                "run": str(run),
                "end": outcome.end,
                "step": outcome.step,
                "reason": outcome.reason,
                "loss": outcome.loss,
                "checkpoint": str(outcome.checkpoint),
                "best": str(outcome.best) if outcome.best else None,
                "AP": outcome.score,
                "broken_clips": outcome.broken_clips,
            }
        )
    if outcome.broken_clips:
        console.note(
            f"{outcome.broken_clips} clip(s) could not be read and were passed over; see {run / 'events.jsonl'}"
        )
    return 128 + outcome.signal if outcome.signal else 0


def check_training(
    dataset: Path,
    run: Path,
    *,
    config: str | None,
    overrides: list[str],
    resume: bool,
    device: str,
    weights: Mapping[str, Path],
    skip_broken: bool = False,
    measures: bool = True,
    processes: int = 1,
    as_json: bool = False,
) -> int:
    """Say what a run would be and what keeps it from starting; return the exit code, 2 where something does.

    On a terminal people read it; elsewhere each finding is one JSON object a line, or all of them one document.
    """
    from flowcut_training.engine.preflight import check_run_plan
    from flowcut_training.engine.run_folder import choose_config

    chosen = choose_config(run, config, [*overrides, *(["data.skip_broken=true"] if skip_broken else [])], resume)
    found = []
    for event in check_run_plan(
        dataset, run, chosen, resume=resume, device=device, weights=weights, world=processes, measures=measures
    ):
        found.append(event)
        if as_json:
            continue
        if not console.stdout.is_terminal:
            print(json.dumps(event, allow_nan=False), flush=True)
        elif event["event"] == "problem":
            console.failure(event["text"])
        elif event["event"] == "warning":
            console.note(event["text"])
        elif text := _finding(event):
            console.result(text)
    if as_json:
        console.print_json({"run": str(run), "findings": found})
    problems: int = found[-1]["problems"]
    return 2 if problems else 0


def _finding(event: dict[str, Any]) -> str:
    kind = event["event"]
    if kind == "dataset":
        sizes = ", ".join(f"{width}x{height}" for height, width, _ in event["sizes"][:3])
        more = f" and {event['kinds_of_sizes'] - 3} more sizes" if event["kinds_of_sizes"] > 3 else ""
        return f"{event['path']}: {event['clips']} clips, {event['instances']} instances, {sizes}{more}"
    if kind == "stills":
        return f"{event['path']}: {event['images']} stills"
    if kind == "evaluation":
        return f"{event['path']}: {event['clips']} clips are evaluated"
    if kind == "start":
        return str(event["text"])
    if kind == "estimate":
        hours = event["seconds_per_step"] * event["steps"] / 3600
        memory = "" if event["memory_gib"] is None else f", about {event['memory_gib']:.1f} GiB of memory"
        free = "" if event["free_gib"] is None else f" ({event['free_gib']:.1f} are free)"
        return (
            f"{event['device']}: about {event['seconds_per_step']:.2g} s a step, {hours:.2g} h for {event['steps']} "
            f"steps{memory}{free if memory else ''}"
        )
    return "it can start" if kind == "checked" and not event["problems"] else ""


def _leave(error: Exception, is_first: bool) -> NoReturn:
    """End one of several processes at once: leaving in peace would wait for an exchange that others wait in, too."""
    from flowcut_training.engine.plan import KnownToAllError

    if is_first or not isinstance(error, KnownToAllError):
        known = isinstance(error, FlowCutError)
        console.failure(str(error) if known else f"unexpected {type(error).__name__}: {error}")
        if console.debug:
            traceback.print_exception(error)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(2 if isinstance(error, FlowCutError) else 1)


def _asked_at() -> float:
    """Return when this run was started: a stop that is asked for since then is meant for it, early as it may be."""
    process = psutil.Process()
    if "TORCHELASTIC_RUN_ID" in os.environ:
        # torchrun is there seconds before the processes that it starts.
        process = process.parent() or process
    return process.create_time()


def _speaks() -> bool:
    """Whether this is the first of torchrun's processes, or a single one; half-set variables end in an error here."""
    world, rank = (os.environ.get(name, "") for name in ("WORLD_SIZE", "RANK"))
    return not (world.isdecimal() and rank.isdecimal() and 0 < int(rank) < int(world))


class _Listener:
    """Says what happens: as JSON lines where nobody looks, else as text and a bar."""

    def __init__(self, progress: Progress | None, *, as_json: bool) -> None:
        self._progress, self._task = progress, TaskID(0)
        self._is_quiet = as_json or progress is None
        self._for_people = console.stdout.is_terminal
        self.has_failed = False

    def __call__(self, event: dict[str, Any]) -> None:
        self.has_failed = self.has_failed or event["event"] == "error"
        if self._progress is not None:
            self._advance(self._progress, event)
        if self._is_quiet:
            return
        if not self._for_people:
            self._write(json.dumps(event, allow_nan=False) + "\n")
        elif text := _in_words(event):
            console.result(text)

    def _write(self, line: str) -> None:
        """Write a line; whoever read it may be gone or his disk full, which is no reason to end days of work."""
        try:
            sys.stdout.write(line)
            sys.stdout.flush()
        except OSError as error:
            self._is_quiet = True
            console.note(f"standard output is gone ({error.strerror or error}); events.jsonl still has every event")
            # What is left in the buffer would fail once more at the end.
            with open(os.devnull, "wb") as nothing:
                os.dup2(nothing.fileno(), sys.stdout.fileno())

    def _advance(self, progress: Progress, event: dict[str, Any]) -> None:
        if event["event"] == "start":
            done = event["resumed_from"] or 0
            self._task = progress.add_task("train", total=event["steps"], completed=done, begun_at=done)
        elif event["event"] == "step":
            progress.update(self._task, completed=event["step"])


def _in_words(event: dict[str, Any]) -> str:
    kind = event["event"]
    if kind == "start":
        millions = event["trained_parameters"] / 1e6
        return (
            f"{event['clips']} clips of {event['dataset']}; {millions:.2f} M parameters, {event['precision']} "
            f"on {event['world']} x {event['device']}"
        )
    if kind == "step":
        words = "  ".join(f"{short} {event[name]:.3g}" for name, short in _FIGURES.items())
        return f"step {event['step']:>6}  {words} s"
    if kind == "evaluation":
        stats = event["stats"]
        words = "  ".join(
            f"{name} {100 * stats[name]:.1f}" for name in ("AP", "AP50", "AP75", "AR10") if stats[name] >= 0
        )
        return f"step {event['step']:>6}  {words}  ({event['clips']} clips)"
    if kind == "checkpoint":
        return f"step {event['step']:>6}  saved {event['path']}"
    if kind == "stopped":
        return f"stopped after step {event['step']} by {event['reason']}; --resume goes on"
    if kind == "done":
        return f"done: {event['step']} steps in {event['seconds']:.0f} s" + (
            f"; best {event['best']}" if event["best"] else ""
        )
    return str(event.get("text", "")) if kind == "note" else ""
