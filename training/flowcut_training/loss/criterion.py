"""The loss: classification, binary cross-entropy and dice of masks, for the last prediction and all earlier ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from flowcut_training.loss.matcher import match_queries
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
        last = self._of_layer(predictions, instances, share)
        total = self._weighted(last)
        for layer in predictions["aux_outputs"]:
            total = total + self._weighted(self._of_layer(layer, instances, share))
        return Losses(total, *last)

    def _weighted(self, losses: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        classification, mask, dice = losses
        weights = self.parameters
        return weights.class_weight * classification + weights.mask_weight * mask + weights.dice_weight * dice

    def _of_layer(
        self, prediction: Prediction, instances: Sequence[Tensor], share: Share
    ) -> tuple[Tensor, Tensor, Tensor]:
        logits, masks = prediction["pred_logits"].float(), prediction["pred_masks"]
        matches = [
            match_queries(of_clip, shapes, wanted, self.parameters)
            for of_clip, shapes, wanted in zip(logits, masks, instances, strict=True)
        ]
        classification = self._classification(logits, matches) / share.class_weight
        # One row a matched instance and frame.
        chosen = torch.cat([shapes[queries] for shapes, (queries, _) in zip(masks, matches, strict=True)])
        wanted = torch.cat([of_clip[order] for of_clip, (_, order) in zip(instances, matches, strict=True)])
        mask, dice = self._of_masks(chosen.flatten(0, 1)[:, None].float(), wanted.flatten(0, 1)[:, None])
        return classification, mask / share.instances, dice / share.instances

    def _classification(self, logits: Tensor, matches: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
        no_object = logits.shape[-1] - 1
        classes = torch.full(logits.shape[:2], no_object, device=logits.device)
        for row, (queries, _) in zip(classes, matches, strict=True):
            row[queries.to(row.device)] = 0
        weights = logits.new_ones(no_object + 1)
        weights[no_object] = self.parameters.no_object_weight
        return F.cross_entropy(logits.flatten(0, 1), classes.flatten(), weights, reduction="sum")

    def _of_masks(self, logits: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sums over maps (M, 1, ...) of mean cross-entropy and of dice."""
        if not len(logits):
            # Zeros that still depend on the prediction: every device must have gradients for every weight.
            return logits.sum(), logits.sum()
        weights = self.parameters
        points = uncertain_points(logits, weights.points, weights.oversample, weights.uncertain_share)
        with torch.no_grad():
            targets = sample_points(wanted.float(), points)[:, 0]
        predicted = sample_points(logits, points)[:, 0]
        entropy = F.binary_cross_entropy_with_logits(predicted, targets, reduction="none").mean(1).sum()
        inside = predicted.sigmoid()
        overlap = 2 * (inside * targets).sum(1)
        dice = (1 - (overlap + 1) / (inside.sum(1) + targets.sum(1) + 1)).sum()
        return entropy, dice
