"""The moving average of a model's weights, which is often better than the last weights (off by default)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class WeightAverage:
    """An exponential moving average of all trained weights.

    Parameters
    ----------
    model : nn.Module
        Whose weights are averaged; it starts with those that it has.
    decay : float
        Of the average, as a step goes by, 0 to 1.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._model, self._decay = model, decay
        self.weights: dict[str, Tensor] = {name: weight.detach().clone() for name, weight in model.named_parameters()}

    @torch.no_grad()
    def update(self) -> None:
        """Take the weights of a step in."""
        weights = [weight.detach() for weight in self._model.parameters()]
        torch._foreach_lerp_(list(self.weights.values()), weights, 1 - self._decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Give the model the averaged weights for a while."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    @torch.no_grad()
    def _exchange(self) -> None:
        for name, weight in self._model.named_parameters():
            current = weight.detach().clone()
            weight.copy_(self.weights[name])
            self.weights[name] = current
