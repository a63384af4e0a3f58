"""Ground truth and predictions in YouTube-VIS form, looked through before anything is computed of them.

Numbers of a benchmark are only worth something if every entry was understood: what cannot be is refused, with the
place where it stands.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from flowcut_napari.core.errors import InputError
from flowcut_napari.core.formats.ytvis import ANNOTATIONS
from flowcut_napari.core.json_stream import refuse_constant
from flowcut_napari.core.masks import LARGEST_SIDE

_LARGEST_ID = 2**63 - 1
# One mask a frame as the file has it, None where there is none; see `tubes.read_tube`.
Segmentations = Sequence[Any]

# Of a mask; beyond it sums are no longer whole numbers.
_LARGEST_AREA = 2.0**53


@dataclass(frozen=True, slots=True)
class TrueObject:
    """An object of the ground truth.

    Attributes
    ----------
    id, category : int
        From 1.
    is_crowd : bool
        Whether it stands for a group: detections on it count neither for nor against.
    area : float
        Mean of the stated areas of the frames in which it has one, in pixels; 0 if there is none.
    segmentations : sequence
        One entry a frame of the video.
    """

    id: int
    category: int
    is_crowd: bool
    area: float
    segmentations: Segmentations


@dataclass(frozen=True, slots=True)
class Detection:
    """A prediction; `place` is that in the list of results, from 0."""

    place: int
    category: int
    score: float
    segmentations: Segmentations


@dataclass(frozen=True, slots=True)
class EvaluatedVideo:
    """A video with its objects and detections, each in the order of its file; `files` may be unknown, and empty."""

    id: int
    name: str
    height: int
    width: int
    length: int
    files: tuple[str, ...] = ()
    objects: list[TrueObject] = field(default_factory=list)
    detections: list[Detection] = field(default_factory=list)


def read_ground_truth_file(path: Path) -> tuple[Path, Any]:
    """Read a YouTube-VIS json, or that of an exported dataset folder; return its path and what is in it.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    if path.is_dir():
        if not (path / ANNOTATIONS).is_file():
            raise InputError(f"{path}: no dataset folder (it has no {ANNOTATIONS}); give the json of the ground truth")
        path = path / ANNOTATIONS
    return path, read_json(path)


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises
    ------
    InputError
        If it is not there, is damaged, or holds NaN or an infinity.
    """
    if path.is_dir():
        raise InputError(f"{path}: is a folder; give the json file in it")
    try:
        with path.open(encoding="utf-8") as stream:
            return json.load(stream, parse_constant=refuse_constant)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read as JSON ({error})") from None


def check_ground_truth(content: Any, name: str = "ground truth") -> tuple[dict[int, EvaluatedVideo], tuple[int, ...]]:
    """Return the videos by rising id, with their objects, and the ids of the categories, rising.

    Parameters
    ----------
    content : dict
        With ``videos``, ``categories`` and ``annotations`` as in YouTube-VIS.
    name : str
        What errors call it.

    Raises
    ------
    InputError
        If anything is missing, of another type, there twice, or refers to what is not there; also for ids below 1,
        of which the reference program takes the 0 for "no match".
    """
    if isinstance(content, list):
        raise InputError(f"{name}: is a list, as results are; the ground truth comes first, the predictions second")
    if not isinstance(content, Mapping):
        raise InputError(f"{name}: is no ground truth (a JSON object with videos, categories and annotations)")
    for part in ("videos", "categories", "annotations"):
        if not isinstance(content.get(part), list):
            raise InputError(f"{name}: has no list of {part}; it must be YouTube-VIS json")
    videos: dict[int, EvaluatedVideo] = {}
    for place, value in enumerate(content["videos"]):
        video = _video(value, f"{name}: videos[{place}]")
        if video.id in videos:
            raise InputError(f"{name}: videos[{place}]: the id {video.id} is there twice")
        videos[video.id] = video
    categories: set[int] = set()
    for place, value in enumerate(content["categories"]):
        number = _id(value, "id", f"{name}: categories[{place}]")
        if number in categories:
            raise InputError(f"{name}: categories[{place}]: the id {number} is there twice")
        categories.add(number)
    numbers: set[int] = set()
    for place, value in enumerate(content["annotations"]):
        number = _id(value, "id", f"{name}: annotations[{place}]")
        if number in numbers:
            raise InputError(f"{name}: annotations[{place}]: the id {number} is there twice")
        numbers.add(number)
        _add_object(value, number, videos, categories, f"{name}: annotation {number}")
    return dict(sorted(videos.items())), tuple(sorted(categories))


def add_detections(
    content: Any,
    videos: Mapping[int, EvaluatedVideo],
    categories: Sequence[int],
    name: str = "predictions",
) -> None:
    """Put the predictions into their videos; an empty list is as good as any.

    Parameters
    ----------
    content : list of dict
        Each with ``video_id``, ``category_id``, ``score`` and ``segmentations``.
    videos, categories
        Of `check_ground_truth`.
    name : str
        What errors call it.

    Raises
    ------
    InputError
        As `check_ground_truth`.
    """
    if isinstance(content, Mapping):
        kind = "a ground truth" if "annotations" in content else "a JSON object"
        raise InputError(f"{name}: is {kind}, no list of results; the ground truth comes first, the predictions second")
    if not isinstance(content, list):
        raise InputError(f"{name}: is no list of results")
    known = set(categories)
    for place, value in enumerate(content):
        where = f"{name}: result {place}"
        if not isinstance(value, Mapping):
            raise InputError(f"{where}: is no JSON object")
        number = _whole(value, "video_id", where)
        if number not in videos:
            raise InputError(f"{where}: the video {shown(number)} is not in the ground truth")
        video = videos[number]
        where = f"{where} (video {number})"
        category = _whole(value, "category_id", where)
        if category not in known:
            raise InputError(f"{where}: the category {shown(category)} is not in the ground truth")
        score = _finite(_get(value, "score", where), f"{where}: its score")
        segmentations = _per_frame(value, "segmentations", video, where)
        video.detections.append(Detection(place, category, score, segmentations))


def _video(value: Any, where: str) -> EvaluatedVideo:
    number = _id(value, "id", where)
    where = f"{where.partition(': videos[')[0]}: video {number}"
    height, width = (_whole(value, side, where) for side in ("height", "width"))
    if not (1 <= height <= LARGEST_SIDE and 1 <= width <= LARGEST_SIDE):
        raise InputError(f"{where}: a size of {shown(width)}x{shown(height)} pixels makes no sense")
    files = value.get("file_names")
    if files is not None and not (isinstance(files, list) and all(isinstance(file, str) for file in files)):
        raise InputError(f"{where}: its file_names are no list of names")
    if "length" not in value and files is None:
        raise InputError(f"{where}: has neither length nor file_names")
    length = _whole(value, "length", where) if "length" in value else len(files or ())
    if length < 1 or (files is not None and len(files) != length):
        raise InputError(f"{where}: its length is {shown(length)}, its file_names are {len(files or ())}")
    folder = PurePosixPath(files[0]).parent.name if files else ""
    return EvaluatedVideo(number, folder or f"video {number}", height, width, length, tuple(files or ()))


def _add_object(
    value: Mapping[str, Any], number: int, videos: Mapping[int, EvaluatedVideo], categories: set[int], where: str
) -> None:
    video = videos.get(_whole(value, "video_id", where))
    if video is None:
        raise InputError(f"{where}: the video {shown(value['video_id'])} is not in the ground truth")
    category = _whole(value, "category_id", where)
    if category not in categories:
        raise InputError(f"{where}: the category {shown(category)} is not in the ground truth")
    crowd = value.get("iscrowd", 0)
    if type(crowd) is not int or crowd not in (0, 1):
        raise InputError(f"{where}: its iscrowd is {shown(crowd)}; 0 or 1 belongs there")
    segmentations = _per_frame(value, "segmentations", video, where)
    areas = []
    for frame, area in enumerate(_per_frame(value, "areas", video, where)):
        if area is None:
            continue
        pixels = _finite(area, f"{where}: its area in frame {frame}")
        if not 0 <= pixels <= _LARGEST_AREA:
            raise InputError(f"{where}: its area in frame {frame} is {shown(area)}")
        areas.append(pixels)
    mean = mean_area(areas)
    video.objects.append(TrueObject(number, category, bool(crowd), mean, segmentations))


def mean_area(areas: Sequence[float]) -> float:
    """Return the mean of the areas that are not 0, and 0 if there is none: the size by which objects are sorted."""
    present = [area for area in areas if area]
    return math.fsum(present) / len(present) if present else 0.0


def _per_frame(value: Mapping[str, Any], key: str, video: EvaluatedVideo, where: str) -> list[Any]:
    entries = _get(value, key, where)
    if not isinstance(entries, list):
        raise InputError(f"{where}: its {key} are no list")
    if len(entries) != video.length:
        raise InputError(f"{where}: has {len(entries)} {key}, its video {video.id} has {video.length} frames")
    return entries


def _get(value: Mapping[str, Any], key: str, where: str) -> Any:
    if key not in value:
        raise InputError(f"{where}: has no {key}")
    return value[key]


def _whole(value: Mapping[str, Any], key: str, where: str) -> int:
    number = _get(value, key, where)
    if type(number) is not int:  # True is an int to Python
        raise InputError(f"{where}: its {key} is {shown(number)}, no whole number")
    return number


def _id(value: Any, key: str, where: str) -> int:
    if not isinstance(value, Mapping):
        raise InputError(f"{where}: is no JSON object")
    number = _whole(value, key, where)
    if not 1 <= number <= _LARGEST_ID:
        raise InputError(f"{where}: its {key} is {shown(number)}; ids of the ground truth start at 1")
    return number


def _finite(number: Any, what: str) -> float:
    if type(number) in (int, float):
        try:
            if math.isfinite(number):
                return float(number)
        except OverflowError:  # a whole number beyond all floats
            pass
    raise InputError(f"{what} is {shown(number)}, no finite number")


def shown(value: Any) -> str:
    """Return a value as errors show it: short, whatever it is."""
    try:
        text = repr(value)
    except ValueError:  # a whole number of more digits than Python writes
        return "a huge number"
    return text if len(text) <= 40 else text[:37] + "..."
