"""The items of a YouTube-VIS or COCO json as this package needs them, each checked as strictly as it is read."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Literal

from flowcut_napari.core.errors import InputError
from flowcut_napari.core.masks import LARGEST_SIDE
from flowcut_napari.core.segmentations import are_polygons, stated_size
from flowcut_napari.core.video import is_inner_path

Kind = Literal["clips", "stills"]
# What a clip is called in its json, and in an annotation that refers to it.
LIST_NAMES: dict[Kind, str] = {"clips": "videos", "stills": "images"}
_REFERENCES: dict[Kind, str] = {"clips": "video_id", "stills": "image_id"}


@dataclass(frozen=True, slots=True)
class ClipRecord:
    """A clip, or a still as a clip of one frame; `files` are relative to where the dataset's frames lie."""

    id: int
    height: int
    width: int
    files: tuple[str, ...]

    @property
    def video(self) -> str:
        """The folder of its frames, which is called after the video; of a file without one its own name."""
        file = PurePosixPath(self.files[0])
        return file.parent.name or file.stem


@dataclass(frozen=True, slots=True)
class TrackRecord:
    """An instance: in each frame a run-length code, polygons, or None where it is not there.

    `size` is the (height, width) that all run-length codes state, None where there are none.
    """

    id: int
    clip: int
    category: int
    is_crowd: bool
    segmentations: tuple[Any, ...]
    size: tuple[int, int] | None


def read_clip(value: Any, kind: Kind, row: int = 0) -> ClipRecord:
    """Check a video or an image of a json, the `row`-th of its list.

    Raises
    ------
    InputError
        Saying what is wrong, without the file.
    """
    number = _id_of(value, f"{LIST_NAMES[kind]}[{row}]")
    what = f"{'clip' if kind == 'clips' else 'still'} {number}"
    height, width = value.get("height"), value.get("width")
    if not (is_count(height) and is_count(width) and max(height, width) <= LARGEST_SIDE):
        raise InputError(f"{what}: its size is {_short(width)}x{_short(height)}")
    if kind == "clips":
        files = value.get("file_names")
        if not isinstance(files, list) or not files:
            raise InputError(f"{what}: has no list of file_names")
        length = value.get("length", len(files))
        if type(length) is not int or length != len(files):
            raise InputError(f"{what}: its length is {_short(length)}, it has {len(files)} frames")
    else:
        files = [value.get("file_name")]
    for file in files:
        if not isinstance(file, str) or not file or len(file) > 1000:
            raise InputError(f"{what}: a frame has no usable file name ({_short(file)})")
        if not is_inner_path(file):
            raise InputError(f"{what}: the frame {file[:80]!r} lies outside the dataset folder")
    return ClipRecord(number, height, width, tuple(files))


def read_track(value: Any, kind: Kind, row: int = 0) -> TrackRecord:
    """Check an annotation of a json, the `row`-th of its list; whether its masks decode is seen when they are.

    Raises
    ------
    InputError
        Saying what is wrong, without the file.
    """
    number = _id_of(value, f"annotations[{row}]")
    name = _REFERENCES[kind]
    clip = value.get(name)
    if not is_count(clip):
        raise InputError(f"annotation {number}: its {name} {_short(clip)} is no whole number from 1")
    what = f"annotation {number} of {'clip' if kind == 'clips' else 'still'} {clip}"
    category = value.get("category_id")
    if not is_count(category):
        raise InputError(f"{what}: its category_id {_short(category)} is no whole number from 1")
    crowd = value.get("iscrowd", 0)
    if type(crowd) is not int or crowd not in (0, 1):
        raise InputError(f"{what}: its iscrowd is {_short(crowd)}, not 0 or 1")
    segmentations = value.get("segmentations") if kind == "clips" else [value.get("segmentation")]
    if not isinstance(segmentations, list) or all(item is None for item in segmentations):
        raise InputError(f"{what}: has no mask in any frame")
    size: tuple[int, int] | None = None
    for frame, item in enumerate(segmentations):
        if item is None or (isinstance(item, list) and are_polygons(item)):
            continue
        stated = stated_size(item)
        if stated is None:
            raise InputError(f"{what}: frame {frame}: its mask is neither a run-length code nor polygons")
        if size is not None and stated != size:
            raise InputError(f"{what}: frame {frame}: its mask is {_sides(stated)}, another is {_sides(size)}")
        size = stated
    return TrackRecord(number, clip, category, crowd == 1, tuple(segmentations), size)


def is_count(number: Any) -> bool:
    """Whether it is a whole number from 1 that fits 63 bits."""
    return type(number) is int and 1 <= number < 1 << 63


def _id_of(value: Any, place: str) -> int:
    if not isinstance(value, dict):
        raise InputError(f"{place}: {_short(value)} is no object")
    number = value.get("id")
    if not is_count(number):
        raise InputError(f"{place}: the id {_short(number)} is no whole number from 1")
    return int(number)  # type: ignore[arg-type]  # is_count has seen to it


def _sides(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]}"


def _short(value: Any) -> str:
    return json.dumps(value)[:40]
