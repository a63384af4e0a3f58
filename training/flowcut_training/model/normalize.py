"""From pixels to what the network takes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

# Of ImageNet, RGB on 0..255, as Mask2Former has them.
PIXEL_MEAN = (123.675, 116.28, 103.53)
PIXEL_STD = (58.395, 57.12, 57.375)
# The backbone's coarsest level is that many times smaller than the picture.
STRIDE = 32


def normalize(frames: Tensor, sizes: Sequence[tuple[int, int]] | None = None) -> Tensor:
    """Return clips with the channels' mean taken off and divided by their deviation.

    Parameters
    ----------
    frames : (B, T, 3, H, W) uint8 tensor
        RGB.
    sizes : sequence of (height, width), optional
        What of each clip is picture; the rest is padding, which is 0 *after* normalising (a grey, not a black one).

    Returns
    -------
    (B, T, 3, H, W) float32 tensor
    """
    mean, std = (torch.tensor(values, device=frames.device)[:, None, None] for values in (PIXEL_MEAN, PIXEL_STD))
    video = (frames.float() - mean) / std
    for clip, (height, width) in zip(video, sizes or (), strict=sizes is not None):
        clip[..., height:, :] = 0
        clip[..., width:] = 0
    return video


def pad_to_stride(length: int) -> int:
    """Return the next multiple of 32 pixels."""
    return -(-length // STRIDE) * STRIDE
