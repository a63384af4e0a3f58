"""Undo and redo over all that is done to the masks of a video."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from flowcut_napari.core.decisions import Decision
from flowcut_napari.core.pseudo_masks import FrameMasks
from flowcut_napari.core.store import VideoMasks

# A decision and its place in the list of all.
_Placed = tuple[int, Decision]


@dataclass(frozen=True)
class _Step:
    """What one action changed: frames by place, before and after, and the decisions that went and came."""

    label: str
    frames: tuple[tuple[int, FrameMasks, FrameMasks], ...]
    removed: tuple[_Placed, ...]
    added: tuple[_Placed, ...]

    @classmethod
    def between(cls, label: str, before: VideoMasks, after: VideoMasks) -> _Step:
        frames = tuple(
            (place, old, new)
            for place, (old, new) in enumerate(zip(before.frames, after.frames, strict=True))
            if old is not new
        )
        old, new = before.decisions.made, after.decisions.made
        if old is new:
            return cls(label, frames, (), ())
        removed, added = _not_in(new, old), _not_in(old, new)
        if not _is_same(_without(old, removed), _without(new, added)):  # what stays was put in another order
            removed, added = tuple(enumerate(old)), tuple(enumerate(new))
        return cls(label, frames, removed, added)

    def apply(self, masks: VideoMasks, *, backwards: bool) -> VideoMasks:
        removed, added = (self.added, self.removed) if backwards else (self.removed, self.added)
        made = masks.decisions.made
        if removed or added:
            kept = list(_without(made, removed))
            for place, item in added:
                kept.insert(place, item)
            made = tuple(kept)
        frames = list(masks.frames)
        for place, old, new in self.frames:
            frames[place] = old if backwards else new
        return replace(masks, frames=tuple(frames), decisions=replace(masks.decisions, made=made))


def _not_in(others: Sequence[Decision], made: Sequence[Decision]) -> tuple[_Placed, ...]:
    known = {id(item) for item in others}
    return tuple((place, item) for place, item in enumerate(made) if id(item) not in known)


def _without(made: Sequence[Decision], placed: Sequence[_Placed]) -> Sequence[Decision]:
    places = {place for place, _ in placed}
    return [item for place, item in enumerate(made) if place not in places] if places else made


def _is_same(first: Sequence[Decision], second: Sequence[Decision]) -> bool:
    return len(first) == len(second) and all(a is b for a, b in zip(first, second, strict=True))


class History:
    """The masks of a video and every action on them; each can be undone and done again, without limit.

    Only what an action changed is kept of it, so that ten thousand take little room.

    Parameters
    ----------
    masks : VideoMasks
        At the beginning.
    """

    def __init__(self, masks: VideoMasks) -> None:
        self.masks = masks
        self._done: list[_Step] = []
        self._undone: list[_Step] = []

    def do(self, label: str, masks: VideoMasks) -> bool:
        """Take up the masks after an action; return whether it changed anything.

        Parameters
        ----------
        label : str
            What was done, in words.
        masks : VideoMasks
            Made of `History.masks`: of the same frames, in the same order.
        """
        step = _Step.between(label, self.masks, masks)
        if not (step.frames or step.removed or step.added):
            return False
        self.masks = masks
        self._done.append(step)
        self._undone.clear()
        return True

    @property
    def next_undo(self) -> str | None:
        """What would be undone, in words; None if there is nothing."""
        return self._done[-1].label if self._done else None

    @property
    def next_redo(self) -> str | None:
        """What would be done again, in words; None if there is nothing."""
        return self._undone[-1].label if self._undone else None

    @property
    def count(self) -> int:
        """How many actions can be undone."""
        return len(self._done)

    def undo(self) -> str | None:
        """Take the last action back; return what it was, None if there is none."""
        if not self._done:
            return None
        step = self._done.pop()
        self._undone.append(step)
        self.masks = step.apply(self.masks, backwards=True)
        return step.label

    def redo(self) -> str | None:
        """Do the last action that was undone again; return what it is, None if there is none."""
        if not self._undone:
            return None
        step = self._undone.pop()
        self._done.append(step)
        self.masks = step.apply(self.masks, backwards=False)
        return step.label

    def frames_of_last(self) -> tuple[int, ...]:
        """Return the frames that the next undo would change or has decisions about, rising; for looking there."""
        return self._frames(self._done[-1]) if self._done else ()

    def frames_of_next(self) -> tuple[int, ...]:
        """Return the frames that the next redo would change or has decisions about, rising."""
        return self._frames(self._undone[-1]) if self._undone else ()

    @staticmethod
    def _frames(step: _Step) -> tuple[int, ...]:
        named = {frame for _, item in (*step.removed, *step.added) for frame in item.frames()}
        return tuple(sorted(named | {new.index for _, _, new in step.frames}))
