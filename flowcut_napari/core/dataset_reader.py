"""Looking into datasets: YouTube-VIS and COCO json and DAVIS folders, ours and others', clip by clip.

Reading is forgiving, so that a damaged dataset can be looked at; `dataset_check` is strict.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from flowcut_napari.core.about import ABOUT, About, read_about
from flowcut_napari.core.dataset_scan import Progress
from flowcut_napari.core.dataset_view import Dataset
from flowcut_napari.core.davis_reader import open_davis
from flowcut_napari.core.errors import InputError
from flowcut_napari.core.formats.ytvis import ANNOTATIONS
from flowcut_napari.core.json_reader import open_json
from flowcut_napari.core.parameters import DatasetFormat

# What the json of a dataset is called: ours, and those of YouTube-VIS and OVIS.
JSON_NAMES = (ANNOTATIONS, "train.json", "instances.json", "valid.json", "test.json")
# What a clip is called in each format.
CLIP_WORDS: dict[DatasetFormat, str] = {"ytvis": "clip", "coco": "picture", "davis": "sequence"}


def open_dataset(path: Path, on_progress: Callable[[Progress], None] | None = None) -> Dataset:
    """Open a dataset.

    Parameters
    ----------
    path : Path
        A folder that `flowcut curate` wrote, a DAVIS root, a YouTube-VIS or COCO json, or a folder with one of usual
        name in it.
    on_progress : callable, optional
        Called now and then; what it raises ends the opening.

    Raises
    ------
    InputError
        If there is none, or its file cannot be read.
    """
    tell = on_progress or (lambda progress: None)
    try:
        is_there = path.exists()
    except (OSError, ValueError):
        is_there = False  # what can be no path
    if not is_there:
        raise InputError(f"{str(path)[:200]}: no such file or folder")
    if path.name == ABOUT:
        path = path.parent
    if path.is_dir():
        return _open_folder(path, tell)
    if path.suffix.lower() != ".json" or not path.is_file():
        raise InputError(f"{path}: no dataset; expected a folder or a .json file")
    if path.name != ANNOTATIONS:
        return open_json(path, None, tell)
    about, problem = _about(path.parent)
    return _noted(open_json(path, about, tell), problem)


def _open_folder(folder: Path, tell: Callable[[Progress], None]) -> Dataset:
    about, problem = _about(folder)
    is_davis = (folder / "Annotations").is_dir()
    if about is None or about.format != "davis":
        for name in JSON_NAMES:
            if (folder / name).is_file():
                return _noted(open_json(folder / name, about, tell), problem)
    if is_davis:
        return _noted(open_davis(folder, about, tell), problem)
    if problem:  # it may say where to look
        raise InputError(problem)
    raise InputError(f"{folder}: no dataset here (no {' or '.join(JSON_NAMES)}, and no folder Annotations)")


def _about(folder: Path) -> tuple[About | None, str]:
    """Return what a dataset says of itself, or why that cannot be read: others may have a file of this name."""
    try:
        return read_about(folder), ""
    except InputError as error:
        return None, str(error)


def _noted(dataset: Dataset, problem: str) -> Dataset:
    return replace(dataset, problems=(*dataset.problems, problem)) if problem else dataset


def figures_of(dataset: Dataset) -> str:
    """Say in a line how much there is.

    For example ``1 video · 86 clips of 2 frames · 24 frames · 240 instances``.
    """
    clips, lengths = len(dataset), dataset.lengths
    shortest, longest = int(lengths.min()), int(lengths.max())
    text = _count(clips, CLIP_WORDS[dataset.format])
    if dataset.format != "coco":
        text += f" of {_count(longest, 'frame') if shortest == longest else f'{shortest} to {longest} frames'}"
    parts = [text]
    if dataset.frames != clips * shortest or (clips > 1 and longest > 1):
        parts.append(_count(dataset.frames, "frame"))
    if len(dataset.names) != clips:
        parts.insert(0, _count(len(dataset.names), "video"))
    if dataset.instances is not None:
        parts.append(_count(dataset.instances, "instance"))
    return " · ".join(parts)


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"
