"""What a person did on the masks of a video, carried over to the masks of a new run."""

from __future__ import annotations

from dataclasses import replace

from flowcut_napari.core.decisions import Decision, Decisions, HandMask, Stale
from flowcut_napari.core.pseudo_masks import FrameMasks, Instance
from flowcut_napari.core.store import VideoMasks


def carry_over(old: VideoMasks, new: VideoMasks) -> VideoMasks:
    """Return the masks of a new run with the decisions and hand-made masks of the file that it replaces.

    What was made on masks of the same video, parameters and models holds again, stale items of earlier runs among
    it. All else becomes or stays stale: nothing that a person did is dropped.
    """
    done: list[Stale] = list(old.decisions.stale)
    done += [Stale(old.basis, HandMask(frame.index, item)) for frame in old.frames for item in _hand_made(frame)]
    done += [Stale(old.basis, decision) for decision in old.decisions.made]
    ours = [item.what for item in done if item.basis == new.basis]
    stale = [item for item in done if item.basis != new.basis]
    result = replace(new, decisions=Decisions())
    # Masks first: decisions may be about them.
    for mask in ours:
        if isinstance(mask, HandMask):
            changed = _with_hand_mask(result, mask)
            stale += [] if changed else [Stale(new.basis, mask)]
            result = changed or result
    made: list[Decision] = []
    for decision in ours:
        if isinstance(decision, HandMask):
            continue
        if result.has_all(decision):
            made.append(decision)
        else:  # the new run has fewer frames
            stale.append(Stale(new.basis, decision))
    return replace(result, decisions=Decisions(tuple(made), tuple(stale)))


def _hand_made(frame: FrameMasks) -> list[Instance]:
    return [instance for instance in frame.instances if instance.origin != "cut"]


def _with_hand_mask(masks: VideoMasks, made: HandMask) -> VideoMasks | None:
    """Put a hand-made mask in its place, or return None where there is no such frame."""
    frames = list(masks.frames)
    for place, frame in enumerate(frames):
        if frame.index != made.frame:
            continue
        others = [instance for instance in frame.instances if instance.id != made.instance.id]
        instances = sorted([*others, made.instance], key=lambda instance: instance.id)
        frames[place] = replace(frame, instances=tuple(instances))
        return replace(masks, frames=tuple(frames))
    return None
