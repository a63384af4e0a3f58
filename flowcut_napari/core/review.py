"""Which pairs of frames a person should look at, the uncertain ones first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from flowcut_napari.core.clips import ClipOutcome, ClipTrack, Curation
from flowcut_napari.core.decisions import Key, Verdict
from flowcut_napari.core.matching import Matches

# So close to the threshold an IoU says little.
UNCERTAIN = 0.1


@dataclass(frozen=True)
class Pair:
    """Two frames of a video as they were matched: one cell of a timeline.

    Attributes
    ----------
    place, gap : int
        Of the first frame in the list of frames with masks, and how far the second one is.
    outcome : ClipOutcome
        What becomes of their clip.
    verdict : str or None
        On their clip.
    weakest : float or None
        Lowest IoU of what is matched; None where nothing is, or a person linked all.
    margin : float or None
        How close any IoU of theirs comes to the threshold: a match that hardly is one, or nearly was; None where
        nothing overlaps.
    """

    place: int
    gap: int
    outcome: ClipOutcome
    verdict: Verdict | None
    weakest: float | None
    margin: float | None

    @property
    def frames(self) -> tuple[int, int]:
        """Both frames, indices in the video."""
        first, second = self.outcome.frames
        return first, second

    @property
    def is_open(self) -> bool:
        """Whether there is something to decide that nobody decided."""
        return self.verdict is None and bool(self.outcome.tracks) and self.outcome.reason != "rejected"


@dataclass(frozen=True)
class Break:
    """Where an object is lost: its last mask before, and its next one if it comes back."""

    identity: int
    last: Key
    back: Key | None

    def describe(self) -> str:
        """Say it in one line.

        Examples
        --------
        >>> Break(2, (17, 1), (21, 3)).describe()
        'object 2 is missing after frame 17, back in frame 21'
        """
        tail = f", back in frame {self.back[0]}" if self.back else ""
        return f"object {self.identity} is {'missing' if self.back else 'lost'} after frame {self.last[0]}{tail}"


class Review:
    """All pairs of a video at all gaps, and the orders in which to go through them.

    Parameters
    ----------
    curation : Curation
        With clips of two frames.
    before : Review, optional
        Of the same video before an action: what that did not touch is not looked at again.
    """

    def __init__(self, curation: Curation, before: Review | None = None) -> None:
        self.curation = curation
        self.gaps = curation.parameters.gaps
        self.frames = curation.index
        self._place_of = {frame: place for place, frame in enumerate(self.frames)}
        self._about = [curation.about(place) for place in range(len(self.frames))]
        same = set()
        if before is not None and before.curation.parameters == curation.parameters:
            same = {
                place
                for place, (mine, other) in enumerate(zip(self._about, before._about, strict=False))
                if mine == other
            }
        self.pairs: dict[tuple[int, int], Pair] = {}
        for gap in self.gaps:
            for place in range(len(self.frames) - gap):
                known = before.pairs.get((gap, place)) if before and place in same and place + gap in same else None
                self.pairs[gap, place] = self._pair(gap, place, known, before)

    def iou(self, pair: Pair, track: ClipTrack) -> float:
        """Return the IoU of a match, also where a person made it."""
        rows, columns = (
            [item.id for item in self.curation.masks.frames[place].instances]
            for place in (pair.place, pair.place + pair.gap)
        )
        number, other = track.instances
        assert number is not None and other is not None  # pairs have both
        return float(self.matches(pair).iou[rows.index(number), columns.index(other)])

    @cached_property
    def count_uncertain(self) -> int:
        """How many pairs that nobody decided have an IoU within `UNCERTAIN` of the threshold."""
        return sum(pair.margin is not None and pair.margin <= UNCERTAIN for pair in self.uncertain)

    @cached_property
    def counts(self) -> dict[str, int]:
        """How many pairs are ``accepted``, ``rejected``, ``undecided`` and without anything to decide, ``nothing``."""
        counts = dict.fromkeys(("accepted", "rejected", "undecided", "nothing"), 0)
        for pair in self.pairs.values():
            kind = {"accept": "accepted", "reject": "rejected"}.get(pair.verdict or "")
            counts[kind or ("undecided" if pair.is_open else "nothing")] += 1
        return counts

    def place_of(self, frame: int) -> int | None:
        """Return the place of a frame in the list of frames with masks; None if it is not there."""
        return self._place_of.get(frame)

    def pair(self, frame: int, gap: int) -> Pair | None:
        """Return the pair that begins with a frame; None where there is none."""
        place = self._place_of.get(frame)
        return self.pairs.get((gap, place)) if place is not None else None

    def matches(self, pair: Pair) -> Matches:
        """Return the matches of a pair by IoU, of all its instances, rejected ones included."""
        return self.curation.matches[pair.place, pair.place + pair.gap]

    @cached_property
    def uncertain(self) -> tuple[Pair, ...]:
        """Pairs that nobody decided, those first in which an IoU is closest to the threshold."""
        found = [
            pair
            for pair in self.pairs.values()
            if pair.verdict is None and pair.margin is not None and pair.outcome.reason != "rejected"
        ]
        return tuple(sorted(found, key=_rank))

    @cached_property
    def count_open(self) -> int:
        """How many pairs there are with something to decide."""
        return sum(pair.is_open for pair in self.pairs.values())

    @cached_property
    def breaks(self) -> tuple[Break, ...]:
        """Where objects are lost before the last frame, in the order of frames; rejected objects are not missed."""
        place_of = self._place_of
        found = []
        for tracklet in self.curation.tracklets:
            if self.curation.tracklet_verdicts.get(tracklet.identity) == "reject":
                continue
            for last, back in pairwise(tracklet.members):
                if place_of[back[0]] - place_of[last[0]] > 1:
                    found.append(Break(tracklet.identity, last, back))
            if tracklet.members[-1][0] != self.frames[-1]:
                found.append(Break(tracklet.identity, tracklet.members[-1], None))
        return tuple(sorted(found, key=lambda item: item.last))

    def next_uncertain(self, here: Pair | None, back: bool = False) -> Pair | None:
        """Return the pair that is a little less uncertain than this one, decided or not; the most uncertain for None.

        `back` is a little more uncertain. After the last comes the first.
        """
        order = self.uncertain
        if not order:
            return None
        if here is None or here.margin is None:
            return order[-1 if back else 0]
        if back:
            return next((pair for pair in reversed(order) if _rank(pair) < _rank(here)), order[-1])
        return next((pair for pair in order if _rank(pair) > _rank(here)), order[0])

    def next_open(self, here: Pair | None, back: bool = False) -> Pair | None:
        """Return the next pair in time with something to decide; those of the same gap first, then of the next."""
        order = sorted(self.pairs.values(), key=lambda pair: (pair.gap, pair.place))
        # The one that is looked at stays in the ring, decided or not: it says where to go on.
        found = tuple(pair for pair in order if pair.is_open or pair is here)
        if not any(pair.is_open for pair in found):
            return None
        return _after(found, here, back)

    def next_break(self, frame: int, back: bool = False, here: Key | None = None) -> Break | None:
        """Return the next place after a frame at which an object is lost, the first after the last.

        Where several are lost in one frame, `here` is the last mask of the one that was come to last.
        """
        if not self.breaks:
            return None
        is_here = here is not None and here[0] == frame
        if back:
            first = here if here is not None and is_here else (frame, 0)
            return next((item for item in reversed(self.breaks) if item.last < first), self.breaks[-1])
        after = here if here is not None and is_here else (frame, math.inf)
        return next((item for item in self.breaks if item.last > after), self.breaks[0])

    def _pair(self, gap: int, place: int, known: Pair | None, before: Review | None) -> Pair:
        curation = self.curation
        if known is not None and before is not None:
            pair = place, place + gap
            is_same = before.curation.matches[pair] is curation.matches[pair]
            if is_same and known.verdict == curation.clip_verdicts.get(known.outcome.frames):
                return known
        outcome = curation.outcome(gap, range(place, place + gap + 1, gap))
        iou = curation.matches[place, place + gap].iou
        if iou.size:
            iou = iou[np.ix_(curation.left[place], curation.left[place + gap])]
            iou = iou[iou > 0]
        margin = float(np.abs(iou - curation.parameters.iou).min()) if iou.size else None
        ious = [track.iou for track in outcome.tracks if track.iou is not None]
        verdict = curation.clip_verdicts.get(outcome.frames)
        return Pair(place, gap, outcome, verdict, min(ious, default=None), margin)


def _rank(pair: Pair) -> tuple[float, int, int]:
    """Return by what uncertain pairs are sorted."""
    assert pair.margin is not None  # those without are not among them
    return pair.margin, pair.place, pair.gap


def _after(order: Sequence[Pair], here: Pair | None, back: bool) -> Pair | None:
    """Return the one after, or before, a pair in a ring; the first where it is not in it."""
    if not order:
        return None
    place = next(
        (place for place, pair in enumerate(order) if here and (pair.place, pair.gap) == (here.place, here.gap)), None
    )
    if place is None:
        return order[-1 if back else 0]
    return order[(place + (-1 if back else 1)) % len(order)]
