"""What is said of a run that cannot go on: always one line."""

from __future__ import annotations

import errno

import cv2

from flowcut_napari.core.errors import FlowCutError
from flowcut_training.config import TrainingConfig
from flowcut_training.predict.memory import is_out_of_memory

_CV2_NO_MEMORY = -4


def in_one_line(error: Exception) -> str:
    """Return what went wrong."""
    if isinstance(error, FlowCutError):
        return str(error)
    return f"unexpected {type(error).__name__}: {' '.join(str(error).split())[:400]}"


def shortage(error: Exception, config: TrainingConfig) -> str | None:
    """Return what was tried and what to lower where memory or open files ran out; None of any other error."""
    if is_out_of_memory(error) or (isinstance(error, cv2.error) and error.code == _CV2_NO_MEMORY):
        data, optimizer = config.data, config.optimizer
        return (
            f"out of memory with optimizer.batch={optimizer.batch} (accumulation {optimizer.accumulation}) clips of "
            f"{data.frames} frames at {data.short_side}x{data.max_side}; raise optimizer.accumulation, or lower "
            "optimizer.batch, data.short_side and data.max_side, or loss.points; checkpoints are whole"
        )
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        return (
            f"too many open files with data.workers={config.data.workers}; lower that, or raise the limit (ulimit -n)"
        )
    return None
