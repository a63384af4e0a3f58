"""The check of a dataset in the form of DAVIS: folders of frames and of palette PNGs."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from flowcut_napari.core.about import About
from flowcut_napari.core.dataset_state import DatasetCheck, frame_state, is_folder
from flowcut_napari.core.errors import InputError
from flowcut_napari.core.images import list_images
from flowcut_napari.core.video import is_inner_path


def check_davis(folder: Path, about: About, check: DatasetCheck, tick: Callable[[], None]) -> None:
    """Check the sequences of a dataset, and call `tick` for each."""
    listed = folder / "ImageSets" / "2017" / "train.txt"
    try:
        if not listed.is_file():
            raise InputError("not there")
        names = listed.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise InputError(f"{listed}: the list of sequences cannot be read ({error})") from None
    inside = os.path.realpath(folder)
    for name in names:
        check.clips += 1
        tick()
        labels, frames = (folder / part / "480p" / name for part in ("Annotations", "JPEGImages"))
        if not is_inner_path(name) or not is_folder(labels):
            check.say(f"sequence {name[:80]}: has no annotations")
            continue
        check.instances += _check_sequence(name, labels, frames, about, check, inside)


def _check_sequence(name: str, labels: Path, frames: Path, about: About, check: DatasetCheck, inside: str) -> int:
    """Check a DAVIS sequence and return the number of its objects."""
    pictures = {path.stem: path for path in _images(labels, check)}
    sizes = set()
    objects: set[int] = set()
    for path in pictures.values():
        size, problem = frame_state(path, inside)
        if problem is None and size is not None:
            with Image.open(path) as image:
                problem = None if image.mode == "P" else "is no palette picture"
                found = set(np.unique(np.asarray(image)).tolist()) if image.mode == "P" else set()
            sizes.add(size)
            objects |= found
        if problem:
            check.say(f"{name}/{path.name}: {problem}")
    if len(sizes) > 1:
        check.say(f"sequence {name}: its annotations differ in size")
    if about.frame_files != "none":
        stems = {path.stem: path for path in _images(frames, check)} if is_folder(frames) else {}
        if set(stems) != set(pictures):
            check.say(f"sequence {name}: frames and annotations are not the same")
        for path in stems.values():
            size, problem = frame_state(path, None if about.frame_files == "reference" else inside)
            if problem:
                check.say(f"{name}/{path.name}: {problem}")
            elif size not in sizes:
                check.say(f"{name}/{path.name}: has another size than its annotation")
    return len(objects - {0, 255})


def _images(folder: Path, check: DatasetCheck) -> list[Path]:
    try:
        return list_images(folder)[0]
    except (InputError, OSError) as error:
        check.say(str(error))
        return []
