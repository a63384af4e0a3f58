"""What a run is asked to do, and how it ended."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from flowcut_napari.core.errors import FlowCutError
from flowcut_training.config import TrainingConfig


@dataclass(frozen=True)
class TrainingPlan:
    """What to train and where.

    Attributes
    ----------
    dataset : Path
        A folder that `flowcut curate` made, or one of that form.
    run : Path
        The run's folder.
    config : TrainingConfig
    resume : bool
        Whether to go on with what is in the folder.
    device : str
        ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
    weights : mapping of str to path
        Files for names that ``run.init`` may have.
    asked_at : float
        When, in seconds since the epoch: a stop file that is older is not meant for this run.
    """

    dataset: Path
    run: Path
    config: TrainingConfig
    resume: bool = False
    device: str = "auto"
    weights: Mapping[str, Path] = field(default_factory=dict)
    asked_at: float = field(default_factory=time.time)


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes
    ----------
    end : {"done", "stopped"}
    step : int
        Steps that are done.
    reason : str or None
        Of a stop: ``stop file`` or the name of a signal.
    signal : int or None
        Its number.
    checkpoint : Path
        The last one.
    best : Path or None
        The best one that was evaluated.
    loss : float or None
        Of the last step.
    score : float or None
        AP of the best one.
    broken_clips : int
        Clips that could not be read and were passed over, counted each time.
    """

    end: Literal["done", "stopped"]
    step: int
    reason: str | None
    signal: int | None
    checkpoint: Path
    best: Path | None
    loss: float | None
    score: float | None
    broken_clips: int


class TrainingError(FlowCutError):
    """Training cannot go on; the last checkpoint is whole."""


class KnownToAllError(TrainingError):
    """An error that every process has been told of, so that the first alone need write it down."""
