"""The loss: classification, binary cross-entropy and dice of masks, for the last prediction and all earlier ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from flowcut_training.loss.matcher import assign, matching_costs
from flowcut_training.loss.parameters import LossParameters
from flowcut_training.loss.points import sample_points, uncertain_points
from flowcut_training.model.video_mask2former import Prediction, Predictions


@dataclass(frozen=True)
class Share:
    """By what a part of a batch divides its sums, so that the parts add up to the loss of the whole batch.

    Attributes
    ----------
    instances : float
        Instances in the whole batch, at least 1, over the number of parts.
    class_weight : float
        Sum of the class weights of all queries in the whole batch, over the number of parts.
    """

    instances: float
    class_weight: float


@dataclass(frozen=True)
class Losses:
    """What `SetCriterion` returns: the weighted sum, and the unweighted losses of the last prediction (scalars)."""

    total: Tensor
    classification: Tensor
    mask: Tensor
    dice: Tensor


class SetCriterion:
    """Compare predictions with instances.

    Notes
    -----
    Masks are summed over instances *and* frames and divided by the number of instances alone, as the reference does:
    mask terms grow with the length of clips.
    """

    def __init__(self, parameters: LossParameters) -> None:
        self.parameters = parameters

    def class_weight(self, instances: int, queries: int) -> float:
        """Return the sum of the class weights of a clip: 1 a matched query, `no_object_weight` another."""
        matched = min(instances, queries)
        return matched + (queries - matched) * self.parameters.no_object_weight

    def __call__(self, predictions: Predictions, instances: Sequence[Tensor], share: Share | None = None) -> Losses:
        """Return the losses of a batch.

        Parameters
        ----------
        predictions : dict
            Of `VideoMask2Former`, for B clips.
        instances : sequence of (N_i, T, H, W) bool tensors
            Of each clip, all of class 0; N_i may be 0. H and W are those of the padded picture.
        share : Share, optional
            Where this batch is a part of a larger one, over devices or accumulated steps.

        Raises
        ------
        NotFiniteError
            If the predictions are not finite.
        """
        if share is None:
            queries = predictions["pred_logits"].shape[1]
            share = Share(
                max(1.0, sum(len(masks) for masks in instances)),
                sum(self.class_weight(len(masks), queries) for masks in instances),
            )
        layers: list[Prediction] = [*predictions["aux_outputs"], predictions]
        wanted = [of_clip.float() for of_clip in instances]
        every = torch.cat(wanted)
        losses = [
            self._of_layer(layer, every, queries, order, share)
            for layer, (queries, order) in zip(layers, self._match(layers, wanted), strict=True)
        ]
        return Losses(torch.stack([self._weighted(of_layer) for of_layer in losses]).sum(), *losses[-1])

    def _weighted(self, losses: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        classification, mask, dice = losses
        weights = self.parameters
        return weights.class_weight * classification + weights.mask_weight * mask + weights.dice_weight * dice

    def _match(self, layers: Sequence[Prediction], wanted: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """Give for every layer its matched queries and their instances, as places in the whole batch."""
        device, queries = wanted[0].device, layers[0]["pred_logits"].shape[1]
        costs = [
            matching_costs(logits, masks, of_clip, self.parameters)
            for layer in layers
            for logits, masks, of_clip in zip(layer["pred_logits"], layer["pred_masks"], wanted, strict=True)
        ]
        ends = np.cumsum([0, *(len(of_clip) for of_clip in wanted)])
        pairs = [
            np.stack((rows + queries * (number % len(wanted)), columns + ends[number % len(wanted)]))
            for number, (rows, columns) in enumerate(assign(costs))
        ]
        # Every layer matches as many: one way to the device for all of them.
        places = torch.from_numpy(np.concatenate(pairs, axis=1)).to(device, non_blocking=True)
        yield from (tuple(part) for part in places.chunk(len(layers), dim=1))

    def _of_layer(
        self, prediction: Prediction, wanted: Tensor, queries: Tensor, order: Tensor, share: Share
    ) -> tuple[Tensor, Tensor, Tensor]:
        classification = self._classification(prediction["pred_logits"].float(), queries) / share.class_weight
        # One row a matched instance and frame.
        chosen = prediction["pred_masks"].flatten(0, 1)[queries].flatten(0, 1)[:, None].float()
        mask, dice = self._of_masks(chosen, wanted[order].flatten(0, 1)[:, None])
        return classification, mask / share.instances, dice / share.instances

    def _classification(self, logits: Tensor, queries: Tensor) -> Tensor:
        no_object = logits.shape[-1] - 1
        classes = torch.full((logits.shape[0] * logits.shape[1],), no_object, device=logits.device)
        classes[queries] = 0
        weights = logits.new_ones(no_object + 1)
        weights[no_object] = self.parameters.no_object_weight
        return F.cross_entropy(logits.flatten(0, 1), classes, weights, reduction="sum")

    def _of_masks(self, logits: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sums over maps (M, 1, ...) of mean cross-entropy and of dice."""
        if not len(logits):
            # Zeros that still depend on the prediction: every device must have gradients for every weight.
            return logits.sum(), logits.sum()
        weights = self.parameters
        points = uncertain_points(logits, weights.points, weights.oversample, weights.uncertain_share)
        with torch.no_grad():
            targets = sample_points(wanted, points)[:, 0]
        predicted = sample_points(logits, points)[:, 0]
        entropy = F.binary_cross_entropy_with_logits(predicted, targets, reduction="none").mean(1).sum()
        inside = predicted.sigmoid()
        overlap = 2 * (inside * targets).sum(1)
        dice = (1 - (overlap + 1) / (inside.sum(1) + targets.sum(1) + 1)).sum()
        return entropy, dice
