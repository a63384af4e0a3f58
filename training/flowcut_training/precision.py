"""In which precision a network works."""

from __future__ import annotations

from typing import Literal

import torch

from flowcut_napari.core.errors import InputError

Precision = Literal["auto", "bf16", "float32"]


def choose_precision(wanted: Precision, device: torch.device) -> Literal["bf16", "float32"]:
    """Return the precision to work in; ``auto`` is bf16 on a GPU that has it, not one that emulates it.

    Raises
    ------
    InputError
        If bf16 is asked for on a device that has none.
    """
    has_bf16 = device.type == "cpu" or (device.type == "cuda" and _has_bf16(device))
    if wanted == "bf16" and not has_bf16:
        raise InputError(f"precision bf16: {device} has none; give float32")
    if wanted == "auto":
        return "bf16" if device.type == "cuda" and has_bf16 else "float32"
    return wanted


def _has_bf16(device: torch.device) -> bool:
    with torch.cuda.device(device):
        return torch.cuda.is_bf16_supported(including_emulation=False)
