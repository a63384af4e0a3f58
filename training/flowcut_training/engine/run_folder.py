"""The folder of a run: who may write into it, and what a run that goes on takes from it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flowcut_napari.core.errors import DamagedFileError, InputError, OutputError
from flowcut_napari.core.files import check_writable, lock_folder, write_atomically
from flowcut_training.config import CHANGEABLE, TrainingConfig, changed, load_config
from flowcut_training.engine.checkpoints import Checkpoint, list_checkpoints, remove_unfinished
from flowcut_training.engine.events import EVENTS, LOG, METRICS
from flowcut_training.engine.previews import PREVIEWS
from flowcut_training.engine.stopping import STOP

CONFIG, LOCK = "config.yaml", ".lock"
CLIPS_INDEX, STILLS_INDEX, EVALUATION_INDEX = _INDEXES = ("clips.npz", "stills.npz", "evaluation.npz")
# Seconds by which the clock of a file system may be behind.
_SLACK = 1.0
# What a run without a checkpoint leaves behind: nothing that another start could spoil.
_HARMLESS = {CONFIG, PREVIEWS, "checkpoints", "tensorboard", METRICS, EVENTS, LOG, LOCK, STOP, *_INDEXES}


def choose_config(run: Path, config: str | None, overrides: list[str], resume: bool) -> TrainingConfig:
    """Return the configuration of a run: that of its folder if it goes on, else the one asked for.

    Raises
    ------
    InputError
        If it cannot be read, or a run that goes on would change in what its weights depend on.
    """
    kept = run / CONFIG
    if not resume:
        return load_config(config or "paper", overrides)
    if not os.path.isfile(kept):
        raise InputError(f"{str(run)[:400]}: there is no run to go on with; leave --resume away")
    before = load_config(kept)
    # All parameters of a run stand in it; without any it would be read as the defaults.
    if not before.model_fields_set:
        raise DamagedFileError(f"{kept}: is empty; put the parameters of this run into it, or start another")
    after = load_config(config or kept, overrides)
    if not list_checkpoints(run):  # there is nothing yet that a change could spoil
        return after
    fixed = [name for name in changed(before, after) if name not in CHANGEABLE]
    if fixed:
        raise InputError(f"{run}: a run that goes on cannot change {', '.join(fixed)}; start another with a new -o")
    return after


@contextmanager
def hold_run(run: Path, resume: bool, asked_at: float) -> Iterator[Checkpoint | None]:
    """Hold a run's folder while it trains; give the checkpoint to go on from, or None.

    A stop file from before `asked_at` (seconds since the epoch) was meant for an earlier run and is taken away.

    Raises
    ------
    InputError
        If another process trains in it, or if it is in use for something else.
    OutputError
        If it cannot be written to.
    """
    check_writable(run)
    with lock_folder(run, LOCK, f"{run}: another process trains in this folder"):
        there = _check_contents(run, resume)
        remove_unfinished(run)
        if (run / STOP).is_dir():
            raise InputError(f"{run / STOP}: is a folder, where a stop file would be; remove it")
        try:
            if STOP in there and (run / STOP).lstat().st_mtime < asked_at - _SLACK:
                (run / STOP).unlink()
        except OSError as error:
            raise InputError(f"{run / STOP}: is in the way ({error.strerror or error}); remove it") from None
        checkpoints = list_checkpoints(run) if resume else []
        yield checkpoints[-1] if checkpoints else None


def check_run(run: Path, resume: bool) -> None:
    """See whether a run could be held; nothing is written.

    Raises
    ------
    InputError
        If there is something else, a run that is not to go on, or one that another process trains.
    OutputError
        If it could not be written to.
    """
    try:
        if not run.exists():
            nearest = next(parent for parent in Path(os.path.abspath(run)).parents if parent.exists())
            if not nearest.is_dir():
                raise InputError(f"{nearest}: is no folder; give another -o")
            if not os.access(nearest, os.W_OK | os.X_OK):
                raise OutputError(f"{run}: cannot be made, {nearest} is not yours to write in")
            return
        if not run.is_dir():
            raise InputError(f"{run}: is no folder; give another -o")
        if not os.access(run, os.W_OK | os.X_OK):
            raise OutputError(f"{run}: is not yours to write in")
        if (run / LOCK).is_file():
            with lock_folder(run, LOCK, f"{run}: another process trains in this folder"):
                pass
        _check_contents(run, resume)
    except OutputError:  # an OSError, too
        raise
    except OSError as error:
        raise OutputError(f"{str(run)[:400]}: cannot be a folder for a run ({error.strerror or error})") from None


def _check_contents(run: Path, resume: bool) -> set[str]:
    """See whether a folder may be a run's; return the names of what is in it."""
    there = {entry.name for entry in run.iterdir()}
    if not resume and CONFIG in there and list_checkpoints(run):
        raise InputError(f"{run}: holds a run already; go on with it by --resume, or give another -o")
    if not resume and {name for name in there if not _is_half_written(name)} - _HARMLESS:
        raise InputError(f"{run}: is a folder with other files in it; give a new one with -o")
    return there


def _is_half_written(name: str) -> bool:
    """Whether a file is an index that a killed start was writing."""
    return name.endswith(".part") and name.startswith(tuple(f".{index}." for index in _INDEXES))


def keep_config(run: Path, config: TrainingConfig) -> None:
    """Write the configuration into the run's folder."""
    write_atomically(run / CONFIG, config.to_yaml())
