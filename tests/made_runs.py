"""Short training runs on a small dataset of clips with a moving and a still square."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from made_masks import write_clip
from safetensors.torch import load_file

from flowcut_napari.core.dataset import ExportPlan, export_dataset
from flowcut_napari.core.store import masks_path
from flowcut_training.config import load_config
from flowcut_training.engine.loop import train
from flowcut_training.engine.plan import Outcome, TrainingPlan

# Quick steps; everything is logged.
FAST = ["log_every=1", "checkpoint_every=100", "workers=0", "points=32", "seed=3"]


def write_clips(folder: Path, count: int = 6) -> Path:
    """Write a dataset of two-frame clips; return its folder."""
    write_clip(folder / "videos", folder / "masks", count)
    export_dataset([masks_path(folder / "masks", "clip")], folder / "dataset", ExportPlan())
    return folder / "dataset"


def plan(dataset: Path, run: Path, *overrides: str, resume: bool = False, device: str = "cpu") -> TrainingPlan:
    """Plan a run of the tiny network."""
    return TrainingPlan(dataset, run, load_config("tiny", [*FAST, *overrides]), resume, device)


def run(
    dataset: Path,
    folder: Path,
    *overrides: str,
    resume: bool = False,
    listen: Callable[[dict[str, Any]], None] | None = None,
) -> Outcome:
    """Train the tiny network."""
    return train(plan(dataset, folder, *overrides, resume=resume), listen)


def weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    """Return the weights of a checkpoint."""
    return load_file(checkpoint / "model.safetensors")


def same(first: Path, second: Path) -> bool:
    """Whether two checkpoints hold the same weights, bit for bit, and the same state of the optimizer."""
    one, other = weights(first), weights(second)
    assert set(one) == set(other)
    optimizers = [torch.load(path / "optimizer.pt", weights_only=True)["state"] for path in (first, second)]
    moments = all(
        torch.equal(optimizers[0][number][name], optimizers[1][number][name])
        for number in optimizers[0]
        for name in ("exp_avg", "exp_avg_sq", "step")
    )
    return moments and all(torch.equal(one[name], other[name]) for name in one)
