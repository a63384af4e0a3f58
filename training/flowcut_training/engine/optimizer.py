"""AdamW as Mask2Former sets it up, and the learning rate of every step."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from flowcut_training.config import OptimizerParameters

_NORMS = (nn.LayerNorm, nn.GroupNorm, nn.BatchNorm2d)


def make_optimizer(model: nn.Module, parameters: OptimizerParameters) -> torch.optim.AdamW:
    """Make AdamW with weight decay for all but norms and embeddings, and a lower learning rate for the backbone."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, owner, parameter in _parameters(model):
        factor = parameters.backbone_factor if name.startswith("backbone.") else 1.0
        decay = 0.0 if isinstance(owner, (*_NORMS, nn.Embedding)) else parameters.weight_decay
        groups.setdefault((factor, decay), []).append(parameter)
    return torch.optim.AdamW(
        [
            {"params": members, "lr": parameters.lr * factor, "weight_decay": decay, "factor": factor}
            for (factor, decay), members in groups.items()
        ]
    )


def learning_rate(step: int, parameters: OptimizerParameters) -> float:
    """Return the learning rate of a step, counted from 0: linear warm-up, then lower at each milestone.

    It is a function of the step alone, so that it has no state to be kept.
    """
    rate = parameters.lr * parameters.decay ** sum(step >= milestone for milestone in parameters.milestones)
    if step < parameters.warmup_steps:
        progress = step / parameters.warmup_steps
        rate *= parameters.warmup_factor * (1 - progress) + progress
    return rate


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give each group its part of a learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["factor"]


def _parameters(model: nn.Module) -> Iterator[tuple[str, nn.Module, nn.Parameter]]:
    for path, owner in model.named_modules():
        for name, parameter in owner.named_parameters(recurse=False):
            if parameter.requires_grad:
                yield f"{path}.{name}" if path else name, owner, parameter
