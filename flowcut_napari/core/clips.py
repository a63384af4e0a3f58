"""From the pseudo-masks of a video to its training clips, with a reason for all that is left out."""

from __future__ import annotations

import math
from bisect import bisect
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from flowcut_napari.core.decisions import Decision, Join, Key, Relabel, Split, TrackletVerdict
from flowcut_napari.core.errors import InputError
from flowcut_napari.core.matching import Matcher, Matches, match_iou, match_video
from flowcut_napari.core.parameters import CurationParameters
from flowcut_napari.core.store import VideoMasks
from flowcut_napari.core.tracklets import Tracklet, chain_matches

# Why a clip is left out: fewer than two of its frames have masks; nothing in it matches; a person rejected it, or so
# many masks that fewer than two frames are left; nobody accepted anything in it (where that is asked for).
CLIP_REASONS = ("no_mask", "no_match", "rejected", "not_accepted")
# Why a mask is left out of a clip that was looked at: the other frames have no mask; its IoU with each is too low;
# another mask fits its match better; a person rejected it, its tracklet or the clip; nobody accepted it.
MASK_REASONS = ("alone", "unmatched", "contested", "rejected", "not_accepted")


@dataclass(frozen=True)
class ClipTrack:
    """One object in a clip.

    Attributes
    ----------
    identity : int
        Of the tracklet that its first instance is part of.
    instances : tuple of int or None
        Its instance in each frame of the clip, None where it has none; at least two are there.
    iou : float or None
        The lowest IoU of its links; None where a person made them all.
    """

    identity: int
    instances: tuple[int | None, ...]
    iou: float | None


@dataclass(frozen=True)
class Clip:
    """A training clip: frames of one video, `gap` apart in the list of frames with masks, and what matched in them."""

    frames: tuple[int, ...]
    gap: int
    tracks: tuple[ClipTrack, ...]


@dataclass(frozen=True)
class ClipOutcome:
    """What becomes of the clip that some frames allow.

    Attributes
    ----------
    frames : tuple of int
    gap : int
    tracks : tuple of ClipTrack
        What is kept in it; of a rejected clip what would be.
    reason : str or None
        Why the clip is left out (`CLIP_REASONS`), None if it is kept.
    why : dict of (int, int) to str
        Why masks of its frames are left out (`MASK_REASONS`), those apart that were rejected one by one.
    """

    frames: tuple[int, ...]
    gap: int
    tracks: tuple[ClipTrack, ...]
    reason: str | None
    why: dict[Key, str]


@dataclass
class Yield:
    """What became of the clips of one gap.

    `candidates` are all clips that the frames allow; each is kept or dropped for one reason (`CLIP_REASONS`). Each mask
    in each of them is kept (`masks`) or dropped for one reason (`MASK_REASONS`).
    """

    candidates: int = 0
    clips: int = 0
    instances: int = 0
    masks: int = 0
    dropped_clips: Counter[str] = field(default_factory=Counter)
    dropped_masks: Counter[str] = field(default_factory=Counter)

    def to_json(self) -> dict[str, Any]:
        """Return the figures as they stand in JSON."""
        return {
            "candidates": self.candidates,
            "clips": self.clips,
            "instances": self.instances,
            "masks": self.masks,
            "dropped_clips": dict(sorted(self.dropped_clips.items())),
            "dropped_masks": dict(sorted(self.dropped_masks.items())),
        }

    def add(self, other: Yield) -> None:
        """Add the figures of another gap or video."""
        self.candidates += other.candidates
        self.clips += other.clips
        self.instances += other.instances
        self.masks += other.masks
        self.dropped_clips.update(other.dropped_clips)
        self.dropped_masks.update(other.dropped_masks)


@dataclass(frozen=True)
class CuratedVideo:
    """The clips of a video, its tracklets, and what became of everything, by gap."""

    masks: VideoMasks
    clips: tuple[Clip, ...]
    tracklets: tuple[Tracklet, ...]
    yields: dict[int, Yield]


def curate_video(masks: VideoMasks, parameters: CurationParameters | None = None) -> CuratedVideo:
    """Make the clips of a video (FlowCut section 3.3): all pairs of frames at the given gaps, with what matches.

    The decisions of the masks are honoured: a rejected instance matches nothing, and its tracklet goes on over it;
    pairs follow what a person joined, split and named; what was rejected as a tracklet or as a clip is left out.

    Raises
    ------
    InputError
        If the decisions contradict each other.
    """
    return Curation(masks, parameters or CurationParameters()).curated()


