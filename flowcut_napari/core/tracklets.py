"""Matches chained over a whole video: tracklets, each one object as far as it could be followed.

The paper stops at pairs of frames. A tracklet goes on from pair to pair, over frames in which its object has no mask,
and takes in what a person joined, split and named.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, pairwise

from flowcut_napari.core.decisions import Decision, Join, Key, Relabel, Split
from flowcut_napari.core.errors import InputError
from flowcut_napari.core.matching import Matches


@dataclass(frozen=True)
class Tracklet:
    """One object followed through a video.

    Attributes
    ----------
    identity : int
        From 1, in the order of first frames as matched; see `chain_matches` for those that a person made.
    members : tuple of (frame, instance)
        In rising order, one a frame at most.
    ious : tuple of float or None
        IoU of each member but the first with the one before; None where a person made the link, or rejected what
        lay between.
    """

    identity: int
    members: tuple[Key, ...]
    ious: tuple[float | None, ...]

    def without(self, keys: Collection[Key]) -> Tracklet | None:
        """Return the tracklet less some of its members, None if none is left; a link over them is none of an IoU."""
        members = tuple(key for key in self.members if key not in keys)
        if not members or len(members) == len(self.members):
            return self if members else None
        iou_of = dict(zip(pairwise(self.members), self.ious, strict=True))
        return Tracklet(self.identity, members, tuple(iou_of.get(link) for link in pairwise(members)))

    @property
    def weakest(self) -> float | None:
        """The lowest IoU of its links, those made by hand apart; None where there is none."""
        return min((iou for iou in self.ious if iou is not None), default=None)


def chain_matches(
    frames: Sequence[tuple[int, Sequence[int]]],
    matches: Mapping[tuple[int, int], Matches],
    span: int,
    decisions: Iterable[Decision] = (),
    drawn: Collection[Key] = (),
) -> tuple[Tracklet, ...]:
    """Chain matches to tracklets.

    An instance continues what it matches in the nearest frame before, at most `span` back, that nothing continues
    yet: a chain goes on over frames without a match. Joins and splits of a person come before any match.

    Nothing that a person does changes the identity of what it does not touch: a chain keeps that of the chain which
    its first member is part of without decisions, and those that a split begins are numbered after all others.

    Parameters
    ----------
    frames : sequence of (int, sequence of int)
        Index of each frame and the ids of its instances.
    matches : mapping of (int, int) to Matches
        Of the frames at two places, for all places at most `span` apart; pairs are places in the lists of ids.
    span : int
        Longest step of a chain, in places of `frames`.
    decisions : iterable of Decision
        Joins, splits and relabels among them count.
    drawn : collection of (int, int)
        Instances that were drawn by hand; chains of these alone are numbered after those of cuts.

    Raises
    ------
    InputError
        If an identity was given to two instances of one frame.
    """
    joined, split, names = _links_by_hand(decisions)
    keys = [[(index, number) for number in numbers] for index, numbers in frames]
    present = {key for row in keys for key in row}
    # A frame that was not cut this time has nothing to be joined.
    before: dict[Key, tuple[Key, float | None]] = {
        key: (first, None) for key, first in joined.items() if key in present and first in present
    }
    links = _links(keys, matches, span, before, split)
    chains = _follow(keys, links)
    found = _follow(keys, _links(keys, matches, span, {}, set())) if before or split else chains
    found = sorted(found, key=lambda chain: all(key in drawn for key in chain))
    number_of = {key: number for number, chain in enumerate(found, start=1) for key in chain}
    return _number(chains, [tuple(links[key][1] for key in chain[1:]) for chain in chains], names, number_of)


def _links(
    keys: Sequence[Sequence[Key]],
    matches: Mapping[tuple[int, int], Matches],
    span: int,
    before: Mapping[Key, tuple[Key, float | None]],
    split: Collection[Key],
) -> dict[Key, tuple[Key, float | None]]:
    """Return what each instance continues, with the IoU; `before` are links that are made already."""
    links = dict(before)
    continued = {first for first, _ in links.values()}
    for place in range(len(keys)):
        for step in range(1, min(span, place) + 1):
            found = matches[place - step, place]
            for i, j in found.pairs:
                first, second = keys[place - step][i], keys[place][j]
                if second not in links and second not in split and first not in continued:
                    links[second] = first, float(found.iou[i, j])
                    continued.add(first)
    return links


def _links_by_hand(decisions: Iterable[Decision]) -> tuple[dict[Key, Key], set[Key], dict[Key, int]]:
    """Return what each joined instance continues, where a new tracklet starts, and names; the last word counts."""
    joined: dict[Key, Key] = {}
    leads_to: dict[Key, Key] = {}
    split: set[Key] = set()
    names: dict[Key, int] = {}

    def part(second: Key) -> None:
        if (first := joined.pop(second, None)) is not None:
            del leads_to[first]

    for decision in decisions:
        if isinstance(decision, Join):
            part(decision.second)
            if (other := leads_to.get(decision.first)) is not None:
                part(other)
            joined[decision.second] = decision.first
            leads_to[decision.first] = decision.second
            split.discard(decision.second)
        elif isinstance(decision, Split):
            part(decision.instance)
            split.add(decision.instance)
        elif isinstance(decision, Relabel):
            names.pop(decision.instance, None)
            names[decision.instance] = decision.identity
    return joined, split, names


def _follow(keys: Sequence[Sequence[Key]], links: Mapping[Key, tuple[Key, float | None]]) -> list[list[Key]]:
    chain_of: dict[Key, list[Key]] = {}
    chains = []
    for row in keys:
        for key in row:
            if key in links:
                chain = chain_of[links[key][0]]
            else:
                chain = []
                chains.append(chain)
            chain.append(key)
            chain_of[key] = chain
    return chains


def _number(
    chains: list[list[Key]],
    ious: list[tuple[float | None, ...]],
    names: Mapping[Key, int],
    number_of: Mapping[Key, int],
) -> tuple[Tracklet, ...]:
    """Give chains their identities, and make one tracklet of all that a person gave the same.

    `number_of` has the number that each instance would have without decisions.
    """
    place_of = {key: place for place, chain in enumerate(chains) for key in chain}
    # In the order of the decisions: the last word on a chain counts.
    given = {place_of[key]: name for key, name in names.items() if key in place_of}
    taken = set(given.values())
    free = (number for number in count(max(number_of.values(), default=0) + 1) if number not in taken)
    tracklets: dict[int, Tracklet] = {}
    for place, chain in enumerate(chains):
        identity = given[place] if place in given else number_of[chain[0]]
        if place not in given:
            if identity in taken:
                identity = next(free)
            taken.add(identity)
        earlier = tracklets.get(identity)
        tracklet = Tracklet(identity, tuple(chain), ious[place])
        tracklets[identity] = _one(earlier, tracklet) if earlier else tracklet
    return tuple(sorted(tracklets.values(), key=lambda tracklet: tracklet.members[0]))


def _one(first: Tracklet, second: Tracklet) -> Tracklet:
    """Make one of two tracklets that a person gave one identity; what leads from one to the other is by hand."""
    iou_of = {
        key: iou for tracklet in (first, second) for key, iou in zip(tracklet.members[1:], tracklet.ious, strict=True)
    }
    members = sorted((*first.members, *second.members))
    for (frame, number), (other_frame, other) in pairwise(members):
        if frame == other_frame:
            raise InputError(
                f"instances {number} and {other} of frame {frame} were both given the identity {first.identity}; "
                "relabel one of them"
            )
    ious = tuple(iou_of.get(key) for key in members[1:])
    return Tracklet(first.identity, tuple(members), ious)
