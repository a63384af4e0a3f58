"""A dataset that is looked at clip by clip, whatever its form."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from flowcut_napari.core.about import About
from flowcut_napari.core.clip_view import ClipView, Lines, read_frame
from flowcut_napari.core.errors import InputError
from flowcut_napari.core.parameters import DatasetFormat
from flowcut_napari.core.video import is_inner_path


@dataclass(frozen=True)
class Dataset(ABC):
    """A dataset that is looked at.

    Attributes
    ----------
    path : Path
        The json, or the folder.
    root : Path or None
        The folder that names of frames start from; None while nobody knows it.
    about : About or None
        What a dataset of ours says of itself.
    names : list of str
        Of the videos, each once.
    videos : ndarray
        (clips,) int32, which of `names` is that of each clip.
    lengths : ndarray
        (clips,) int32, frames of each clip.
    frames : int
        Different frames of all clips.
    instances : int or None
        All instances of all clips; None where that would take reading all masks.
    problems : tuple of str
        What of the whole cannot be shown, a line each.
    """

    path: Path
    root: Path | None
    about: About | None
    names: list[str]
    videos: np.ndarray
    lengths: np.ndarray
    frames: int
    instances: int | None
    problems: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    @abstractmethod
    def format(self) -> DatasetFormat:
        """``ytvis``, ``coco`` or ``davis``."""

    @abstractmethod
    def read(self, number: int, places: Sequence[int]) -> ClipView:
        """Read some frames of a clip with their masks; what cannot be read is said in the view.

        Raises
        ------
        InputError
            If the dataset itself can no longer be read.
        """

    @abstractmethod
    def with_root(self, folder: Path) -> Dataset:
        """Return the same dataset with its frames in another folder.

        Raises
        ------
        InputError
            If none of some frames is there.
        """

    @cached_property
    def _folded(self) -> list[str]:
        return [name.casefold() for name in self.names]

    def find(self, text: str) -> np.ndarray:
        """Return the numbers of the clips whose video has `text` in its name, capitals or not; all for none."""
        wanted = text.strip().casefold()
        if not wanted:
            return np.arange(len(self))
        found = np.array([wanted in name for name in self._folded], dtype=bool)
        return np.flatnonzero(found[self.videos])


def choose_root(candidates: Sequence[Path], files: Sequence[str]) -> Path:
    """Return the first of some folders that one of the files is in.

    Raises
    ------
    InputError
        If there is none.
    """
    for folder in candidates:
        if any(is_file(folder / file) for file in files):
            return folder
    looked = f"such as {files[0]}" if files else "and the dataset names none"
    raise InputError(f"{candidates[0]}: no frame of this dataset is there, {looked}")


def frame_of(root: Path | None, file: Any, size: tuple[int, int] | None, lines: Lines) -> np.ndarray | None:
    """Read a frame that a dataset names, or say why it cannot be shown."""
    if not isinstance(file, str) or len(file) > 1000 or not is_inner_path(file):
        lines.say(f"the frame {repr(file)[:80]} has no name inside the dataset; it is not read")
        return None
    if root is None:
        return None  # said once, with a button
    path = root / file
    if not is_file(path):
        lines.say(f"the frame {file} is not there")
        return None
    try:
        frame, word = read_frame(path, size)
    except InputError as error:
        lines.say(str(error).replace(str(path), f"the frame {file}", 1))
        return None
    if word:
        lines.say(f"the frame {file} {word}")
    return frame


def is_file(path: Path) -> bool:
    """Whether there is a file, also at what can be no path."""
    try:
        return path.is_file()
    except (OSError, ValueError):  # too long, or what can be no path
        return False
