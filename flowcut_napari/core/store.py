"""Pseudo-masks on disk: one ``NAME.masks.json`` a video, schema ``flowcut.masks/1``, written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, ValidationError

from flowcut_napari.core.decisions import Decision, Decisions, HandMask, decisions_from_json
from flowcut_napari.core.errors import DamagedFileError, InputError
from flowcut_napari.core.files import folder_held, read_regular, write_atomically
from flowcut_napari.core.json_stream import refuse_constant
from flowcut_napari.core.masks import LARGEST_SIDE
from flowcut_napari.core.masks_text import SCHEMA, MasksEncoder
from flowcut_napari.core.ncut import StopReason
from flowcut_napari.core.parameters import STRICT, CutParameters, one_line
from flowcut_napari.core.pseudo_masks import FrameMasks, Instance, Origin, Rejected
from flowcut_napari.core.video import Video, is_inner_path, safe_name

SUFFIX = ".masks.json"
# To be raised when the same parameters give other masks than before: decisions on the old ones are stale then.
METHOD_VERSION = 1


@dataclass(frozen=True)
class VideoRecord:
    """What is known of the video that masks belong to; `path` is where it lay when they were made."""

    name: str
    path: str
    frames: int
    height: int
    width: int
    fingerprint: str

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    @classmethod
    def of(cls, video: Video) -> VideoRecord:
        """Describe a video that is open."""
        path = str(video.path.resolve())
        return cls(video.name, path, len(video), video.height, video.width, video.fingerprint())


@dataclass(frozen=True)
class VideoMasks:
    """The pseudo-masks of one video.

    Attributes
    ----------
    video : VideoRecord
    parameters : CutParameters
        They were made with.
    provenance : dict
        Versions, models with the hash of their weights, device, time.
    frames : tuple of FrameMasks
        In rising order; not every frame of the video need be among them.
    files : dict of int to str
        File of a frame relative to the video, where frames are files.
    decisions : Decisions
        What a person decided about them.
    """

    video: VideoRecord
    parameters: CutParameters
    provenance: dict[str, Any]
    frames: tuple[FrameMasks, ...]
    files: dict[int, str] = field(default_factory=dict)
    decisions: Decisions = field(default_factory=Decisions)

    def has_hand_work(self) -> bool:
        """Whether a person decided, edited or drew anything in it."""
        return bool(self.decisions) or bool(self.hand_masks())

    def hand_masks(self) -> list[HandMask]:
        """Return the masks that a person edited or drew, with their frames."""
        return [
            HandMask(frame.index, instance)
            for frame in self.frames
            for instance in frame.instances
            if instance.origin != "cut"
        ]

    @cached_property
    def _places(self) -> dict[int, int]:
        return {frame.index: place for place, frame in enumerate(self.frames)}

    def place_of(self, frame: int) -> int | None:
        """Return the place of a frame, by its index in the video, in `frames`; None if it has no masks."""
        return self._places.get(frame)

    @cached_property
    def _present(self) -> dict[int, set[int]]:
        return {frame.index: {instance.id for instance in frame.instances} for frame in self.frames}

    @cached_property
    def basis(self) -> str:
        """A short hash of what decides how the masks come out; see `masks_basis`."""
        return masks_basis(self.video.fingerprint, self.parameters, self.provenance)

    def decide(self, *decisions: Decision) -> VideoMasks:
        """Return the masks with further decisions.

        Raises
        ------
        InputError
            If one names a frame or an instance that is not here.
        """
        for decision in decisions:
            if missing := self._missing(decision):
                raise InputError(f"{self.video.name}: no {missing}, so nothing can be decided about it")
        return replace(self, decisions=replace(self.decisions, made=(*self.decisions.made, *decisions)))

    def with_mask(self, frame: int, mask: np.ndarray, number: int | None = None) -> VideoMasks:
        """Return the masks with one made by hand: instance `number` of a frame edited, or a new one drawn.

        Parameters
        ----------
        frame : int
            Index in the video; one of those with masks.
        mask : (height, width) bool
            Not empty (to take a mask away, reject it).
        number : int, optional
            Id of the instance that is replaced; a new one if not given.

        Raises
        ------
        InputError
            If there is no such frame or instance, or the mask does not fit.
        """
        place = self.place_of(frame)
        if place is None:
            raise InputError(f"{self.video.name}: frame {frame} has no masks to change")
        if mask.shape != (self.video.height, self.video.width) or mask.dtype != bool or not mask.any():
            raise InputError(
                f"a mask of {self.video.name} is bool, {self.video.height}x{self.video.width}, and not empty; "
                f"this one is {mask.dtype}, {'x'.join(map(str, mask.shape))}"
            )
        instances = list(self.frames[place].instances)
        if number is None:
            # Above what cuts may ever be called: more cuts of the same frame must not take its number.
            highest = max([self.parameters.max_instances, *(instance.id for instance in instances)])
            instances.append(Instance.of_mask(highest + 1, mask, "drawn"))
        else:
            old = next((spot for spot, instance in enumerate(instances) if instance.id == number), None)
            if old is None:
                raise InputError(f"{self.video.name}: frame {frame} has no instance {number}")
            origin: Origin = "drawn" if instances[old].origin == "drawn" else "edited"
            instances[old] = Instance.of_mask(number, mask, origin)
        frames = list(self.frames)
        frames[place] = replace(frames[place], instances=tuple(instances))
        return replace(self, frames=tuple(frames))

    def has_all(self, decision: Decision) -> bool:
        """Whether all frames and instances that a decision names are here."""
        return self._missing(decision) is None

    def _missing(self, decision: Decision) -> str | None:
        """Return what a decision names that is not here, or None."""
        for frame in decision.frames():
            if frame not in self._present:
                return f"frame {frame}"
        for frame, number in decision.subjects():
            if number not in self._present[frame]:
                return f"instance {number} in frame {frame}"
        return None


def masks_basis(fingerprint: str, parameters: CutParameters, provenance: Mapping[str, Any]) -> str:
    """Return a short hash of what decides how masks come out: the method, the video, the parameters, the models."""
    made_with = {
        "method": METHOD_VERSION,
        "video": fingerprint,
        "parameters": _as_known_then(parameters),
        "models": [provenance.get(name) for name in ("features", "flow", "crf")],
    }
    return hashlib.sha256(json.dumps(made_with, sort_keys=True).encode()).hexdigest()[:32]


# Parameters that came later, with the value at which masks are what they were before there was such a parameter.
_ADDED: dict[str, Any] = {"max_eigenvalue": 1.0, "both_ways": False}


def _as_known_then(parameters: CutParameters) -> dict[str, Any]:
    """Return parameters as their own version knew them: decisions on the masks of an older file stay valid."""
    return {name: value for name, value in parameters.model_dump().items() if _ADDED.get(name) != value}


def masks_path(folder: Path, name: str) -> Path:
    """Return where the masks of the video `name` lie in an output folder."""
    return folder / f"{name}{SUFFIX}"


def save_masks(masks: VideoMasks, path: str | os.PathLike[str]) -> None:
    """Write the masks of a video atomically.

    Raises
    ------
    OutputError
        If the file cannot be written; the one that was there before is untouched.
    """
    write_atomically(Path(path), MasksEncoder().encode(masks))


def update_masks(path: str | os.PathLike[str], change: Callable[[VideoMasks | None], VideoMasks]) -> VideoMasks:
    """Change a masks file so that nothing that another process writes in the meantime is lost.

    Parameters
    ----------
    path : str or path
    change : callable
        Makes the new masks of those that are there, None if there is no file.

    Raises
    ------
    InputError, OutputError
        If the file cannot be read or written.
    """
    path = Path(path)
    with folder_held(path.parent):
        masks = change(load_masks(path) if path.exists() else None)
        save_masks(masks, path)
    return masks


def load_masks(path: str | os.PathLike[str]) -> VideoMasks:
    """Read the masks of a video.

    Raises
    ------
    InputError
        If the file is missing, of a schema that this version does not know, or (`DamagedFileError`) damaged.
    """
    path = Path(path)
    return parse_masks(read_regular(path)[0], path)


def parse_masks(data: bytes, path: Path) -> VideoMasks:
    """Read the masks of a video from what a file held; `path` is for messages.

    Raises
    ------
    InputError
        If they are of a schema that this version does not know, or (`DamagedFileError`) damaged.
    """
    try:
        text = data.decode()
        content = json.loads(text, parse_constant=refuse_constant)
    except (ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise DamagedFileError(f"{path}: cannot be read as JSON ({_brief(error)})") from None
    schema = content.get("schema") if isinstance(content, dict) else None
    if schema != SCHEMA:
        raise InputError(f"{path}: its schema is {_brief(repr(schema))}; this version reads {SCHEMA!r}")
    try:
        return _masks_of(_File.model_validate_json(text))
    except ValidationError as error:
        raise DamagedFileError(f"{path}: damaged ({_brief(one_line(error))})") from None
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedFileError(f"{path}: damaged ({_brief(error)})") from None


class StoredFrame(BaseModel):
    """A frame as it stands in a file."""

    model_config = STRICT

    index: NonNegativeInt
    file: str | None
    partner: NonNegativeInt | None
    stop: StopReason
    instances: tuple[Instance, ...]
    rejected: tuple[Rejected, ...] = ()

    def checked(self, video: VideoRecord) -> FrameMasks:
        """Return the frame if it holds together and is of the video.

        Raises
        ------
        ValueError
            If not.
        """
        if max(self.index, self.partner or 0) >= video.frames:
            raise ValueError(f"frame {max(self.index, self.partner or 0)} of a video of {video.frames}")
        for instance in self.instances:
            try:
                instance.check((video.height, video.width))
            except InputError as error:
                raise ValueError(f"frame {self.index}: {error}") from None
        if len({instance.id for instance in self.instances}) < len(self.instances):
            raise ValueError(f"two masks of frame {self.index} have one id")
        return FrameMasks(self.index, self.partner, self.stop, self.instances, self.rejected)


class _File(BaseModel):
    """The file as it stands; `_masks_of` sees whether it holds together."""

    model_config = STRICT

    schema_: str = Field(alias="schema")
    video: VideoRecord
    parameters: CutParameters
    provenance: dict[str, Any]
    frames: tuple[StoredFrame, ...]
    decisions: dict[str, Any]


def _masks_of(file: _File) -> VideoMasks:
    video = file.video
    size = (video.height, video.width)
    if video.name != safe_name(video.name):
        raise ValueError(f"the video name {video.name!r} is not safe as a file name")
    if min(video.frames, *size) < 1 or max(size) > LARGEST_SIDE:
        raise ValueError(f"a video of {video.frames} frames of {video.width}x{video.height}")
    indices = [frame.index for frame in file.frames]
    if indices != sorted(set(indices)):
        raise ValueError("its frames are not in rising order, each once")
    masks = VideoMasks(
        video=video,
        parameters=file.parameters,
        provenance=file.provenance,
        frames=tuple(frame.checked(video) for frame in file.frames),
        files={frame.index: _inner_path(frame.file) for frame in file.frames if frame.file is not None},
    )
    decisions = decisions_from_json(file.decisions, masks.basis, size)
    for decision in decisions.made:
        if missing := masks._missing(decision):
            raise ValueError(f"a decision about {missing}, which is not there")
    return replace(masks, decisions=decisions)


def _inner_path(file: str) -> str:
    if not is_inner_path(file):
        raise ValueError(f"the frame {file!r} lies outside the folder of its video")
    return file


def _brief(error: Exception | str) -> str:
    """Return a text that fits a line: what was found in a file may be of any length."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else f"{text[:297]}..."
