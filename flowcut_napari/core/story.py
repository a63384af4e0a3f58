"""What became of the cuts of a frame, in plain sentences."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from flowcut_napari.core.masks import mask_iou
from flowcut_napari.core.ncut import Cut, IterativeCut
from flowcut_napari.core.parameters import CutParameters
from flowcut_napari.core.pseudo_masks import FrameMasks, Instance, Rejected

_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")


def tell_stop(result: IterativeCut, parameters: CutParameters) -> str:
    """Say why there are no more cuts.

    Examples
    --------
    >>> tell_stop(IterativeCut((), "max_instances"), CutParameters(max_instances=3))
    'stopped after 3: that is as many as asked for'
    """
    if result.stop == "max_instances":
        return f"stopped after {parameters.max_instances}: that is as many as asked for"
    begin = f"stopped after {len(result.cuts)}"
    refused = result.rejected
    if refused is None:
        return f"{begin}: every patch is in a mask"
    which = f"the {_ordinal(refused.iteration)} cut"
    if result.stop == "duplicate":
        other = _most_alike(refused, result.cuts)
        covered = float((refused.raw_mask & other.raw_mask).sum() / max(1, other.raw_mask.sum()))
        return (
            f"{begin}: {which} covers {covered:.0%} of mask {other.iteration} again "
            f"(IoU {refused.overlap:.2f}, above {parameters.max_overlap:g})"
        )
    if result.stop == "too_small":
        share = float(refused.raw_mask.mean())
        return f"{begin}: {which} covers {share:.2%} of the patches, not more than {parameters.min_area:.2%}"
    if result.stop == "weak":
        return f"{begin}: {which} has the eigenvalue {refused.eigenvalue:.3g}, above {parameters.max_eigenvalue:g}"
    return f"{begin}: {which} has no definite direction (eigengap {refused.eigengap:.1e}), any split would do as well"


def tell_cut(cut: Cut) -> str:
    """Say what a cut is, in numbers: its share of the patches, its eigenvalue λ₂, and the gap to the next one."""
    return f"{float(cut.raw_mask.mean()):.1%} of the patches, λ₂ {cut.eigenvalue:.3g}, gap {cut.eigengap:.2g}"


def tell_mask(masks: FrameMasks, iteration: int, parameters: CutParameters) -> str:
    """Say what the refinement made of a cut: its mask, or why there is none."""
    for instance in masks.instances:
        if instance.iteration == iteration:
            return _kept(instance)
    for rejected in masks.rejected:
        if rejected.iteration == iteration:
            return tell_rejected(rejected, parameters)
    return "no mask"


def tell_rejected(rejected: Rejected, parameters: CutParameters) -> str:
    """Say why a cut gave no mask.

    Examples
    --------
    >>> tell_rejected(Rejected(2, "crf_iou", 0.2, 0.31, 0.1, 0.1, (0, 0)), CutParameters())
    'dropped: IoU 0.31 before and after the CRF, below 0.5'
    """
    if rejected.reason == "crf_iou":
        low = rejected.iou if rejected.iou is not None and rejected.iou < parameters.crf_min_iou else None
        if low is None:
            return f"dropped: what earlier masks leave of it has an IoU below {parameters.crf_min_iou:g} with its cut"
        return f"dropped: IoU {low:.2f} before and after the CRF, below {parameters.crf_min_iou:g}"
    return {
        "empty": "dropped: the CRF left nothing of it",
        "duplicate": f"refused: repeats an earlier cut (IoU {rejected.iou or 0:.2f})",
        "too_small": f"refused: {rejected.share:.2%} of the patches is too small",
        "degenerate": "refused: no definite direction",
        "weak": f"refused: eigenvalue {rejected.eigenvalue:.3g}, above {parameters.max_eigenvalue:g}",
    }[rejected.reason]


def _kept(instance: Instance) -> str:
    agreement = "not refined" if instance.crf_iou is None else f"IoU with the raw cut {instance.crf_iou:.2f}"
    return f"mask {instance.id}: {instance.area:,} px, {agreement}"


def _most_alike(refused: Cut, cuts: Sequence[Cut]) -> Cut:
    return cuts[int(np.argmax([mask_iou(cut.raw_mask, refused.raw_mask) for cut in cuts]))]


def _ordinal(number: int) -> str:
    return _ORDINALS[number - 1] if number <= len(_ORDINALS) else f"{number}th"
