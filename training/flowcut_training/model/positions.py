"""Sine positions of pixels in a frame and in a clip (Vaswani et al. 2017; for pictures Carion et al. 2020).

Every axis runs from just above 0 to 2 pi whatever its length, so that a clip of two frames and one of thirty span the
same angles; coordinate i of an axis is sin or cos of ``angle / 10000 ** (2 * (i // 2) / channels)``.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

_TEMPERATURE = 10000.0
_EPSILON = 1e-6


def frame_positions(height: int, width: int, channels: int, device: torch.device) -> Tensor:
    """Return positions in a frame, (channels, height, width) float32: half of the channels for y, half for x."""
    rows = _axis(height, channels // 2, device).T[:, :, None].expand(-1, -1, width)
    columns = _axis(width, channels // 2, device).T[:, None, :].expand(-1, height, -1)
    return torch.cat((rows, columns))


def clip_positions(frames: int, height: int, width: int, channels: int, device: torch.device) -> Tensor:
    """Return positions in a clip, (frames, channels, height, width) float32: those in the frame plus those in time."""
    times = _axis(frames, channels, device)[:, :, None, None]
    return frame_positions(height, width, channels, device) + times


def _axis(length: int, channels: int, device: torch.device) -> Tensor:
    """Return (length, channels) of sin and cos in turn."""
    places = torch.arange(1, length + 1, dtype=torch.float32, device=device)
    angles = places / (length + _EPSILON) * (2 * math.pi)
    exponents = 2 * (torch.arange(channels, device=device) // 2) / channels
    waves = angles[:, None] / _TEMPERATURE**exponents
    return torch.stack((waves[:, 0::2].sin(), waves[:, 1::2].cos()), dim=2).flatten(1)
