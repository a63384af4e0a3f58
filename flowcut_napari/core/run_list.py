"""All runs below a folder, each in a line: how it stands, how far it is, how good it is."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from flowcut_napari.core.errors import InputError
from flowcut_napari.core.run_events import EVENTS, STOP, EventFollower
from flowcut_napari.core.run_history import RunHistory, RunView
from flowcut_napari.core.run_records import Evaluation
from flowcut_napari.core.run_state import RunState, judge_run

# Folders of runs in folders of experiments, and no deeper.
_DEPTH = 2
_MOST_FOLDERS = 5000
# Of the steps of a run the last are enough to tell where it is and how quick.
_ROWS = 128
_PIECE = 1 << 20
# What differs between any two runs, and says nothing of what was tried.
_PLACES = ("run.evaluate", "data.stills_images")


@dataclass(frozen=True)
class RunSummary:
    """A run in a line.

    Attributes
    ----------
    path : Path
    name : str
        Its path below the folder that was looked through.
    state : RunState
    loss : float or None
        Of the last step that was logged.
    best : Evaluation or None
        The evaluation with the highest AP.
    device, dataset : str
    clips : int or None
    began : float or None
        When it was first started, in seconds since 1970.
    seconds : float or None
        From then to its last event.
    changes : tuple of str
        Parameters in which it differs from most of the others, such as ``optimizer.lr=1e-05``.
    problem : str
        What is wrong with the folder, in one line; may be empty.
    """

    path: Path
    name: str
    state: RunState
    loss: float | None = None
    best: Evaluation | None = None
    device: str = ""
    dataset: str = ""
    clips: int | None = None
    began: float | None = None
    seconds: float | None = None
    changes: tuple[str, ...] = ()
    problem: str = ""


@dataclass
class _Known:
    """A run that was read before, and where to read on."""

    follower: EventFollower
    history: RunHistory = field(default_factory=lambda: RunHistory(_ROWS, is_tail=True))
    stamp: tuple[int, int, int] | None = None
    view: RunView = field(default_factory=RunView)
    problem: str = ""


class RunList:
    """Looks through a folder for runs, again and again; of each only what was added is read.

    Parameters
    ----------
    rest : callable, optional
        Called after each piece that was read; what it raises ends the look.
    """

    def __init__(self, rest: Callable[[], object] = lambda: None) -> None:
        self._known: dict[Path, _Known] = {}
        self._rest = rest

    def scan(self, folder: Path) -> tuple[RunSummary, ...]:
        """Return all runs of a folder: itself, or up to two levels below; sorted by name.

        Raises
        ------
        InputError
            If it cannot be looked through, or holds too many folders.
        """
        paths = list(_find_runs(folder))
        self._known = {path: self._known.get(path) or _Known(EventFollower(path, _ROWS)) for path in paths}
        found = []
        for path, known in self._known.items():
            self._read_on(path, known)
            found.append(_summary(folder, path, known))
        views = [known.view for known in self._known.values()]
        return tuple(replace(run, changes=changes) for run, changes in zip(found, _changes(views), strict=True))

    def _read_on(self, path: Path, known: _Known) -> None:
        try:
            about = os.stat(path / EVENTS)
            stamp = (about.st_ino, about.st_size, about.st_mtime_ns)
        except (OSError, ValueError):
            stamp = None
        if stamp is not None and stamp == known.stamp:
            return
        self._rest()
        known.problem = ""
        while True:
            batch = known.follower.poll(_PIECE)
            if batch.is_anew:
                known.history.clear()
            known.history.add(batch.events)
            if not batch.is_more:
                break
            self._rest()
        known.view = known.history.view(known.follower.passed_over)
        known.stamp = stamp
        if batch.problem:
            known.problem = batch.problem
        elif not known.follower.is_there:
            known.problem = f"{EVENTS} is missing: what happened in this run is not known"
        elif known.view.start is None:
            known.problem = known.view.remark or "its events tell no start"


def list_runs(folder: Path) -> tuple[RunSummary, ...]:
    """Return all runs of a folder, as `RunList.scan` does."""
    return RunList().scan(folder)


def is_run(folder: Path) -> bool:
    """Whether a folder is that of a run, also of one that never got to its first step."""
    # Not the methods of a path: these raise for what can be none.
    is_begun = os.path.isfile(folder / "config.yaml") and os.path.isdir(folder / "checkpoints")
    return os.path.exists(folder / EVENTS) or is_begun


def _find_runs(folder: Path) -> Iterator[Path]:
    if is_run(folder):
        yield folder
        return
    level = [folder]
    seen = 0
    for depth in range(_DEPTH):
        below = []
        for parent in level:
            for child in _folders_in(parent, must=depth == 0):
                seen += 1
                if seen > _MOST_FOLDERS:
                    raise InputError(f"{folder}: holds more than {_MOST_FOLDERS:,} folders; choose one nearer the runs")
                if is_run(child):
                    yield child
                else:
                    below.append(child)
        level = below


def _folders_in(folder: Path, *, must: bool) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir()]
    except (OSError, ValueError) as error:
        if must:
            raise InputError(
                f"{folder}: cannot be looked through ({getattr(error, 'strerror', None) or error})"
            ) from None
        return []  # one of many, which need not be ours
    return [folder / name for name in sorted(names)]


def _summary(folder: Path, path: Path, known: _Known) -> RunSummary:
    view, start = known.view, known.view.start
    losses = view.figure("loss")
    losses = losses[np.isfinite(losses)]
    is_known = view.first_time is not None and view.last_time is not None
    return RunSummary(
        path=path,
        name=path.relative_to(folder).as_posix() if path != folder else path.name,
        state=judge_run(view, stop_asked=os.path.exists(path / STOP), changed_at=known.follower.changed_at),
        loss=float(losses[-1]) if len(losses) else None,
        best=view.best,
        device=start.device if start else "",
        dataset=start.dataset if start else "",
        clips=start.clips if start else None,
        began=view.first_time,
        seconds=max(0.0, (view.last_time or 0) - (view.first_time or 0)) if is_known else None,
        problem=known.problem,
    )


def _changes(views: list[RunView]) -> list[tuple[str, ...]]:
    """Return for each run its parameters that are not what most runs have."""
    started = [view.start.parameters for view in views if view.start is not None]
    usual = {}
    for name in {name for parameters in started for name in parameters}:
        counts = Counter(parameters.get(name) for parameters in started)
        # Of equals the first: an experiment is told from what was there before.
        usual[name] = counts.most_common(1)[0][0]
    return [
        tuple(
            f"{name}={value}"
            for name, value in view.start.parameters.items()
            if name not in _PLACES and value != usual[name]
        )
        if view.start is not None
        else ()
        for view in views
    ]
