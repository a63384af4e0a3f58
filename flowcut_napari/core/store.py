"""Pseudo-masks on disk: one ``NAME.masks.json`` a video, schema ``flowcut.masks/1``, written whole or not at all."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, get_args

from flowcut_napari.core.errors import InputError
from flowcut_napari.core.files import write_atomically
from flowcut_napari.core.ncut import StopReason
from flowcut_napari.core.parameters import CutParameters
from flowcut_napari.core.pseudo_masks import FrameMasks, Instance, Origin, Rejected
from flowcut_napari.core.video import Video

SCHEMA = "flowcut.masks/1"
SUFFIX = ".masks.json"


@dataclass(frozen=True)
class VideoRecord:
    """What is known of the video that masks belong to; `path` is where it lay when they were made."""

    name: str
    path: str
    frames: int
    height: int
    width: int
    fingerprint: str

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
    decisions : dict
        What a person decided; see the curation of stage 2.
    """

    video: VideoRecord
    parameters: CutParameters
    provenance: dict[str, Any]
    frames: tuple[FrameMasks, ...]
    files: dict[int, str] = field(default_factory=dict)
    decisions: dict[str, Any] = field(default_factory=dict)

    def has_hand_work(self) -> bool:
        """Whether a person decided, edited or drew anything in it."""
        made_by_hand = any(instance.origin != "cut" for frame in self.frames for instance in frame.instances)
        return made_by_hand or bool(self.decisions)


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
    content = {
        "schema": SCHEMA,
        "video": asdict(masks.video),
        "parameters": masks.parameters.model_dump(),
        "provenance": masks.provenance,
        "frames": [_frame_to_json(frame, masks.files.get(frame.index)) for frame in masks.frames],
        "decisions": masks.decisions,
    }
    write_atomically(Path(path), json.dumps(content, allow_nan=False, separators=(",", ":")) + "\n")


def load_masks(path: str | os.PathLike[str]) -> VideoMasks:
    """Read the masks of a video.

    Raises
    ------
    InputError
        If the file is missing, damaged, or of a schema that this version does not know.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read as JSON ({error})") from None
    schema = content.get("schema") if isinstance(content, dict) else None
    if schema != SCHEMA:
        raise InputError(f"{path}: its schema is {schema!r}; this version reads {SCHEMA!r}")
    try:
        video = VideoRecord(**content["video"])
        return VideoMasks(
            video=video,
            parameters=CutParameters(**content["parameters"]),
            provenance=dict(content["provenance"]),
            frames=tuple(_frame_from_json(frame, video) for frame in content["frames"]),
            files={frame["index"]: frame["file"] for frame in content["frames"] if frame["file"] is not None},
            decisions=content["decisions"],
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path}: damaged ({type(error).__name__}: {str(error).splitlines()[0]})") from None


def _frame_to_json(frame: FrameMasks, file: str | None) -> dict[str, Any]:
    return {
        "index": frame.index,
        "file": file,
        "partner": frame.partner,
        "stop": frame.stop,
        "instances": [asdict(instance) for instance in frame.instances],
        "rejected": [asdict(rejected) for rejected in frame.rejected],
    }


def _frame_from_json(frame: dict[str, Any], video: VideoRecord) -> FrameMasks:
    if not 0 <= frame["index"] < video.frames:
        raise ValueError(f"frame {frame['index']} of a video of {video.frames}")
    if frame["stop"] not in get_args(StopReason):
        raise ValueError(f"frame {frame['index']} stopped for {frame['stop']!r}")
    for item in frame["instances"]:
        if item["segmentation"]["size"] != [video.height, video.width]:
            raise ValueError(f"a mask of frame {frame['index']} has the size {item['segmentation']['size']}")
        if item["origin"] not in get_args(Origin):
            raise ValueError(f"a mask of frame {frame['index']} has the origin {item['origin']!r}")
    return FrameMasks(
        index=frame["index"],
        partner=frame["partner"],
        stop=frame["stop"],
        instances=tuple(Instance(**{**item, "seed": _pair(item["seed"])}) for item in frame["instances"]),
        rejected=tuple(Rejected(**{**item, "seed": _pair(item["seed"])}) for item in frame["rejected"]),
    )


def _pair(seed: list[int] | None) -> tuple[int, int] | None:
    return (seed[0], seed[1]) if seed is not None else None
