"""Masks compared at points instead of at all pixels (Kirillov et al. 2020, PointRend; Cheng et al. 2022)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def sample_points(maps: Tensor, points: Tensor) -> Tensor:
    """Return maps (N, C, H, W) at points (N, P, 2), (x, y) in 0..1, bilinearly: (N, C, P)."""
    return F.grid_sample(maps, 2 * points[:, :, None] - 1, align_corners=False)[..., 0]


@torch.no_grad()
def uncertain_points(logits: Tensor, count: int, oversample: float, share: float) -> Tensor:
    """Draw points, most of them where a mask is unsure of itself.

    Parameters
    ----------
    logits : (N, 1, H, W) tensor
    count : int
        Points of each map.
    oversample : float
        Out of `oversample` times as many uniform points those with the smallest absolute logit are taken.
    share : float
        The share of the points that is taken so; the others are uniform.

    Returns
    -------
    (N, count, 2) tensor
        (x, y) in 0..1.
    """
    maps = len(logits)
    uncertain = int(share * count)
    points = torch.rand(maps, int(count * oversample), 2, device=logits.device)
    certainty = sample_points(logits, points)[:, 0].abs()
    best = certainty.topk(uncertain, dim=1, largest=False).indices
    chosen = points.gather(1, best[:, :, None].expand(-1, -1, 2))
    rest = torch.rand(maps, count - uncertain, 2, device=logits.device)
    return torch.cat((chosen, rest), dim=1)
