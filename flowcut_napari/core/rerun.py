"""What a person did on the masks of a video, carried over to the masks of a new run."""

from __future__ import annotations

from dataclasses import replace

from flowcut_napari.core.decisions import Decisions, HandMask, Stale
from flowcut_napari.core.pseudo_masks import Instance
from flowcut_napari.core.store import VideoMasks


def carry_over(old: VideoMasks, new: VideoMasks) -> VideoMasks:
    """Return the masks of a new run with the decisions and hand-made masks of the file that it replaces.

    What was made on masks of the same video, parameters and models holds again, stale items of earlier runs among
    it. All else becomes or stays stale: nothing that a person did is dropped.
    """
    done = [
        *old.decisions.stale,
        *(Stale(old.basis, mask) for mask in old.hand_masks()),
        *(Stale(old.basis, decision) for decision in old.decisions.made),
    ]
    ours = [item.what for item in done if item.basis == new.basis]
    stale = [item for item in done if item.basis != new.basis]
    # Masks first: decisions may be about them.
    result, homeless = _with_hand_masks(new, [item for item in ours if isinstance(item, HandMask)])
    decisions = [item for item in ours if not isinstance(item, HandMask)]
    made = tuple(decision for decision in decisions if result.has_all(decision))
    # The new run may have fewer frames.
    stale += [Stale(new.basis, mask) for mask in homeless]
    stale += [Stale(new.basis, decision) for decision in decisions if not result.has_all(decision)]
    return replace(result, decisions=Decisions(made, tuple(stale)))


def _with_hand_masks(masks: VideoMasks, made: list[HandMask]) -> tuple[VideoMasks, list[HandMask]]:
    """Put hand-made masks in their places; return also those whose frame is not there."""
    by_frame: dict[int, dict[int, Instance]] = {}
    for mask in made:
        by_frame.setdefault(mask.frame, {})[mask.instance.id] = mask.instance
    frames = []
    for frame in masks.frames:
        ours = by_frame.pop(frame.index, None)
        if ours:
            instances = {instance.id: instance for instance in frame.instances} | ours
            frame = replace(frame, instances=tuple(instances[number] for number in sorted(instances)))
        frames.append(frame)
    homeless = [mask for mask in made if mask.frame in by_frame]
    return replace(masks, frames=tuple(frames), decisions=Decisions()), homeless
