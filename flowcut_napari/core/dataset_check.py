"""The strict check of a dataset: whether it holds what its form says, in itself and on the disk."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pycocotools import mask as coco

from flowcut_napari.core.about import ABOUT, WRITTEN, About, read_about, read_videos
from flowcut_napari.core.dataset_state import DatasetCheck, frame_state, is_folder
from flowcut_napari.core.davis_check import check_davis
from flowcut_napari.core.errors import InputError
from flowcut_napari.core.formats.ytvis import ANNOTATIONS
from flowcut_napari.core.json_stream import read_items
from flowcut_napari.core.masks import LARGEST_SIDE, check_rle
from flowcut_napari.core.video import frames_folder, is_inner_path


def check_dataset(folder: Path, on_item: Callable[[], None] | None = None) -> DatasetCheck:
    """Check a dataset: one of ours, or any YouTube-VIS json called ``annotations.json`` with its frames.

    Looked at are the schema, ids, references between items, the size, runs, area and box of every mask, that every
    frame lies inside the folder, exists and has the stated size, and, for one of ours, that its counts are right.

    Parameters
    ----------
    folder : Path
    on_item : callable, optional
        Called for every clip and instance.

    Raises
    ------
    InputError
        If there is no dataset, or its json cannot be read.
    """
    if not is_folder(folder):
        raise InputError(f"{str(folder)[:200]}: no such folder")
    about = read_about(folder)
    check = DatasetCheck(about.format if about else "ytvis")
    tick = on_item or (lambda: None)
    names = _check_about(folder, about, check) if about else None
    if about and about.format == "davis":
        check_davis(folder, about, check, tick)
    else:
        if not (folder / ANNOTATIONS).is_file():
            raise InputError(f"{folder}: no dataset (it has no {ANNOTATIONS})")
        _Check(folder, about, names, check, tick).run()
    if about:
        for name, found in zip(WRITTEN[about.format], (check.clips, check.instances), strict=True):
            if about.counts[name] != found:
                check.say(f"{ABOUT}: says {about.counts[name]} {name}, there are {found}")
    return check


def _check_about(folder: Path, about: About, check: DatasetCheck) -> set[str]:
    """Check what a dataset says of its videos, and return the names of those that have clips."""
    names: set[str] = set()
    seen: set[str] = set()
    clips = 0
    for video in read_videos(folder, about):
        if video.name.casefold() in seen:
            check.say(f"{ABOUT}: has the video {video.name[:80]} twice")
        seen.add(video.name.casefold())
        clips += video.clips
        names |= {video.name} if video.clips else set()
    for name, found in (("videos", len(names)), ("clips", clips)):
        if about.counts.get(name, found) != found:
            check.say(f"{ABOUT}: says {about.counts[name]} {name}, it lists {found}")
    return names


@dataclass(frozen=True, slots=True)
class _Item:
    """A video or picture that annotations refer to."""

    height: int
    width: int
    length: int


class _Check:
    """The check of a YouTube-VIS or COCO json, in one pass where its annotations come last."""

    def __init__(
        self,
        folder: Path,
        about: About | None,
        names: set[str] | None,
        check: DatasetCheck,
        tick: Callable[[], None],
    ) -> None:
        self.folder = folder
        self.path = folder / ANNOTATIONS
        self.is_ours = about is not None
        self.mode = about.frame_files if about else None
        self.names = names
        self.check = check
        self.tick = tick
        self.of_videos = check.format == "ytvis"
        self.list_name = "videos" if self.of_videos else "images"
        self.items: dict[int, _Item] = {}
        self.categories: set[int] = set()
        self.annotations: set[int] = set()
        self.used: set[int] = set()
        self.frames: dict[str, tuple[int, int] | None] = {}
        self.root: Path | None = folder / "frames" if self.is_ours else None
        self.inside = os.path.realpath(folder)

    def run(self) -> None:
        names: set[str] = set()
        again = False
        for name, value in read_items(self.path, names):
            if name == self.list_name:
                self._item(value)
            elif name == "categories":
                self._category(value)
            elif name == "annotations":
                # They refer to videos and categories, and can be looked at when these are known.
                if not {self.list_name, "categories"} <= names:
                    again = True
                else:
                    self._annotation(value)
        if again:
            self.annotations.clear()
            for name, value in read_items(self.path):
                if name == "annotations":
                    self._annotation(value)
        for missing in sorted({self.list_name, "categories", "annotations"} - names):
            self.check.say(f"{self.path.name}: has no {missing}")
        if self.list_name in names and not self.check.clips:
            self.check.say(f"{self.path.name}: its {self.list_name} are none")
        if self.is_ours:
            for number in sorted(set(self.items) - self.used):
                self.check.say(f"{self._what(number)}: has no annotation")

    def _what(self, number: Any) -> str:
        return f"{'video' if self.of_videos else 'image'} {number}"

    def _item(self, value: Any) -> None:
        self.tick()
        self.check.clips += 1
        place = f"{self.list_name}[{self.check.clips - 1}]"
        number = _id_of(value)
        if number is None or number in self.items:
            self.check.say(
                f"{place}: its id {_short(value, 'id')} is "
                + ("no whole number from 1" if number is None else "there twice")
            )
            return
        what = self._what(number)
        height, width = value.get("height"), value.get("width")
        if not (_is_count(height) and _is_count(width) and max(height, width) <= LARGEST_SIDE):
            self.check.say(f"{what}: its size is {_short(value, 'width')}x{_short(value, 'height')}")
            return
        files = value.get("file_names") if self.of_videos else [value.get("file_name")]
        if not isinstance(files, list) or not files or not all(isinstance(file, str) for file in files):
            self.check.say(f"{what}: has no list of file_names" if self.of_videos else f"{what}: has no file_name")
            return
        if self.of_videos and value.get("length") != len(files):
            self.check.say(f"{what}: its length is {_short(value, 'length')}, it has {len(files)} frames")
        if len(set(files)) < len(files):
            self.check.say(f"{what}: has a frame twice")
        self.items[number] = _Item(height, width, len(files))
        for file in files:
            self._frame(what, file, (height, width))

    def _frame(self, what: str, file: str, size: tuple[int, int]) -> None:
        if not is_inner_path(file):
            self.check.say(f"{what}: the frame {file[:80]!r} lies outside the dataset folder")
            return
        if self.names is not None and file.partition("/")[0] not in self.names:
            self.check.say(f"{what}: the frame {file[:80]} is of a video that {ABOUT} does not list")
        if self.mode == "none":
            return
        if self.root is None:
            self.root = frames_folder(self.path, file)
        if file not in self.frames:
            self.frames[file] = self._frame_size(what, file)
        found = self.frames[file]
        if found is not None and found != size:
            self.check.say(f"{what}: the frame {file} is {found[1]}x{found[0]}, stated is {size[1]}x{size[0]}")

    def _frame_size(self, what: str, file: str) -> tuple[int, int] | None:
        assert self.root is not None  # found by the caller
        size, problem = frame_state(
            self.root / file, self.inside if self.is_ours and self.mode != "reference" else None
        )
        if problem:
            self.check.say(f"{what}: the frame {file[:200]} {problem}")
        return size

    def _category(self, value: Any) -> None:
        number = _id_of(value)
        if number is None or number in self.categories or not isinstance(value.get("name"), str):
            self.check.say(f"categories: {_short(value, 'id')} is no category of its own (an id from 1, and a name)")
            return
        self.categories.add(number)

    def _annotation(self, value: Any) -> None:
        self.tick()
        self.check.instances += 1
        number = _id_of(value)
        if number is None or number in self.annotations:
            place = f"annotations[{self.check.instances - 1}]"
            self.check.say(
                f"{place}: its id {_short(value, 'id')} is "
                + ("no whole number from 1" if number is None else "there twice")
            )
            return
        self.annotations.add(number)
        what = f"annotation {number}"
        reference = "video_id" if self.of_videos else "image_id"
        item = self.items.get(value.get(reference)) if _is_count(value.get(reference)) else None
        if item is None:
            self.check.say(f"{what}: its {reference} {_short(value, reference)} is not there")
            return
        self.used.add(value[reference])
        if not _is_count(value.get("category_id")) or value["category_id"] not in self.categories:
            self.check.say(f"{what}: its category_id {_short(value, 'category_id')} is not there")
        if value.get("iscrowd") not in (0, 1):
            self.check.say(f"{what}: its iscrowd is {_short(value, 'iscrowd')}")
        for problem in self._mask_problems(value, item):
            self.check.say(f"{what}: {problem}")

    def _mask_problems(self, value: Mapping[str, Any], item: _Item) -> Iterator[str]:
        size = (item.height, item.width)
        if not self.of_videos:
            problem = _mask_problem(
                value.get("segmentation"), value.get("bbox"), value.get("area"), size, not self.is_ours
            )
            if problem:
                yield problem
            return
        for name, stated in (("height", item.height), ("width", item.width), ("length", item.length)):
            if value.get(name, stated) != stated:
                yield f"its {name} is {_short(value, name)}, its video's is {stated}"
        lists = [value.get(name) for name in ("segmentations", "bboxes", "areas")]
        if not all(isinstance(items, list) and len(items) == item.length for items in lists):
            yield f"segmentations, bboxes and areas must each have {item.length} entries, one a frame"
            return
        present = 0
        for frame, (segmentation, box, area) in enumerate(zip(*lists, strict=True)):
            if segmentation is None and box is None and area is None:
                continue
            present += 1
            if problem := _mask_problem(segmentation, box, area, size, not self.is_ours):
                yield f"frame {frame}: {problem}"
        if present == 0:
            yield "has no mask in any frame"


def _mask_problem(segmentation: Any, box: Any, area: Any, size: tuple[int, int], polygons: bool) -> str | None:
    """Return what is wrong with one mask, or None; ours are never polygons."""
    if isinstance(segmentation, list) and polygons:
        return (
            None if _are_polygons(segmentation) else "its segmentation is no list of polygons of three points or more"
        )
    if not isinstance(segmentation, dict) or set(segmentation) != {"size", "counts"}:
        return "its segmentation is no run-length code" if segmentation is not None else "its segmentation is missing"
    if segmentation["size"] != list(size):
        return f"its mask has the size {str(segmentation['size'])[:40]}, the frame has {list(size)}"
    counts = segmentation["counts"]
    try:
        if isinstance(counts, list):
            if not all(type(run) is int and run >= 0 for run in counts) or sum(counts) != size[0] * size[1]:
                return f"its runs do not fill {size[0]}x{size[1]} pixels"
            code = coco.frPyObjects(segmentation, *size)
            true_area = sum(counts[1::2])
        elif isinstance(counts, str):
            true_area = check_rle({"size": list(size), "counts": counts})
            code = {"size": list(size), "counts": counts.encode("ascii")}
        else:
            return "its runs are neither a text nor a list"
    except (InputError, ValueError, OverflowError):
        return f"its runs do not fill {size[0]}x{size[1]} pixels"
    if true_area == 0:
        return "its mask is empty; where an object is not in a frame, all three entries are null"
    if area != true_area:
        return f"its area is {str(area)[:40]}, its mask has {true_area} pixels"
    true_box = [float(number) for number in coco.toBbox(code)]
    if not isinstance(box, list) or box != true_box:
        return f"its box is {str(box)[:60]}, its mask's is {true_box}"
    return None


def _are_polygons(segmentation: list[Any]) -> bool:
    """Whether public loaders take it: lists of an even number of coordinates, six or more. Its area depends on them."""
    return bool(segmentation) and all(
        isinstance(polygon, list)
        and len(polygon) >= 6
        and len(polygon) % 2 == 0
        and all(type(number) in (int, float) for number in polygon)
        for polygon in segmentation
    )


def _id_of(value: Any) -> int | None:
    number = value.get("id") if isinstance(value, dict) else None
    return number if _is_count(number) else None


def _is_count(number: Any) -> bool:
    return type(number) is int and number >= 1


def _short(value: Any, name: str) -> str:
    inner = value.get(name) if isinstance(value, dict) else value
    return json.dumps(inner)[:40]
