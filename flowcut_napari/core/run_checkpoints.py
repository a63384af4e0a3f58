"""The checkpoints of a training run as its folder has them, read without the code that wrote them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flowcut_napari.core.errors import DamagedFileError, InputError, printable
from flowcut_napari.core.files import read_regular
from flowcut_napari.core.json_stream import refuse_constant

_SCHEMA = "flowcut.checkpoint/1"
_FOLDER = re.compile(r"step-(\d{8,})")


@dataclass(frozen=True)
class RunCheckpoint:
    """A checkpoint: steps that were done, and the AP of its evaluation; None where there was none.

    `evaluation` tells on what: only scores of the same can be compared.
    """

    folder: Path
    step: int
    score: float | None = None
    evaluation: str | None = None


def list_checkpoints(run: Path) -> list[RunCheckpoint]:
    """Return the checkpoints of a run, oldest first.

    Raises
    ------
    InputError
        If there is no such folder, or it has none.
    DamagedFileError
        If the state of one cannot be read.
    """
    found = []
    try:
        if not run.is_dir():
            raise InputError(f"{printable(str(run))[:200]}: no such run")
        folder = run / "checkpoints"
        for entry in folder.iterdir() if folder.is_dir() else ():
            if (name := _FOLDER.fullmatch(entry.name)) and entry.is_dir():
                try:
                    found.append(_read(entry, int(name[1])))
                except DamagedFileError:
                    if entry.is_dir():  # else the run has just removed it
                        raise
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{str(run)[:200]}: cannot be looked into ({error})") from None
    if not found:
        raise InputError(f"{run}: holds no checkpoint yet; a run writes them as it goes")
    return sorted(found, key=lambda checkpoint: checkpoint.step)


def best_checkpoint(checkpoints: Sequence[RunCheckpoint]) -> RunCheckpoint:
    """Return what ``--checkpoint best`` takes: the highest AP on what the latest was evaluated on, else the last.

    Parameters
    ----------
    checkpoints : sequence of RunCheckpoint
        Not empty, oldest first.
    """
    scored = [checkpoint for checkpoint in checkpoints if checkpoint.score is not None]
    scored = [checkpoint for checkpoint in scored if checkpoint.evaluation == scored[-1].evaluation]
    return max(scored, key=lambda checkpoint: (checkpoint.score or 0.0, checkpoint.step), default=checkpoints[-1])


def _read(folder: Path, step: int) -> RunCheckpoint:
    path = folder / "state.json"
    try:
        content: Any = json.loads(read_regular(path)[0], parse_constant=refuse_constant)
    except (ValueError, RecursionError) as error:  # InputError is one
        raise DamagedFileError(f"{path}: cannot be read ({error}); remove this checkpoint") from None
    if not isinstance(content, dict) or content.get("step") != step or isinstance(content["step"], bool):
        raise DamagedFileError(f"{path}: is not the state of step {step}; remove this checkpoint")
    if content.get("schema_") != _SCHEMA:
        raise DamagedFileError(
            f"{path}: its schema is {str(content.get('schema_'))[:60]!r}; this version reads {_SCHEMA!r}"
        )
    score, evaluation = content.get("score"), content.get("evaluation")
    if score is not None and (
        isinstance(score, bool) or not isinstance(score, int | float) or not math.isfinite(score)
    ):
        raise DamagedFileError(f"{path}: its score is {repr(score)[:40]}; remove this checkpoint")
    return RunCheckpoint(
        folder, step, None if score is None else float(score), evaluation if isinstance(evaluation, str) else None
    )
