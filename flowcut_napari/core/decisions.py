"""What a person decided about the masks of a video: verdicts on clips, instances and tracklets, and who is who.

A decision names what it is about by frame and instance, never by a number that depends on how matches were made.
What is decided about a tracklet holds as far as the tracklet of that instance goes, with the gaps and the threshold of
an export. A decision holds for the masks it was made on. After a run with other
parameters it is *stale*: kept, listed, and without effect, until those masks are made again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, ClassVar, Literal, get_args

from pydantic import TypeAdapter

from flowcut_napari.core.errors import InputError
from flowcut_napari.core.pseudo_masks import Instance

Verdict = Literal["accept", "reject"]
# (frame index, instance id).
Key = tuple[int, int]


@dataclass(frozen=True)
class Decision:
    """One decision; `by` and `at` tell whose it is and when it was made (UTC, ISO 8601), where that is known."""

    kind: ClassVar[str]

    def signed(self, by: str, at: str) -> Decision:
        """Return it with whose it is and when it was made."""
        return replace(self, by=by, at=at)  # type: ignore[call-arg]  # every kind has both

    def subjects(self) -> tuple[Key, ...]:
        """Return the instances it names."""
        return ()

    def frames(self) -> tuple[int, ...]:
        """Return the frames it names."""
        return tuple(frame for frame, _ in self.subjects())


@dataclass(frozen=True)
class ClipVerdict(Decision):
    """Keep or leave out the clip of these frames, whatever instances it has."""

    clip: tuple[int, ...]
    verdict: Verdict
    by: str = ""
    at: str = ""
    kind: ClassVar[str] = "clip"

    def __post_init__(self) -> None:
        if len(self.clip) < 2 or list(self.clip) != sorted(set(self.clip)):
            raise InputError(f"{list(self.clip)[:20]} is no clip: its frames are two or more, rising")

    def frames(self) -> tuple[int, ...]:
        """Return the frames of the clip."""
        return self.clip


@dataclass(frozen=True)
class InstanceVerdict(Decision):
    """Keep or leave out one mask of one frame."""

    instance: Key
    verdict: Verdict
    by: str = ""
    at: str = ""
    kind: ClassVar[str] = "instance"

    def subjects(self) -> tuple[Key, ...]:
        """Return the instance."""
        return (self.instance,)


@dataclass(frozen=True)
class TrackletVerdict(Decision):
    """Keep or leave out the whole tracklet that this instance is part of."""

    instance: Key
    verdict: Verdict
    by: str = ""
    at: str = ""
    kind: ClassVar[str] = "tracklet"

    def subjects(self) -> tuple[Key, ...]:
        """Return the instance that stands for its tracklet."""
        return (self.instance,)


@dataclass(frozen=True)
class Join(Decision):
    """`second` continues the tracklet of `first`, an earlier instance, whatever their IoU.

    Either leaves what it was linked to on that side: two joins swap two identities from a frame on.
    """

    first: Key
    second: Key
    by: str = ""
    at: str = ""
    kind: ClassVar[str] = "join"

    def __post_init__(self) -> None:
        if self.first[0] >= self.second[0]:
            raise InputError(
                f"frame {self.first[0]} is not before frame {self.second[0]}, so it cannot be continued there"
            )

    def subjects(self) -> tuple[Key, ...]:
        """Return both instances."""
        return (self.first, self.second)


@dataclass(frozen=True)
class Split(Decision):
    """A new tracklet starts at this instance."""

    instance: Key
    by: str = ""
    at: str = ""
    kind: ClassVar[str] = "split"

    def subjects(self) -> tuple[Key, ...]:
        """Return the instance."""
        return (self.instance,)


@dataclass(frozen=True)
class Relabel(Decision):
    """The tracklet that this instance is part of has this identity, a number from 1.

    Tracklets of one identity are one tracklet, however far apart; in no frame may they both have an instance.
    """

    instance: Key
    identity: int
    by: str = ""
    at: str = ""
    kind: ClassVar[str] = "identity"

    def __post_init__(self) -> None:
        if self.identity < 1:
            raise InputError(f"the identity {self.identity}: identities start at 1")

    def subjects(self) -> tuple[Key, ...]:
        """Return the instance that stands for its tracklet."""
        return (self.instance,)


_INSTANCE = TypeAdapter(Instance)
_KINDS: dict[str, type[Decision]] = {
    kind.kind: kind for kind in (ClipVerdict, InstanceVerdict, TrackletVerdict, Join, Split, Relabel)
}


@dataclass(frozen=True)
class HandMask:
    """A mask that was edited or drawn in a frame, out of its place: what it was made beside is not there any more."""

    frame: int
    instance: Instance


@dataclass(frozen=True)
class Stale:
    """What a person did on masks that have been replaced; `basis` identifies those (see `VideoMasks.basis`)."""

    basis: str
    what: Decision | HandMask


@dataclass(frozen=True)
class Decisions:
    """All decisions about a video: those that hold, in the order they were made, and those that are stale.

    Of two decisions on the same thing the later one counts.
    """

    made: tuple[Decision, ...] = ()
    stale: tuple[Stale, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.made or self.stale)

    def clips(self) -> dict[tuple[int, ...], Verdict]:
        """Return the verdict on each clip that has one, by its frames."""
        return {item.clip: item.verdict for item in self.made if isinstance(item, ClipVerdict)}

    def instances(self) -> dict[Key, Verdict]:
        """Return the verdict on each instance that has one."""
        return {item.instance: item.verdict for item in self.made if isinstance(item, InstanceVerdict)}


def describe_stale(stale: Iterable[Stale]) -> str:
    """Return ``2 decisions and 1 mask made by hand``."""
    items = [item.what for item in stale]
    masks = sum(isinstance(item, HandMask) for item in items)
    parts = [(len(items) - masks, "decision{}"), (masks, "mask{} made by hand")]
    return " and ".join(f"{count} {text.format('s' if count != 1 else '')}" for count, text in parts if count)


def decision_to_json(decision: Decision) -> dict[str, Any]:
    """Return a decision as it stands in files: its kind, and its fields by name."""
    return {"kind": decision.kind, **asdict(decision)}


def decisions_to_json(decisions: Decisions, basis: str) -> dict[str, Any]:
    """Return decisions as they stand in the file; nothing at all where there are none."""
    if not decisions:
        return {}
    return {
        "basis": basis,
        "made": [decision_to_json(item) for item in decisions.made],
        "stale": [{"basis": item.basis, **_stale_to_json(item.what)} for item in decisions.stale],
    }


def decisions_from_json(content: Mapping[str, Any], basis: str, size: tuple[int, int]) -> Decisions:
    """Read decisions; those made on other masks than the ones beside them are stale. `size` is the video's.

    Raises
    ------
    ValueError, KeyError, TypeError
        If it is not what `decisions_to_json` writes.
    """
    if not content:
        return Decisions()
    if set(content) != {"basis", "made", "stale"}:
        raise ValueError(f"decisions with the fields {', '.join(sorted(map(str, content))) or 'none'}")
    made = tuple(_decision_from_json(item) for item in content["made"])
    stale = tuple(Stale(_text(item["basis"]), _stale_from_json(item, size)) for item in content["stale"])
    if content["basis"] == basis:
        return Decisions(made, stale)
    return Decisions((), stale + tuple(Stale(_text(content["basis"]), item) for item in made))


def _decision_from_json(item: Mapping[str, Any]) -> Decision:
    values = dict(item)
    kind = values.pop("kind")
    if kind not in _KINDS:
        raise ValueError(f"a decision of the kind {kind!r}")
    names = {field.name for field in fields(_KINDS[kind])}
    if set(values) != names:
        raise ValueError(f"a decision of the kind {kind!r} with the fields {', '.join(sorted(map(str, values)))}")
    for name, value in values.items():
        if name in ("instance", "first", "second"):
            values[name] = _key(value)
        elif name == "clip":
            values[name] = tuple(_number(frame) for frame in value)
        elif name == "identity":
            _number(value)
        elif name == "verdict":
            if value not in get_args(Verdict):
                raise ValueError(f"the verdict {value!r}")
        else:
            _text(value)
    return _KINDS[kind](**values)


def _stale_to_json(what: Decision | HandMask) -> dict[str, Any]:
    if isinstance(what, HandMask):
        return {"kind": "mask", "frame": what.frame, "instance": asdict(what.instance)}
    return decision_to_json(what)


def _stale_from_json(item: Mapping[str, Any], size: tuple[int, int]) -> Decision | HandMask:
    values = {name: value for name, value in item.items() if name != "basis"}
    if values["kind"] == "mask":
        if set(values) != {"kind", "frame", "instance"}:
            raise ValueError(f"a stale mask with the fields {', '.join(sorted(map(str, values)))}")
        instance = _INSTANCE.validate_json(json.dumps(values["instance"]))
        instance.check(size)
        return HandMask(_number(values["frame"]), instance)
    return _decision_from_json(values)


def _key(value: Any) -> Key:
    frame, number = value
    return _number(frame), _number(number)


def _number(value: Any) -> int:
    if type(value) is not int:
        raise ValueError(f"{value!r} where a whole number belongs")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} where a text belongs")
    return value
