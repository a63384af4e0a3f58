"""Checkpoints: folders that are there whole or not at all, the last few of them and the best.

``checkpoints/step-00000100/`` holds ``model.safetensors`` (and ``ema.safetensors``), ``optimizer.pt`` and
``state.json``. A folder is written beside its place and renamed, so what is there is whole whenever a run dies.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor, nn

from flowcut_napari.core.errors import DamagedFileError, OutputError
from flowcut_napari.core.files import write_atomically
from flowcut_napari.core.parameters import one_line
from flowcut_training.weight_files import About, check_tensors, read_weights, write_file, write_model

SCHEMA = "flowcut.checkpoint/1"
MODEL, AVERAGE, OPTIMIZER, STATE = "model.safetensors", "ema.safetensors", "optimizer.pt", "state.json"
_FOLDER = re.compile(r"step-(\d{8,})")


class State(BaseModel):
    """What a run knows besides weights: where it is, and what is counted.

    `step` steps are done, by `world` processes on `device`. `score` is the AP of the evaluation at this step, None
    where there was none, and `evaluation` tells on what: only scores of the same can be compared.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    schema_: str = SCHEMA
    step: int = Field(ge=0)
    world: int = Field(ge=1)
    dataset: str
    device: str = "cpu"
    precision: str = "float32"
    score: float | None = Field(None, allow_inf_nan=False)
    evaluation: str | None = None
    broken_clips: int = Field(0, ge=0)


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on disk."""

    folder: Path
    state: State

    @property
    def weights(self) -> Path:
        """The weights to predict with: the moving average where there is one."""
        average = self.folder / AVERAGE
        return average if average.is_file() else self.folder / MODEL


def list_checkpoints(run: Path) -> list[Checkpoint]:
    """Return the checkpoints of a run, oldest first.

    Raises
    ------
    DamagedFileError
        If the state of one cannot be read.
    """
    folder = run / "checkpoints"
    found = []
    for entry in sorted(folder.iterdir()) if folder.is_dir() else []:
        if (name := _FOLDER.fullmatch(entry.name)) and entry.is_dir():
            try:
                state = _read_state(entry / STATE)
            except DamagedFileError:
                if not entry.is_dir():  # another process has just removed it
                    continue
                raise
            if state.step != int(name[1]):
                raise DamagedFileError(f"{entry / STATE}: is that of step {state.step}; remove this checkpoint")
            found.append(Checkpoint(entry, state))
    return sorted(found, key=lambda checkpoint: checkpoint.state.step)


def best_checkpoint(checkpoints: list[Checkpoint]) -> Checkpoint | None:
    """Return the one with the highest score on what the latest was evaluated on, the latest of equals; or None."""
    scored = [checkpoint for checkpoint in checkpoints if checkpoint.state.score is not None]
    scored = [checkpoint for checkpoint in scored if checkpoint.state.evaluation == scored[-1].state.evaluation]
    return max(scored, key=lambda checkpoint: (checkpoint.state.score or 0.0, checkpoint.state.step), default=None)


def save_checkpoint(
    run: Path,
    state: State,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    about: About,
    *,
    average: Mapping[str, Tensor] | None = None,
) -> Checkpoint:
    """Write a checkpoint.

    Raises
    ------
    OutputError
        If it cannot be written, such as for want of space; those that were there stay as they are.
    """
    folder = run / "checkpoints" / f"step-{state.step:08d}"
    part, old = (folder.with_name(f".{folder.name}.{suffix}") for suffix in ("part", "old"))
    about = about.model_copy(update={"step": state.step})
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        write_model(part / MODEL, model.state_dict(), about)
        if average is not None:
            write_model(part / AVERAGE, {**model.state_dict(), **average}, about)
        stream = io.BytesIO()
        torch.save(optimizer.state_dict(), stream)
        write_file(part / OPTIMIZER, stream.getbuffer())
        write_file(part / STATE, state.model_dump_json(indent=1).encode())
        _sync(part)
        if folder.exists():
            shutil.rmtree(old, ignore_errors=True)
            folder.rename(old)
        part.rename(folder)
        _sync(folder.parent)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        shutil.rmtree(part, ignore_errors=True)
        if old.is_dir() and not folder.exists():
            old.rename(folder)
        full = error.errno == errno.ENOSPC or "space" in str(error).lower()
        advice = "; make room and go on with --resume" if full else ""
        raise OutputError(f"{_brief(error, folder)}; earlier checkpoints are whole{advice}") from None
    return Checkpoint(folder, state)


def set_score(checkpoint: Checkpoint, score: float, evaluation: str) -> None:
    """Add to a checkpoint what its evaluation found.

    Raises
    ------
    OutputError
        If it cannot be written; the checkpoint stays as it was.
    """
    state = checkpoint.state.model_copy(update={"score": score, "evaluation": evaluation})
    write_atomically(checkpoint.folder / STATE, state.model_dump_json(indent=1))


def remove_surplus(run: Path, keep: int) -> None:
    """Remove all checkpoints but the last `keep` and the best."""
    checkpoints = list_checkpoints(run)
    best = best_checkpoint(checkpoints)
    for checkpoint in checkpoints[:-keep]:
        if checkpoint != best:
            # Out of sight first: what is half removed must not look like a checkpoint.
            gone = checkpoint.folder.with_name(f".{checkpoint.folder.name}.gone")
            with contextlib.suppress(OSError):
                checkpoint.folder.rename(gone)
                shutil.rmtree(gone, ignore_errors=True)


def restore_checkpoint(
    checkpoint: Checkpoint, model: nn.Module, optimizer: torch.optim.Optimizer, average: dict[str, Tensor] | None
) -> None:
    """Load a checkpoint into a model, its optimizer and its moving average.

    Raises
    ------
    DamagedFileError
        If the optimizer's state cannot be read or is of another model.
    WeightsError
        If weights cannot be read or are of another architecture.
    """
    wanted = model.state_dict()
    model.load_state_dict(_tensors(checkpoint.folder / MODEL, wanted))
    _restore_optimizer(checkpoint.folder / OPTIMIZER, optimizer, is_new=checkpoint.state.step == 0)
    if average is not None:
        kept = _tensors(checkpoint.folder / AVERAGE, wanted)
        for name, tensor in average.items():
            tensor.copy_(kept[name])


def remove_unfinished(run: Path) -> None:
    """Remove what a run that was killed left half-written, and put back what it was about to replace."""
    folder = run / "checkpoints"
    for entry in list(folder.iterdir()) if folder.is_dir() else []:
        if entry.name.startswith(".step-") and entry.name.endswith(".old"):
            place = folder / entry.name[1:-4]
            if not place.exists():
                entry.rename(place)
                continue
        if entry.name.startswith(".step-"):
            shutil.rmtree(entry, ignore_errors=True)


def _tensors(path: Path, wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    tensors = read_weights(path).tensors
    check_tensors(path, tensors, wanted)
    return tensors


def _restore_optimizer(path: Path, optimizer: torch.optim.Optimizer, *, is_new: bool) -> None:
    """Load the moments; rates and decays are those of the configuration, which is the one that the run began with."""
    groups = optimizer.state_dict()["param_groups"]
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)["state"]
        # None of them has moments before the first step, and all have them after it.
        if set(state) != (set() if is_new else set(range(len(weights)))):
            raise ValueError(f"it knows {len(state)} of {len(weights)} weights")
        for number, moments in state.items():
            for name in ("exp_avg", "exp_avg_sq"):
                if moments[name].shape != weights[number].shape or not moments[name].isfinite().all():
                    raise ValueError(f"{name} of weight {number} is of another shape, or not finite")
            if not float(moments["step"]) >= 1:
                raise ValueError(f"weight {number} is at no step")
        optimizer.load_state_dict({"state": state, "param_groups": groups})
    except Exception as error:  # noqa: BLE001  # taking a damaged one apart can raise whatever it likes
        raise DamagedFileError(
            f"{path}: damaged, or of another model ({' '.join(str(error).split())[:120]}); remove this checkpoint"
        ) from None


def _read_state(path: Path) -> State:
    try:
        state = State.model_validate_json(path.read_bytes())
    except OSError as error:
        raise DamagedFileError(f"{path}: cannot be read ({error.strerror or error}); remove this checkpoint") from None
    except ValidationError as error:
        raise DamagedFileError(f"{path}: damaged ({one_line(error)[:160]}); remove this checkpoint") from None
    if state.schema_ != SCHEMA:
        raise DamagedFileError(f"{path}: its schema is {state.schema_[:60]!r}; this version reads {SCHEMA!r}")
    return state


def _brief(error: OSError, folder: Path) -> str:
    text = str(error)
    return text if isinstance(error, OutputError) else f"{folder}: cannot be written ({error.strerror or text})"


def _sync(folder: Path) -> None:
    """Make a rename last over a loss of power, where folders can be synced."""
    with contextlib.suppress(OSError):
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
