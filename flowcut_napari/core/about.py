"""``dataset.json``: where a dataset comes from, what became of everything, and who decided what."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, Field, NonNegativeInt, PositiveInt, ValidationError

from flowcut_napari.core.errors import InputError
from flowcut_napari.core.json_stream import read_items
from flowcut_napari.core.parameters import STRICT, DatasetFormat, FrameFilesMode, one_line

ABOUT = "dataset.json"
SCHEMA = "flowcut.dataset/1"
# Of a folder whose datasets are the parts of a split.
SPLITS_SCHEMA = "flowcut.splits/1"
# What each format counts, its pictures or sequences of them and what is in them.
WRITTEN: dict[DatasetFormat, tuple[str, str]] = {
    "ytvis": ("clips", "instances"),
    "coco": ("images", "annotations"),
    "davis": ("sequences", "objects"),
}


class YieldFigures(BaseModel):
    """What became of clips, as `Yield` has it."""

    model_config = STRICT

    candidates: NonNegativeInt
    clips: NonNegativeInt
    instances: NonNegativeInt
    masks: NonNegativeInt
    dropped_clips: dict[str, NonNegativeInt]
    dropped_masks: dict[str, NonNegativeInt]


class AboutVideo(BaseModel):
    """What is known of one video; `stage1` and `stage2` are places in the lists of the same name."""

    model_config = STRICT

    name: str = Field(min_length=1)
    fingerprint: str
    height: PositiveInt
    width: PositiveInt
    frames: list[NonNegativeInt]
    stage1: NonNegativeInt
    stage2: NonNegativeInt
    clips: NonNegativeInt
    tracklets: list[dict[str, Any]]
    yield_: dict[str, YieldFigures] = Field(alias="yield")
    decisions: list[dict[str, Any]]
    masks_by_hand: list[dict[str, Any]]
    stale: list[dict[str, Any]]


class About(BaseModel):
    """All but the videos.

    `parameters` are those of the curation, None where merged datasets differ in them; `stage1` and `stage2` are all
    ways in which masks and clips were made; `failed` are the names of videos that could not be read.
    """

    model_config = STRICT

    schema_: str = Field(alias="schema")
    format: DatasetFormat
    frame_files: FrameFilesMode
    provenance: dict[str, str]
    counts: dict[str, NonNegativeInt]
    parameters: dict[str, Any] | None
    yield_: dict[str, YieldFigures] = Field(alias="yield")
    failed: list[str]
    stage1: list[dict[str, Any]]
    stage2: list[dict[str, Any]]

    def to_parts(self) -> dict[str, str]:
        """Return the fields in the order of the file, each as JSON."""
        return {name: compact(value) for name, value in self.model_dump(mode="json", by_alias=True).items()}


# All that an export may write into its folder.
_ENTRIES = {ABOUT, "annotations.json", "frames", "preview.png", "JPEGImages", "Annotations", "ImageSets"}
_Model = TypeVar("_Model", bound=BaseModel)
_LISTS = ("failed", "stage1", "stage2")


def read_about(folder: Path) -> About | None:
    """Return what a dataset says of itself, all but its videos, or None where it says nothing.

    Raises
    ------
    InputError
        If it cannot be read, is of a schema that this version does not know, or is damaged.
    """
    path = folder / ABOUT
    if not path.is_file():
        return None
    names: set[str] = set()
    content: dict[str, Any] = {}
    for name, value in read_items(path, names):
        if name in _LISTS:
            content.setdefault(name, []).append(value)
        elif name != "videos":
            content[name] = value
    content |= {name: [] for name in _LISTS if name in names and name not in content}
    schema = content.get("schema")
    if schema == SPLITS_SCHEMA:
        parts = ", ".join(str(part) for part in sorted(folder.iterdir()) if part.is_dir())
        raise InputError(f"{folder}: is split into several datasets; give one of them: {parts}")
    if schema != SCHEMA:
        raise InputError(f"{path}: its schema is {repr(schema)[:60]}; this version reads {SCHEMA!r}")
    if "videos" not in names:
        raise InputError(f"{path}: damaged (videos is missing)")
    about = _validated(About, content, path)
    missing = {"videos", *WRITTEN[about.format]} - set(about.counts)
    if missing:
        raise InputError(f"{path}: damaged (no counts of {' and '.join(sorted(missing))})")
    return about


def read_videos(folder: Path, about: About) -> Iterator[AboutVideo]:
    """Give what a dataset says of its videos, one by one.

    Raises
    ------
    InputError
        If it is damaged.
    """
    path = folder / ABOUT
    for name, value in read_items(path):
        if name == "videos":
            video = _validated(AboutVideo, value, path)
            if video.stage1 >= len(about.stage1) or video.stage2 >= len(about.stage2):
                raise InputError(f"{path}: damaged (the video {video.name[:80]} names parameters that are not there)")
            yield video


def is_replaceable(folder: Path) -> bool:
    """Whether a folder is a dataset of ours, or the parts of one, and holds nothing else."""
    try:
        content = {name: value for name, value in read_items(folder / ABOUT) if name in ("schema", "splits")}
    except InputError:
        return False
    inside = {entry.name for entry in folder.iterdir()}
    if content.get("schema") == SCHEMA:
        return inside <= _ENTRIES
    splits = content.get("splits")
    if content.get("schema") != SPLITS_SCHEMA or not isinstance(splits, dict):
        return False
    return inside <= {ABOUT, *splits} and all(is_replaceable(folder / name) for name in inside - {ABOUT})


def compact(value: Any) -> str:
    """Return JSON without spaces."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def _validated(model: type[_Model], content: Mapping[str, Any], path: Path) -> _Model:
    try:
        # From JSON, not from Python's values: there a list is no tuple and a text no name.
        return model.model_validate_json(json.dumps(content))
    except ValidationError as error:
        text = one_line(error)
        raise InputError(f"{path}: damaged ({text[:300]})") from None
