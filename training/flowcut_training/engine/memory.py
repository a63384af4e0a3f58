"""How much memory a run takes, and what to do when there is too little."""

from __future__ import annotations

import sys

import torch

from flowcut_training.config import TrainingConfig

_GIB = 1 << 30


def peak_memory_gib(device: torch.device) -> float | None:
    """Return the most memory that was in use so far, of the GPU or of this process; None where it cannot be told."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / _GIB
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / _GIB


def out_of_memory_advice(config: TrainingConfig) -> str:
    """Return a line for when there is no more room: what was tried, and what to lower."""
    data, optimizer = config.data, config.optimizer
    return (
        f"out of memory with optimizer.batch={optimizer.batch} (accumulation {optimizer.accumulation}) clips of "
        f"{data.frames} frames at {data.short_side}x{data.max_side}; raise optimizer.accumulation, or lower "
        "optimizer.batch, data.short_side and data.max_side, or loss.points; the last checkpoint is whole"
    )
