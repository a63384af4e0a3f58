"""What a check of a dataset found, and the state of one of its pictures."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from flowcut_napari.core.errors import InputError
from flowcut_napari.core.images import check_whole, image_size
from flowcut_napari.core.parameters import DatasetFormat

_SHOWN = 20


@dataclass
class DatasetCheck:
    """What was found: how much there is, and what is wrong with it.

    Attributes
    ----------
    format : str
        ``ytvis``, ``coco`` or ``davis``.
    clips, instances : int
        Videos, pictures or sequences, and the objects in them.
    problems : list of str
        The first of them, a line each.
    count : int
        All of them.
    """

    format: DatasetFormat = "ytvis"
    clips: int = 0
    instances: int = 0
    problems: list[str] = field(default_factory=list)
    count: int = 0

    def say(self, text: str) -> None:
        """Take down a problem."""
        self.count += 1
        if len(self.problems) < _SHOWN:
            self.problems.append(text)


def frame_state(path: Path, inside: str | None) -> tuple[tuple[int, int] | None, str | None]:
    """Return the size of a picture, and what is wrong with it; `inside` is the folder that it must not lead out of."""
    real = os.path.realpath(path)
    if inside is not None and not real.startswith(inside + os.sep):
        return None, "is a link out of the dataset folder"
    if not os.path.isfile(real):
        return None, "is not there"
    try:
        check_whole(path)
        return image_size(path), None
    except InputError as error:
        return None, f"cannot be read ({str(error).removeprefix(f'{path}: ')[:200]})"


def is_folder(path: Path) -> bool:
    """Whether there is a folder, also at what can be no path."""
    try:
        return path.is_dir()
    except (OSError, ValueError, RuntimeError):
        return False
