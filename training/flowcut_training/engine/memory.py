"""How much memory a run takes."""

from __future__ import annotations

import sys

import torch

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
