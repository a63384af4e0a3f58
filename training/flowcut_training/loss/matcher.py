"""One query for each instance: the assignment of least cost (Mask2Former's matcher, over whole clips)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from flowcut_training.loss.parameters import LossParameters
from flowcut_training.loss.points import sample_points


class NotFiniteError(ArithmeticError):
    """A prediction holds NaN or infinite numbers, so that nothing can be matched with it."""


@torch.no_grad()
def matching_costs(logits: Tensor, masks: Tensor, instances: Tensor, parameters: LossParameters) -> Tensor:
    """Return what it costs to take a query of a clip for an instance, (Q, N) float32.

    Parameters
    ----------
    logits : (Q, classes + 1) tensor
    masks : (Q, T, h, w) tensor
        Logits.
    instances : (N, T, H, W) bool or float tensor
        Of class 0; N may be 0.
    parameters : LossParameters

    Notes
    -----
    Costs are means over the same uniform points in every mask and frame, so a tube costs as much as its mean frame.
    """
    with torch.autocast(logits.device.type, enabled=False):
        return _costs(logits.float(), masks.float(), instances.float(), parameters)


def assign(costs: Sequence[Tensor]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return for each matrix of costs (Q, N) queries and instances, int64, so that their costs sum to the least.

    All matrices come from the device at once: each wait for a GPU costs more than what is computed here.

    Raises
    ------
    NotFiniteError
        If a cost is not finite.
    """
    if not costs:
        return []
    numbers = torch.cat([cost.flatten() for cost in costs]).cpu().numpy()
    if not np.isfinite(numbers).all():
        raise NotFiniteError("the prediction is not finite")
    ends = np.cumsum([cost.numel() for cost in costs])
    matrices = zip(np.split(numbers, ends[:-1]), costs, strict=True)
    return [linear_sum_assignment(matrix.reshape(tuple(cost.shape))) for matrix, cost in matrices]


def _costs(logits: Tensor, masks: Tensor, instances: Tensor, parameters: LossParameters) -> Tensor:
    points = torch.rand(1, parameters.points, 2, device=logits.device)
    # Frames are the channels: all of them are looked at in the same points.
    predicted = sample_points(masks, points.expand(len(masks), -1, -1)).flatten(1)
    wanted = sample_points(instances, points.expand(len(instances), -1, -1)).flatten(1)
    probability = -logits.softmax(-1)[:, :1]
    # sum of softplus(-x) where wanted and softplus(x) elsewhere; softplus(-x) = softplus(x) - x.
    entropy = (F.softplus(predicted).sum(1, keepdim=True) - predicted @ wanted.T) / predicted.shape[1]
    inside = predicted.sigmoid()
    overlap = 2 * inside @ wanted.T
    dice = 1 - (overlap + 1) / (inside.sum(1)[:, None] + wanted.sum(1)[None] + 1)
    return parameters.class_weight * probability + parameters.mask_weight * entropy + parameters.dice_weight * dice
