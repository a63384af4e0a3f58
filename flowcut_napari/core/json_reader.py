"""Looking into YouTube-VIS and COCO json, ours and others'. `dataset_check` is strict; this shows what can be shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from flowcut_napari.core.about import About
from flowcut_napari.core.clip_view import LARGEST_FRAME, MOST_INSTANCES, ClipInstance, ClipView, Lines, paint, that_fit
from flowcut_napari.core.dataset_scan import JsonIndex, Progress, files_of, scan_json, video_name
from flowcut_napari.core.dataset_view import Dataset, choose_root, frame_of
from flowcut_napari.core.errors import FlowCutError, InputError, printable
from flowcut_napari.core.parameters import DatasetFormat
from flowcut_napari.core.segmentations import Packed, area_of, read_segmentation, stated_size
from flowcut_napari.core.video import frames_folder, is_inner_path

# Clips whose first frames are looked for: some may be missing.
_TRIED = 8


def open_json(path: Path, about: About | None, tell: Callable[[Progress], None]) -> JsonDataset:
    """Open a json, and look for its frames where such files have them.

    Raises
    ------
    InputError
        If it cannot be read, or holds no clip.
    """
    index = scan_json(path, tell)
    dataset = JsonDataset(
        path=path,
        root=None,
        about=about,
        names=[printable(name) for name in index.names],
        videos=index.videos,
        lengths=index.lengths,
        frames=index.frames,
        instances=int(index.firsts[-1] - index.firsts[0]),
        problems=index.problems,
        index=index,
    )
    for file in dataset.some_files():
        try:
            return replace(dataset, root=frames_folder(path, file))
        except InputError:
            continue  # another frame may be there
    return dataset


@dataclass(frozen=True)
class JsonDataset(Dataset):
    """A YouTube-VIS or COCO json."""

    index: JsonIndex

    @property
    def format(self) -> DatasetFormat:
        """``ytvis`` or ``coco``."""
        return self.index.format

    def some_files(self) -> list[str]:
        """Return the first frames of some clips, those that have a usable name."""
        numbers = np.unique(np.linspace(0, len(self) - 1, _TRIED).astype(int)).tolist()
        firsts = [files[0] for number in numbers if (files := files_of(self.index.item(number)))]
        return [file for file in firsts if isinstance(file, str) and len(file) <= 1000 and is_inner_path(file)]

    def with_root(self, folder: Path) -> JsonDataset:
        """Return the same dataset with its frames in a folder, in its JPEGImages or frames, or beside it."""
        candidates = (folder, folder / "JPEGImages", folder / "frames", folder.parent)
        return replace(self, root=choose_root(candidates, self.some_files()))

    def read(self, number: int, places: Sequence[int]) -> ClipView:
        """Read some frames of a clip with their masks."""
        item = self.index.item(number)
        annotations = self.index.annotations(number)
        lines = Lines()
        files = files_of(item)
        if not files:
            lines.say("it names no frames")
        chosen = tuple(place for place in places if 0 <= place < len(files))
        size = _size_of(item, annotations, lines) or self._size_of_frame([files[place] for place in chosen])
        chosen = that_fit(chosen, size, lines)
        frames = [frame_of(self.root, files[place], size, lines) for place in chosen]
        labels, instances = self._masks(annotations, chosen, len(files), size, lines)
        return ClipView(
            number=number,
            id=printable(str(item.get("id")))[:40] if isinstance(item, dict) else "",
            video=printable(video_name(files, number)),
            files=tuple(printable(str(file)[:1000]) for file in files),
            places=chosen,
            frames=tuple(frames),
            labels=labels,
            instances=instances,
            problems=tuple(printable(line) for line in lines.all()),
        )

    def _size_of_frame(self, files: Sequence[Any]) -> tuple[int, int]:
        frames = (frame_of(self.root, file, None, Lines()) for file in files)
        return next((frame.shape[:2] for frame in frames if frame is not None), (1, 1))

    def _masks(
        self, annotations: list[Any], places: Sequence[int], length: int, size: tuple[int, int], lines: Lines
    ) -> tuple[tuple[np.ndarray, ...], tuple[ClipInstance, ...]]:
        found: list[list[tuple[int, Packed]]] = [[] for _ in places]
        instances = []
        for label, value in enumerate(annotations, start=1):
            if label > MOST_INSTANCES:
                lines.say(f"it has {len(annotations)} instances; the first {MOST_INSTANCES} are shown")
                break
            what = f"annotation {str(value.get('id'))[:40]}"
            if self.format == "ytvis":
                masks = value.get("segmentations")
                if masks is None:
                    lines.say(f"{what}: has no masks")
                    masks = []
                elif not isinstance(masks, list) or len(masks) != length:
                    lines.say(f"{what}: its segmentations are not one for each of {length} frames")
                    masks = masks if isinstance(masks, list) else []
            else:
                masks = [value.get("segmentation")]
            areas: list[int | None] = []
            for spot, place in enumerate(places):
                areas.append(None)
                try:
                    mask = read_segmentation(masks[place] if place < len(masks) else None, *size)
                except (FlowCutError, ValueError, OverflowError, TypeError) as error:
                    lines.say(f"{what}, frame {place}: {error}")
                    continue
                if mask is not None:
                    areas[-1] = area_of(mask)
                    found[spot].append((label, mask))
            instances.append(self._instance(label, value, tuple(areas)))
        return tuple(paint(masks, size) for masks in found), tuple(instances)

    def _instance(self, label: int, value: dict[str, Any], areas: tuple[int | None, ...]) -> ClipInstance:
        category, score = value.get("category_id"), value.get("score")
        name = self.index.categories.get(category, f"category {category}") if isinstance(category, int | str) else ""
        return ClipInstance(
            label=label,
            id=printable(str(value.get("id")))[:40],
            category=printable(name)[:80],
            score=float(score) if type(score) in (int, float) else None,  # type: ignore[arg-type]
            areas=areas,
        )


def _size_of(item: Any, annotations: list[Any], lines: Lines) -> tuple[int, int] | None:
    """Return the (height, width) that a json states for a clip, by itself or by its first mask, if it is possible."""
    sizes = [(item.get("height"), item.get("width"))] if isinstance(item, dict) else []
    for value in annotations:
        masks = value.get("segmentations", [value.get("segmentation")])
        for mask in masks if isinstance(masks, list) else []:
            if (stated := stated_size(mask)) is not None:
                sizes.append(stated)
                break
    for height, width in sizes:
        if type(height) is int and type(width) is int and min(height, width) > 0:
            if height * width <= LARGEST_FRAME:
                return height, width
            lines.say(f"its size is {width}x{height}, too large to be shown")
    return None
