"""What a person does to the masks of a video, each action a function from masks to masks.

All of it ends in decisions and hand-made masks (`decisions`, `VideoMasks.with_mask`), which ``flowcut curate`` reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

import numpy as np

from flowcut_napari.core.clips import ClipOutcome, Curation
from flowcut_napari.core.decisions import (
    ClipVerdict,
    Decision,
    InstanceVerdict,
    Join,
    Key,
    Relabel,
    Split,
    TrackletVerdict,
    Verdict,
)
from flowcut_napari.core.errors import InputError
from flowcut_napari.core.pseudo_masks import Instance
from flowcut_napari.core.store import VideoMasks
from flowcut_napari.core.tracklets import Tracklet


def judge_clip(masks: VideoMasks, frames: tuple[int, ...], verdict: Verdict | None) -> VideoMasks:
    """Accept or reject the clip of these frames; None takes the verdict back."""
    if masks.decisions.clips().get(frames) == verdict:
        return masks
    masks = _without(masks, lambda item: isinstance(item, ClipVerdict) and item.clip == frames)
    return masks.decide(ClipVerdict(frames, verdict)) if verdict else masks


def judge_instance(masks: VideoMasks, key: Key, verdict: Verdict | None) -> VideoMasks:
    """Accept or reject one mask, (frame, id); None takes the verdict back."""
    if masks.decisions.instances().get(key) == verdict:
        return masks
    masks = _without(masks, lambda item: isinstance(item, InstanceVerdict) and item.instance == key)
    return masks.decide(InstanceVerdict(key, verdict)) if verdict else masks


def judge_tracklet(masks: VideoMasks, tracklet: Tracklet, verdict: Verdict | None) -> VideoMasks:
    """Accept or reject all of a tracklet; None takes every verdict on it back.

    It is named by its first member: of what is split off later, the first part keeps the verdict.
    """
    members = set(tracklet.members)
    made = [item for item in masks.decisions.made if isinstance(item, TrackletVerdict) and item.instance in members]
    if len(made) == 1 and (made[0].instance, made[0].verdict) == (tracklet.members[0], verdict):
        return masks
    masks = _without(masks, lambda item: isinstance(item, TrackletVerdict) and item.instance in members)
    return masks.decide(TrackletVerdict(tracklet.members[0], verdict)) if verdict else masks


def clips_above(masks: VideoMasks, outcomes: Iterable[ClipOutcome], score: float) -> list[tuple[int, ...]]:
    """Return the kept clips without a verdict in which each object has an IoU of at least `score`.

    Links that a person made have no IoU that speaks for them: clips with one are not among these.
    """
    known = masks.decisions.clips()
    return [
        item.frames
        for item in outcomes
        if item.reason in (None, "not_accepted")
        and item.tracks
        and item.frames not in known
        and all(track.iou is not None and track.iou >= score for track in item.tracks)
    ]


def accept_above(masks: VideoMasks, outcomes: Iterable[ClipOutcome], score: float) -> VideoMasks:
    """Accept all `clips_above` a score."""
    return masks.decide(*(ClipVerdict(frames, "accept") for frames in clips_above(masks, outcomes, score)))


def split_from(masks: VideoMasks, curate: Callable[[VideoMasks], Curation], key: Key) -> VideoMasks:
    """Begin a new tracklet with this mask: its object is another one from this frame on.

    `curate` matches masks anew.

    Raises
    ------
    InputError
        If its tracklet begins there already.
    """
    before = curate(masks)
    chain = chain_of(before, key)
    if chain.members[0] == key:
        raise InputError(f"object {chain.identity} begins in frame {key[0]} already")
    masks = masks.decide(Split(key))
    after = curate(masks)
    if after.identity[key] == chain.identity:
        # Both parts have been given the same name, which no split takes away.
        masks = masks.decide(Relabel(key, max(item.identity for item in after.chains) + 1))
    return masks


def swap_from(masks: VideoMasks, curation: Curation, first: Key, second: Key) -> VideoMasks:
    """Exchange the identities of two masks of one frame, and of all that follows them.

    Raises
    ------
    InputError
        If they are not of one frame, or one.
    """
    if first[0] != second[0] or first == second:
        raise InputError("two masks of one frame can be swapped")
    mine, other = chain_of(curation, first), chain_of(curation, second)
    decisions: list[Decision] = []
    for key, old, new in ((first, mine, other), (second, other, mine)):
        before = [member for member in new.members if member[0] < key[0]]
        if before:
            decisions.append(Join(before[-1], key))
            continue
        # There is nothing to go on from: its own past goes on with the other one, and it takes over the name.
        if old.members[0] != key:
            decisions.append(Split(key))
        decisions.append(Relabel(key, new.identity))
    return masks.decide(*sorted(decisions, key=lambda item: isinstance(item, Join)))


def join(masks: VideoMasks, first: Key, second: Key) -> VideoMasks:
    """Let the mask of a later frame go on from that of an earlier one; either leaves what it was linked to there.

    Raises
    ------
    InputError
        If they are of one frame.
    """
    if first[0] == second[0]:
        raise InputError("two masks of one frame are two objects; swap them, or reject one")
    return masks.decide(Join(min(first, second), max(first, second)))


def name_tracklet(masks: VideoMasks, curation: Curation, key: Key, identity: int) -> VideoMasks:
    """Give all of a tracklet an identity; where another has it, both are one from now on.

    Raises
    ------
    InputError
        If there is no such identity, or both have a mask in the same frame.
    """
    mine = chain_of(curation, key)
    if mine.identity == identity:
        return masks
    other = next((chain for chain in curation.chains if chain.identity == identity), None)
    if other is None:
        return masks.decide(*_names(masks, mine, identity))
    if shared := {frame for frame, _ in mine.members} & {frame for frame, _ in other.members}:
        raise InputError(
            f"objects {mine.identity} and {identity} are both in frame {min(shared)}, so they are not one; "
            "split one of them first"
        )
    # Whatever the other is called by matching alone, it keeps its name.
    return masks.decide(Relabel(other.members[0], identity), *_names(masks, mine, identity))


def remove(masks: VideoMasks, key: Key) -> VideoMasks:
    """Take a mask away: one that was drawn is gone with all that was decided about it, any other is rejected."""
    if instance_of(masks, key).origin != "drawn":
        return judge_instance(masks, key, "reject")
    masks = _without(masks, lambda item: key in item.subjects())
    return _with_instances(masks, key[0], lambda kept: tuple(item for item in kept if item.id != key[1]))


def draw(masks: VideoMasks, frame: int, mask: np.ndarray, above: int = 0) -> tuple[VideoMasks, Key]:
    """Add a mask (height, width) bool with an id above a number; return also which it is."""
    masks = masks.with_mask(frame, mask)
    made = frame_of(masks, frame)[-1]
    number = max(made.id, above + 1)
    if number != made.id:
        masks = _with_instances(masks, frame, lambda kept: (*kept[:-1], replace(made, id=number)))
    return masks, (frame, number)


def draw_as(
    masks: VideoMasks,
    frame: int,
    mask: np.ndarray,
    identity: int,
    curate: Callable[[VideoMasks], Curation],
    above: int = 0,
) -> VideoMasks:
    """Add a mask of an object, with an id above a number.

    It is linked to the object's masks before and after, if IoU alone does not do that.

    With a number that no object has, it becomes part of what it overlaps enough in other frames, else a new object.
    Where a mask of the object was rejected in this frame, this one takes its place.

    Raises
    ------
    InputError
        If the object has a mask in this frame.
    """
    chain = next((chain for chain in curate(masks).chains if chain.identity == identity), None)
    gone = next((key for key in chain.members if key[0] == frame), None) if chain is not None else None
    if chain is not None and gone is not None:
        if masks.decisions.instances().get(gone) != "reject":
            raise InputError(f"object {identity} has a mask in frame {frame} already")
        masks = judge_instance(masks.with_mask(frame, mask, gone[1]), gone, None)
        return _held(masks, gone, chain, curate)
    masks, key = draw(masks, frame, mask, above)
    if chain is not None:
        return _held(masks, key, chain, curate)
    is_alone = chain_of(curate(masks), key).members == (key,)
    return masks.decide(Relabel(key, identity)) if is_alone else masks


def _held(masks: VideoMasks, key: Key, chain: Tracklet, curate: Callable[[VideoMasks], Curation]) -> VideoMasks:
    """Link a mask to those of an object before and after it, if IoU alone does not do that."""
    others = [member for member in chain.members if member != key]
    if set(others) <= set(chain_of(curate(masks), key).members):
        return masks
    before = [member for member in others if member[0] < key[0]]
    after = [member for member in others if member[0] > key[0]]
    links = [Join(before[-1], key)] if before else []
    links += [Join(key, after[0])] if after else []
    return masks.decide(*links)


def repaint(
    masks: VideoMasks,
    frame: int,
    painted: Mapping[int, np.ndarray],
    curate: Callable[[VideoMasks], Curation],
) -> VideoMasks:
    """Take up what a brush left of the objects of a frame.

    Where nothing was painted, nothing changes: of two masks that overlap, the one below keeps what cannot be seen.

    Parameters
    ----------
    masks : VideoMasks
    frame : int
    painted : mapping of int to (height, width) bool
        What is seen of each object, by identity; an object that is not named, or whose mask is empty, was erased
        as far as it was seen.
    curate : callable
        Matches masks anew, for objects that were drawn.

    Raises
    ------
    InputError
        If the frame has no masks, or an object that was painted cannot be there.
    """
    curation = curate(masks)
    here = {curation.identity[frame, item.id]: item.id for item in seen_in(masks, frame)}
    size = masks.video.height, masks.video.width
    after = np.zeros(size, np.int64)
    for identity, mask in painted.items():
        after[mask] = identity
    before = np.zeros(size, np.int64)
    for identity, number in here.items():
        before[instance_of(masks, (frame, number)).mask] = identity
    touched = before != after
    if not touched.any():
        return masks
    gained = set(np.unique(after[touched]).tolist()) - {0}
    highest = max((item.id for item in frame_of(masks, frame)), default=0)
    edited: list[Key] = []
    for identity, number in here.items():
        item = instance_of(masks, (frame, number))
        left, top, width, height = (int(side) for side in item.bbox)
        if identity not in gained and not touched[top : top + height, left : left + width].any():
            continue  # to decode each of hundreds of masks takes a while
        known = item.mask
        mask = np.where(touched, after == identity, known)
        if not mask.any():
            masks = remove(masks, (frame, number))
        elif not np.array_equal(mask, known):
            masks = masks.with_mask(frame, mask, number)
            edited.append((frame, number))
    # What is painted on an object is part of it, however little of it is left.
    for key in edited:
        masks = _held(masks, key, chain_of(curation, key), curate)
    for identity in sorted(gained - set(here)):
        # What was edited so far may have changed numbers that nobody gave.
        masks = keep_numbers(curation, masks, curate)
        curation = curate(masks)
        # An id that was erased by this stroke is not given to what it drew: that is another object.
        masks = draw_as(masks, frame, touched & (after == identity), identity, curate, highest)
    return masks


def keep_numbers(before: Curation, masks: VideoMasks, curate: Callable[[VideoMasks], Curation]) -> VideoMasks:
    """Name objects where an action would give others than it is about another number than they had.

    Numbers go by the order of first frames, so that one more object may move all that come after it: for who looks
    at them, each would change its colour.

    Parameters
    ----------
    before : Curation
        Of the masks before the action.
    masks : VideoMasks
        After it.
    curate : callable
        Matches masks anew.
    """
    known = {id(item) for item in before.masks.decisions.made}
    named = {item.instance for item in masks.decisions.made if isinstance(item, Relabel) and id(item) not in known}
    number_of = {chain.members[0]: chain.identity for chain in before.chains}
    taken: set[int] = set()
    kept: list[tuple[Tracklet, int]] = []
    begun: list[Tracklet] = []
    for chain in curate(masks).chains:
        if named.intersection(chain.members):
            taken.add(chain.identity)
        elif chain.members[0] in number_of:
            kept.append((chain, number_of[chain.members[0]]))
        else:
            begun.append(chain)
    taken.update(number for _, number in kept)
    for chain in begun:
        earlier = (before.identity[key] for key in chain.members if key in before.identity)
        number = next((number for number in (*earlier, chain.identity) if number not in taken), None)
        if number is None:
            number = max(*taken, *before.identity.values()) + 1
        taken.add(number)
        kept.append((chain, number))
    wanted = {chain.members[0]: number for chain, number in kept}
    # A name that is given makes another number free, which somebody may take: until all have theirs.
    for _ in kept:
        chains = curate(masks).chains
        names = [
            Relabel(chain.members[0], wanted[chain.members[0]])
            for chain in chains
            if wanted.get(chain.members[0], chain.identity) != chain.identity
        ]
        if not names:
            break
        masks = masks.decide(*names)
    return masks


def seen_in(masks: VideoMasks, frame: int) -> list[Instance]:
    """Return the instances of a frame that nobody rejected one by one."""
    verdicts = masks.decisions.instances()
    return [item for item in frame_of(masks, frame) if verdicts.get((frame, item.id)) != "reject"]


def frame_of(masks: VideoMasks, frame: int) -> tuple[Instance, ...]:
    """Return the instances of a frame; none where it has no masks."""
    place = masks.place_of(frame)
    return masks.frames[place].instances if place is not None else ()


def instance_of(masks: VideoMasks, key: Key) -> Instance:
    """Return an instance.

    Raises
    ------
    InputError
        If there is none.
    """
    found = next((item for item in frame_of(masks, key[0]) if item.id == key[1]), None)
    if found is None:
        raise InputError(f"{masks.video.name}: no instance {key[1]} in frame {key[0]}")
    return found


def chain_of(curation: Curation, key: Key) -> Tracklet:
    """Return the tracklet that an instance is part of, rejected members included."""
    identity = curation.identity[key]
    return next(chain for chain in curation.chains if chain.identity == identity)


def _names(masks: VideoMasks, tracklet: Tracklet, identity: int) -> list[Relabel]:
    """Name a tracklet, and each part of it that has a name of its own."""
    members = set(tracklet.members)
    named = {item.instance for item in masks.decisions.made if isinstance(item, Relabel) and item.instance in members}
    return [Relabel(key, identity) for key in sorted({tracklet.members[0], *named})]


def _without(masks: VideoMasks, unwanted: Callable[[Decision], bool]) -> VideoMasks:
    made = tuple(item for item in masks.decisions.made if not unwanted(item))
    if len(made) == len(masks.decisions.made):
        return masks
    return replace(masks, decisions=replace(masks.decisions, made=made))


def _with_instances(
    masks: VideoMasks, frame: int, change: Callable[[tuple[Instance, ...]], tuple[Instance, ...]]
) -> VideoMasks:
    frames = list(masks.frames)
    place = masks.place_of(frame)
    assert place is not None  # asked of frames with masks only
    frames[place] = replace(frames[place], instances=change(frames[place].instances))
    return replace(masks, frames=tuple(frames))
