"""One optimizer step: a batch in parts, over all devices, as if it were worked on at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.parallel import DistributedDataParallel

from flowcut_training.config import TrainingConfig
from flowcut_training.data import Batch
from flowcut_training.engine.average import WeightAverage
from flowcut_training.engine.optimizer import learning_rate, set_learning_rate
from flowcut_training.engine.plan import KnownToAllError
from flowcut_training.engine.ranks import Ranks
from flowcut_training.loss import Losses, SetCriterion, Share
from flowcut_training.loss.matcher import NotFiniteError
from flowcut_training.model import VideoMask2Former, normalize
from flowcut_training.precision import choose_precision

_LOSSES = ("loss", "classification", "mask", "dice")


@dataclass(frozen=True)
class Sizes:
    """What part of a batch holds: instances, and the sum of the class weights of its queries."""

    instances: float
    class_weight: float


class Stepper:
    """Takes steps with a model.

    Everything that is random at a step is a function of the seed, the step and the rank, so no state of a generator
    need be kept.

    Parameters
    ----------
    model : VideoMask2Former
        On its device.
    optimizer : torch.optim.Optimizer
        Of the model, with groups as `make_optimizer` makes them.
    average : WeightAverage or None
        Updated after each step.
    config : TrainingConfig
    ranks : Ranks
    """

    def __init__(
        self,
        model: VideoMask2Former,
        optimizer: torch.optim.Optimizer,
        average: WeightAverage | None,
        config: TrainingConfig,
        ranks: Ranks,
    ) -> None:
        self._model, self._optimizer, self._average = model, optimizer, average
        self._config, self._ranks = config, ranks
        self._criterion = SetCriterion(config.loss)
        self.precision = choose_precision(config.optimizer.precision, ranks.device)
        self._parallel: DistributedDataParallel | None = None
        if ranks.world > 1:
            devices = [ranks.device] if ranks.device.type == "cuda" else None
            # Statistics are frozen: there is nothing to send but gradients.
            self._parallel = DistributedDataParallel(model, devices, broadcast_buffers=False)

    def sizes(self, parts: Sequence[Batch]) -> Sizes:
        """Return what this process has of a batch."""
        counts = [len(masks) for part in parts for masks in part.masks]
        queries = self._config.model.num_queries
        return Sizes(float(sum(counts)), sum(self._criterion.class_weight(count, queries) for count in counts))

    def take(self, step: int, parts: Sequence[Batch], whole: Sizes) -> dict[str, float]:
        """Take one step; return its figures.

        Parameters
        ----------
        step : int
            From 0.
        parts : sequence of Batch
            What this process works on, one part after the other.
        whole : Sizes
            Of the batch over all processes and parts.

        Raises
        ------
        KnownToAllError
            If the loss or the gradient is not finite; the weights are then those of before the step.
        """
        torch.manual_seed(_seed_of(self._config.run.seed, step, self._ranks.rank))
        # Gradients are averaged over processes and parts: dividing by the mean over them makes that the whole batch's.
        pieces = self._ranks.world * len(parts)
        share = Share(max(1.0, whole.instances) / pieces, whole.class_weight / pieces)
        self._optimizer.zero_grad(set_to_none=True)
        figures = dict.fromkeys(_LOSSES, 0.0)
        for number, part in enumerate(parts):
            is_last = number == len(parts) - 1
            # Gradients are exchanged once, with those of the last part.
            with nullcontext() if is_last or self._parallel is None else self._parallel.no_sync():
                losses = self._forward(part, share)
                figures = {name: figures[name] + value / pieces for name, value in _values(losses).items()}
                if is_last:
                    # Before gradients are exchanged, for which all processes are needed.
                    figures = self._agree(step, figures, parts)
                if losses is not None:
                    (losses.total / len(parts)).backward()
        optimizer = self._config.optimizer
        norm = float(torch.nn.utils.clip_grad_norm_(self._model.parameters(), optimizer.clip_norm))
        if not math.isfinite(norm):
            raise _not_finite("gradient", step, self._ranks.gather(_names(parts)))
        rate = learning_rate(step, optimizer)
        set_learning_rate(self._optimizer, rate)
        self._optimizer.step()
        if self._average is not None:
            self._average.update()
        return {**figures, "gradient_norm": norm, "lr": rate}

    def _forward(self, part: Batch, share: Share) -> Losses | None:
        """Return the losses of a batch, None where predictions are not finite."""
        device = self._ranks.device
        frames = part.frames.to(device, non_blocking=True)
        masks = [of_clip.to(device, non_blocking=True) for of_clip in part.masks]
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=self.precision == "bf16"):
            predictions = (self._parallel or self._model)(normalize(frames, part.sizes))
        try:
            return self._criterion(predictions, masks, share)
        except NotFiniteError:
            return None

    def _agree(self, step: int, figures: dict[str, float], parts: Sequence[Batch]) -> dict[str, float]:
        """Return the figures over all processes; raise in all of them if one has no finite loss."""
        totals = dict(zip(figures, self._ranks.total(*figures.values()), strict=True))
        if not all(map(math.isfinite, totals.values())):
            is_guilty = not all(map(math.isfinite, figures.values()))
            raise _not_finite("loss", step, self._ranks.gather(_names(parts) if is_guilty else []))
        return totals


def _not_finite(what: str, step: int, names: Sequence[Sequence[str]]) -> KnownToAllError:
    clips = ", ".join(name for of_rank in names for name in of_rank)
    return KnownToAllError(f"the {what} is not finite at step {step + 1} ({clips[:400]})")


def _names(parts: Sequence[Batch]) -> list[str]:
    return [name for part in parts for name in part.names]


def _seed_of(seed: int, step: int, rank: int) -> int:
    """Mix seed, step and rank into one number of 63 bits."""
    return int(np.random.SeedSequence([seed, step, rank]).generate_state(1, np.uint64)[0] >> 1)


def _values(losses: Losses | None) -> dict[str, float]:
    if losses is None:
        return dict.fromkeys(_LOSSES, math.nan)
    # One exchange with the device for all of them.
    values = torch.stack((losses.total, losses.classification, losses.mask, losses.dice)).tolist()
    return dict(zip(_LOSSES, values, strict=True))
