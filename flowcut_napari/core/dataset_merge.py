"""Several datasets made one: ids anew, frames side by side, the story of each kept."""

from __future__ import annotations

import json
import os
import shutil
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import flowcut_napari
from flowcut_napari.core.about import (
    ABOUT,
    WRITTEN,
    About,
    YieldFigures,
    compact,
    is_replaceable,
    read_about,
    read_videos,
)
from flowcut_napari.core.clips import Yield
from flowcut_napari.core.dataset_check import check_dataset
from flowcut_napari.core.dataset_state import is_folder
from flowcut_napari.core.errors import FlowCutError, InputError, OutputError
from flowcut_napari.core.files import made_whole
from flowcut_napari.core.formats.spool import Spool, write_document
from flowcut_napari.core.formats.ytvis import ANNOTATIONS, CATEGORIES, write_annotations
from flowcut_napari.core.frame_files import place_file, spare
from flowcut_napari.core.images import natural_key
from flowcut_napari.core.json_stream import read_items
from flowcut_napari.core.parameters import DatasetFormat, FrameFilesMode


def merge_datasets(
    sources: Sequence[Path],
    folder: Path,
    *,
    frame_files: FrameFilesMode = "copy",
    overwrite: bool = False,
) -> dict[str, int]:
    """Merge datasets of one format that have no video in common; return the counts of the new one.

    Raises
    ------
    InputError
        If there are fewer than two, one is no valid dataset of ours, formats differ, or two have a video in common.
    OutputError
        If it cannot be written; nothing half-written is left.
    """
    places = {os.path.realpath(source) for source in sources}
    if len(places) < max(2, len(sources)):
        raise InputError("merging takes two datasets or more, each once")
    for source in sources:
        spare([source], folder)
    heads = [_checked(source) for source in sources]
    form = heads[0].format
    for source, head in zip(sources, heads, strict=True):
        if head.format != form:
            raise InputError(f"{source}: is of the format {head.format}, {sources[0]} of {form}; export both alike")
        if head.frame_files == "none" and frame_files != "none":
            raise InputError(f"{source}: has no frames; merge with --frame-files none, or export it with frames")
    with made_whole(folder, is_replaceable, overwrite) as part:
        merge = _Merge(part, folder, form, frame_files)
        try:
            for source, head in zip(sources, heads, strict=True):
                merge.add(source, head)
            return merge.finish(heads)
        except OSError as error:
            if isinstance(error, FlowCutError):
                raise
            raise OutputError(f"{folder}: cannot be written ({error.strerror or error})") from None
        finally:
            merge.close()


def _checked(source: Path) -> About:
    head = read_about(source) if is_folder(source) else None
    if head is None:
        raise InputError(f"{source}: no dataset of flowcut curate (it has no {ABOUT})")
    check = check_dataset(source)
    if check.count:
        raise InputError(f"{source}: not valid, {check.count} problem(s), the first: {check.problems[0]}")
    return head


_CATEGORY = json.loads(CATEGORIES)[0]


