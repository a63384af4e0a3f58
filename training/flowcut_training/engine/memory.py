"""How much memory a run takes."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import torch

_GIB = 1 << 30
_STATUS = Path("/proc/self/status")


def peak_memory_gib(device: torch.device) -> float | None:
    """Return the most memory that was in use so far, of the GPU or of this process; None where it cannot be told."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / _GIB
    # Linux counts what a process had before it became this program to its `ru_maxrss`: that of a window, for instance.
    if _STATUS.is_file() and (found := re.search(r"VmHWM:\s*(\d+) kB", _STATUS.read_text())):
        return int(found[1]) * 1024 / _GIB
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / _GIB