def describe_idle_verdicts(masks: VideoMasks, parameters: CurationParameters) -> str | None:
    """Say how many verdicts are on clips of another length than is made, and so without effect; None if none is."""
    length = parameters.clip_length or 2
    frames = len(masks.frames) if length == "all" else length
    idle = sum(len(clip) != frames for clip in masks.decisions.clips())
    if not idle:
        return None
    many, verb = ("s", "are") if idle != 1 else ("", "is")
    return (
        f"{idle} verdict{many} on clips of another length {verb} without effect on clips of {frames} frames; "
        "judge objects or masks for these"
    )


class Curation:
    """What is known while the clips of one video are made; places count in the list of frames with masks.

    Parameters
    ----------
    masks : VideoMasks
    parameters : CurationParameters
    matcher : Matcher, optional
        Remembers the IoU of masks from one time to the next; for who curates again after each change.
    before : Curation, optional
        The last one with this matcher: its chains are taken over where nothing has changed that makes them.

    Raises
    ------
    InputError
        If the decisions contradict each other.
    """

    def __init__(
        self,
        masks: VideoMasks,
        parameters: CurationParameters,
        matcher: Matcher | None = None,
        before: Curation | None = None,
    ) -> None:
        self.masks = masks
        self.parameters = parameters
        self.verdicts = masks.decisions.instances()
        self.clip_verdicts = masks.decisions.clips()
        self.index = [frame.index for frame in masks.frames]
        everything = [[instance.id for instance in frame.instances] for frame in masks.frames]
        # Rejected instances are part of their chain, and of what was decided about it, but of no clip.
        self.left = [
            [place for place, number in enumerate(row) if self.verdicts.get((index, number)) != "reject"]
            for index, row in zip(self.index, everything, strict=True)
        ]
        self.numbers = [[row[place] for place in left] for row, left in zip(everything, self.left, strict=True)]
        self.taken_out = [len(row) - len(left) for row, left in zip(everything, self.left, strict=True)]
        span = max(parameters.gaps)
        rles = [[instance.segmentation for instance in frame.instances] for frame in masks.frames]
        match = matcher.match_video if matcher else match_video
        self.matches = match(rles, span, parameters.iou, parameters.method)
        drawn = {(made.frame, made.instance.id) for made in masks.hand_masks() if made.instance.origin == "drawn"}
        by_hand: list[Decision] = [item for item in masks.decisions.made if isinstance(item, Join | Split | Relabel)]
        # Pairs differ from what the IoU says only where a person made links.
        self.by_hand = bool(by_hand)
        self._chained_from = everything, by_hand, drawn
        self.chains: tuple[Tracklet, ...]
        self.identity: dict[Key, int]
        self.found_identity: dict[Key, int]
        if before is not None and before.matches is self.matches and before._chained_from == self._chained_from:
            self.chains, self.identity, self.found_identity = before.chains, before.identity, before.found_identity
        else:
            self._chain(everything, by_hand, drawn)
        self.tracklet_verdicts = {
            self.identity[item.instance]: item.verdict
            for item in masks.decisions.made
            if isinstance(item, TrackletVerdict)
        }
        rejected = {key for key, verdict in self.verdicts.items() if verdict == "reject"}
        self.tracklets = tuple(left for chain in self.chains if (left := chain.without(rejected)) is not None)
        self.iou_of = {
            key: iou
            for tracklet in self.tracklets
            for key, iou in zip(tracklet.members[1:], tracklet.ious, strict=True)
        }

    def _chain(self, everything: list[list[int]], by_hand: Sequence[Decision], drawn: set[Key]) -> None:
        span = max(self.parameters.gaps)
        frames = list(zip(self.index, everything, strict=True))
        try:
            self.chains = chain_matches(frames, self.matches, span, by_hand, drawn)
        except InputError as error:
            raise InputError(f"{self.masks.video.name}: {error}") from None
        self.identity = _identities(self.chains)
        # What pairs would be without a person's links; the same where there is none.
        found = chain_matches(frames, self.matches, span, (), drawn) if by_hand else self.chains
        self.found_identity = _identities(found) if by_hand else self.identity

    def curated(self) -> CuratedVideo:
        """Return all clips, and what became of everything."""
        clips = []
        yields: dict[int, Yield] = {}
        for gap, places in self._candidates():
            outcome = self.outcome(gap, places)
            self._count(places, outcome, yields.setdefault(gap, Yield()))
            if outcome.reason is None:
                clips.append(Clip(outcome.frames, gap, outcome.tracks))
        return CuratedVideo(self.masks, tuple(clips), self.tracklets, yields)

    def _candidates(self) -> Iterator[tuple[int, range]]:
        count, length = len(self.index), self.parameters.clip_length or 2
        if length == "all":
            if count > 1:
                yield 1, range(count)
            return
        for gap in self.parameters.gaps:
            reach = gap * (length - 1)
            for start in range(count - reach):
                yield gap, range(start, start + reach + 1, gap)

    def outcome(self, gap: int, places: range) -> ClipOutcome:
        """Return what becomes of a clip, and of every mask in it."""
        frames = tuple(self.index[place] for place in places)
        tracks, why = self._pairs(*places) if len(places) == 2 else self._tracks(places)
        kept = [track for track in tracks if self._is_accepted(frames, track, why)]
        reason = self._why_dropped(places, frames, tracks, kept)
        return ClipOutcome(frames, gap, tuple(tracks if reason == "rejected" else kept), reason, why)

    def about(self, place: int) -> tuple[Any, ...]:
        """Return all that what becomes of a pair depends on at one of its frames, IoU apart."""
        index = self.index[place]
        seen = []
        for number in self.numbers[place]:
            key = index, number
            identity = self.identity[key]
            verdicts = self.verdicts.get(key), self.tracklet_verdicts.get(identity)
            seen.append((number, identity, self.found_identity[key], *verdicts))
        return (index, self.taken_out[place], self.by_hand, *seen)

    def _count(self, places: range, outcome: ClipOutcome, figures: Yield) -> None:
        figures.candidates += 1
        why = outcome.why
        if outcome.reason is not None:
            figures.dropped_clips[outcome.reason] += 1
            keys = [(self.index[place], number) for place in places for number in self.numbers[place]]
            figures.dropped_masks.update(why.get(key, "rejected") for key in keys)
        else:
            figures.clips += 1
            figures.instances += len(outcome.tracks)
            figures.masks += sum(number is not None for track in outcome.tracks for number in track.instances)
            figures.dropped_masks.update(why.values())
        # Those that were taken out before anything was matched.
        if taken_out := sum(self.taken_out[place] for place in places):
            figures.dropped_masks["rejected"] += taken_out

    def _why_dropped(
        self, places: Sequence[int], frames: tuple[int, ...], tracks: Sequence[ClipTrack], kept: Sequence[ClipTrack]
    ) -> str | None:
        if self.clip_verdicts.get(frames) == "reject":
            return "rejected"
        if kept:
            return None
        if tracks:
            return "not_accepted"
        # Two frames with masks are enough for a match; which of them there could have been tells why there is none.
        if sum(bool(self.masks.frames[place].instances) for place in places) < 2:
            return "no_mask"
        left = sum(any(not self._is_rejected(place, number) for number in self.numbers[place]) for place in places)
        return "no_match" if left >= 2 else "rejected"

    def _pairs(self, first: int, second: int) -> tuple[list[ClipTrack], dict[Key, str]]:
        """Return the matches of two frames as Algorithm 1 and the decisions have them, and why masks are left out."""
        matches = self._matches(first, second)
        chosen: dict[int, tuple[int, float | None]] = {i: (j, float(matches.iou[i, j])) for i, j in matches.pairs}
        if self.by_hand:
            chosen = self._as_decided(first, second, chosen)
        tracks = []
        why = self._left_over(first, second, chosen, matches)
        for i, (j, iou) in sorted(chosen.items()):
            numbers = self.numbers[first][i], self.numbers[second][j]
            keys = (self.index[first], numbers[0]), (self.index[second], numbers[1])
            if any(self.tracklet_verdicts.get(self.identity[key]) == "reject" for key in keys):
                why |= dict.fromkeys(keys, "rejected")
            else:
                tracks.append(ClipTrack(self.identity[keys[0]], numbers, iou))
        return tracks, why

    def _matches(self, first: int, second: int) -> Matches:
        """Return the matches of what is left in two frames."""
        matches = self.matches[first, second]
        if not self.taken_out[first] and not self.taken_out[second]:
            return matches
        iou = matches.iou[np.ix_(self.left[first], self.left[second])]
        return match_iou(iou, self.parameters.iou, self.parameters.method)

    def _as_decided(
        self, first: int, second: int, chosen: dict[int, tuple[int, float | None]]
    ) -> dict[int, tuple[int, float | None]]:
        """Let a person's joins, splits and names come before the IoU."""
        decided = dict(chosen)
        for i, number in enumerate(self.numbers[first]):
            for j, other in enumerate(self.numbers[second]):
                keys = (self.index[first], number), (self.index[second], other)
                same = self.identity[keys[0]] == self.identity[keys[1]]
                was_same = self.found_identity[keys[0]] == self.found_identity[keys[1]]
                if was_same and not same and decided.get(i, (None,))[0] == j:
                    del decided[i]
                elif same and not was_same and chosen.get(i, (None,))[0] != j:
                    decided = {row: (column, iou) for row, (column, iou) in decided.items() if column != j}
                    decided[i] = j, None
        return decided

    def _left_over(
        self, first: int, second: int, chosen: dict[int, tuple[int, float | None]], matches: Matches
    ) -> dict[Key, str]:
        why: dict[Key, str] = {}
        contested = {i for i, _ in matches.contested}
        columns = {j for j, _ in chosen.values()}
        for place, other, taken in ((first, second, set(chosen)), (second, first, columns)):
            for spot, number in enumerate(self.numbers[place]):
                if spot in taken:
                    continue
                reason = "unmatched" if self.numbers[other] else "alone"
                if place == first and spot in contested:
                    reason = "contested"
                if self._is_rejected(place, number):
                    reason = "rejected"
                why[self.index[place], number] = reason
        return why

    def _tracks(self, places: range) -> tuple[list[ClipTrack], dict[Key, str]]:
        """Return the tracklets that two frames of a longer clip or more have, and why masks are left out."""
        seen: dict[int, dict[int, int]] = {}
        for spot, place in enumerate(places):
            for number in self.numbers[place]:
                seen.setdefault(self.identity[self.index[place], number], {})[spot] = number
        filled = sum(bool(self.numbers[place]) for place in places)
        tracks = []
        why: dict[Key, str] = {}
        for identity, numbers in sorted(seen.items()):
            keys = [(self.index[places[spot]], number) for spot, number in numbers.items()]
            if self.tracklet_verdicts.get(identity) == "reject":
                why |= dict.fromkeys(keys, "rejected")
            elif len(keys) == 1:
                why[keys[0]] = "unmatched" if filled > 1 else "alone"
            else:
                ious = [self.iou_of.get(key) for key in self._between(identity, keys[0][0], keys[-1][0])]
                weakest = min((iou for iou in ious if iou is not None), default=None)
                tracks.append(ClipTrack(identity, tuple(numbers.get(spot) for spot in range(len(places))), weakest))
        return tracks, why

    def _between(self, identity: int, first: int, last: int) -> tuple[Key, ...]:
        """Return the members of a tracklet after one frame, up to and with another."""
        members = self._members[identity]
        return members[bisect(members, (first, math.inf)) : bisect(members, (last, math.inf))]

    @cached_property
    def _members(self) -> dict[int, tuple[Key, ...]]:
        return {tracklet.identity: tracklet.members for tracklet in self.tracklets}

    def _is_accepted(self, frames: tuple[int, ...], track: ClipTrack, why: dict[Key, str]) -> bool:
        if not self.parameters.only_accepted:
            return True
        keys = [(frame, number) for frame, number in zip(frames, track.instances, strict=True) if number is not None]
        accepted = self.clip_verdicts.get(frames) == "accept" or all(
            "accept" in (self.verdicts.get(key), self.tracklet_verdicts.get(self.identity[key])) for key in keys
        )
        if not accepted:
            why |= dict.fromkeys(keys, "not_accepted")
        return accepted

    def _is_rejected(self, place: int, number: int) -> bool:
        identity = self.identity[self.index[place], number]
        return self.tracklet_verdicts.get(identity) == "reject"


def _identities(tracklets: Sequence[Tracklet]) -> dict[Key, int]:
    return {key: tracklet.identity for tracklet in tracklets for key in tracklet.members}