class _Merge:
    def __init__(self, part: Path, replaced: Path, form: DatasetFormat, mode: FrameFilesMode) -> None:
        self.part = part
        self.replaced = replaced
        self.form = form
        self.mode = mode
        self.items = Spool(part / ".items")
        self.annotations = Spool(part / ".annotations")
        self.videos = Spool(part / ".about")
        self.names: dict[str, Path] = {}
        self.sequences: list[str] = []
        self.stage1 = 0
        self.stage2 = 0

    def add(self, source: Path, head: About) -> None:
        for video in read_videos(source, head):
            other = self.names.setdefault(unicodedata.normalize("NFC", video.name).casefold(), source)
            if other is not source:
                raise InputError(f"{other} and {source} both have the video {video.name}; leave one out")
            places = {"stage1": video.stage1 + self.stage1, "stage2": video.stage2 + self.stage2}
            moved = video.model_copy(update=places)
            self.videos.add(compact(moved.model_dump(mode="json", by_alias=True)))
        self.stage1 += len(head.stage1)
        self.stage2 += len(head.stage2)
        if self.form == "davis":
            self._add_sequences(source)
        else:
            self._add_json(source)

    def _add_json(self, source: Path) -> None:
        items_name, reference = ("videos", "video_id") if self.form == "ytvis" else ("images", "image_id")
        numbers: dict[int, int] = {}
        files: set[str] = set()
        for name, item in read_items(source / ANNOTATIONS):
            if name == items_name:
                numbers[item["id"]] = self.items.count + 1
                self.items.add(compact({**item, "id": self.items.count + 1}))
                files.update(item["file_names"] if self.form == "ytvis" else [item["file_name"]])
            elif name == "categories" and item != _CATEGORY:
                raise InputError(
                    f"{source}: has the category {str(item)[:60]}; only datasets of flowcut curate are merged"
                )
            elif name == "annotations":
                number = {"id": self.annotations.count + 1, reference: numbers[item[reference]]}
                self.annotations.add(compact({**item, **number}))
        self._place(source, [PurePosixPath("frames", file) for file in sorted(files)])

    def _add_sequences(self, source: Path) -> None:
        names = (source / "ImageSets" / "2017" / "train.txt").read_text(encoding="utf-8").split()
        for name in names:
            if name in self.sequences:
                raise InputError(f"{source}: another dataset has a sequence {name} too; rename its video")
            shutil.copytree(source / "Annotations" / "480p" / name, self.part / "Annotations" / "480p" / name)
            folder = source / "JPEGImages" / "480p" / name
            if folder.is_dir():
                self._place(
                    source, [PurePosixPath(file.relative_to(source).as_posix()) for file in sorted(folder.iterdir())]
                )
        self.sequences += names

    def _place(self, source: Path, files: Sequence[PurePosixPath]) -> None:
        if self.mode == "none":
            return
        for folder in {file.parent for file in files}:
            (self.part / folder).mkdir(parents=True, exist_ok=True)
        spare({Path(os.path.realpath(source / file)).parent for file in files}, self.replaced)
        for file in files:
            place_file(source / file, self.part / file, self.mode)

    def finish(self, heads: Sequence[About]) -> dict[str, int]:
        if self.form == "davis":
            listed = self.part / "ImageSets" / "2017" / "train.txt"
            listed.parent.mkdir(parents=True)
            listed.write_text("".join(f"{name}\n" for name in self.sequences), encoding="utf-8")
        else:
            name = "videos" if self.form == "ytvis" else "images"
            write_annotations(self.part, name, self.items, self.annotations)
        counts: Counter[str] = Counter()
        for head in heads:
            counts.update(head.counts)
        about = heads[0].model_copy(
            update={
                "frame_files": self.mode,
                "provenance": {"flowcut_napari": flowcut_napari.__version__},
                "counts": dict(counts),
                "parameters": heads[0].parameters
                if all(head.parameters == heads[0].parameters for head in heads)
                else None,
                "stage2": [item for head in heads for item in head.stage2],
                "yield_": _sum([head.yield_ for head in heads]),
                "failed": [name for head in heads for name in head.failed],
                "stage1": [item for head in heads for item in head.stage1],
            }
        )
        write_document(self.part / ABOUT, {**about.to_parts(), "videos": self.videos})
        return {name: counts[name] for name in ("videos", *WRITTEN[self.form])}

    def close(self) -> None:
        for spool in (self.items, self.annotations, self.videos):
            spool.close()
            spool.path.unlink(missing_ok=True)


def _sum(yields: Sequence[dict[str, YieldFigures]]) -> dict[str, YieldFigures]:
    """Add up the figures of datasets, by gap."""
    total: dict[str, Yield] = {}
    for figures in yields:
        for gap, item in figures.items():
            dropped = {name: Counter(getattr(item, name)) for name in ("dropped_clips", "dropped_masks")}
            total.setdefault(gap, Yield()).add(
                Yield(item.candidates, item.clips, item.instances, item.masks, **dropped)
            )
    return {gap: YieldFigures(**total[gap].to_json()) for gap in sorted(total, key=natural_key)}
