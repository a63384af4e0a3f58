"""One query for each instance: the assignment of least cost (Mask2Former's matcher, over whole clips)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from flowcut_training.loss.parameters import LossParameters
from flowcut_training.loss.points import sample_points


class NotFiniteError(ArithmeticError):
    """A prediction holds NaN or infinite numbers, so that nothing can be matched with it."""


@torch.no_grad()
def match_queries(
    logits: Tensor, masks: Tensor, instances: Tensor, parameters: LossParameters
) -> tuple[Tensor, Tensor]:
    """Assign the instances of one clip to its queries.

    Parameters
    ----------
    logits : (Q, classes + 1) tensor
    masks : (Q, T, h, w) tensor
        Logits.
    instances : (N, T, H, W) bool tensor
        Of class 0; N may be 0.
    parameters : LossParameters

    Returns
    -------
    queries, instances : (min(Q, N),) int64 tensors on the CPU
        Query i belongs to instance i.

    Raises
    ------
    NotFiniteError
        If the cost cannot be told.

    Notes
    -----
    Costs are means over the same uniform points in every mask and frame, so a tube costs as much as its mean frame.
    """
    if not len(instances):
        return torch.empty(0, dtype=torch.int64), torch.empty(0, dtype=torch.int64)
    with torch.autocast(logits.device.type, enabled=False):
        cost = _costs(logits.float(), masks.float(), instances, parameters)
    if not bool(cost.isfinite().all()):
        raise NotFiniteError("the prediction is not finite")
    queries, numbers = linear_sum_assignment(cost.cpu().numpy())
    return torch.as_tensor(queries), torch.as_tensor(numbers)


def _costs(logits: Tensor, masks: Tensor, instances: Tensor, parameters: LossParameters) -> Tensor:
    """Return (Q, N): what it costs to take a query for an instance."""
    points = torch.rand(1, parameters.points, 2, device=logits.device)
    # Frames are the channels: all of them are looked at in the same points.
    predicted = sample_points(masks, points.expand(len(masks), -1, -1)).flatten(1)
    wanted = sample_points(instances.float(), points.expand(len(instances), -1, -1)).flatten(1)
    probability = -logits.softmax(-1)[:, :1]
    # sum of softplus(-x) where wanted and softplus(x) elsewhere; softplus(-x) = softplus(x) - x.
    entropy = (F.softplus(predicted).sum(1, keepdim=True) - predicted @ wanted.T) / predicted.shape[1]
    inside = predicted.sigmoid()
    overlap = 2 * inside @ wanted.T
    dice = 1 - (overlap + 1) / (inside.sum(1)[:, None] + wanted.sum(1)[None] + 1)
    return parameters.class_weight * probability + parameters.mask_weight * entropy + parameters.dice_weight * dice
