"""What a window and the process that sweeps say to each other: frozen records, sent as they are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from flowcut_napari.core.grid import Grid
from flowcut_napari.core.sweep_cells import Cell
from flowcut_napari.core.video import VideoEntry
from flowcut_napari.live.messages import Machine


@dataclass(frozen=True)
class SweepJob:
    """A sweep over one video: what ``flowcut sweep`` does with these options.

    Attributes
    ----------
    entry : VideoEntry
    out : Path
        Folder for the tables and heat maps, and the cells that are known already.
    grid : Grid
    measure : str
    frames : slice
    ground_truth : Path or None
    only_annotated : bool
    machine : Machine
    workers : int
    """

    entry: VideoEntry
    out: Path
    grid: Grid
    measure: str
    frames: slice
    ground_truth: Path | None
    only_annotated: bool
    machine: Machine
    workers: int


@dataclass(frozen=True)
class SweepStarted:
    """The models are loaded; so many cuts are to be made, all settings of all frames, and so many are known."""

    total: int
    known: int


@dataclass(frozen=True)
class SweepStep:
    """So many more of them are done."""

    cuts: int


@dataclass(frozen=True)
class SweepCell:
    """A setting is measured, or, if it `is_whole` not, its first frames are."""

    cell: Cell
    is_whole: bool


@dataclass(frozen=True)
class SweepNote:
    """Something that a user should know."""

    text: str


@dataclass(frozen=True)
class SweepDone:
    """All settings are measured, and the tables and heat maps written."""

    seconds: float
