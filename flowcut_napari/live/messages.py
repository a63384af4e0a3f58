"""What a window and its computing processes say to each other: frozen records, sent as they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from flowcut_napari.core.masks import Rle
from flowcut_napari.core.ncut import IterativeCut
from flowcut_napari.core.parameters import CutParameters
from flowcut_napari.core.probe import AffinityRow
from flowcut_napari.core.pseudo_masks import FrameMasks
from flowcut_napari.core.video import Video, VideoEntry


@dataclass(frozen=True)
class Machine:
    """Where models run, where their weights are, and where what they computed is kept."""

    device: str = "auto"
    weights: Mapping[str, Path] = field(default_factory=dict)
    cache_limit_gb: float = 20.0


# To the cutter.


@dataclass(frozen=True)
class Open:
    """The video and the machine that all later questions are about."""

    video: Video
    machine: Machine


@dataclass(frozen=True)
class Look:
    """The one frame that is looked at now; it takes the place of whatever was asked before.

    `number` rises with every question. `near` are frames to describe ahead, the most wanted first. With `ahead_only`
    everything of the frame itself is known already.
    `wants_flow` says that its flow picture is not.
    """

    number: int
    frame: int
    parameters: CutParameters
    near: tuple[int, ...] = ()
    ahead_only: bool = False
    wants_flow: bool = True


@dataclass(frozen=True)
class Probe:
    """A patch (row, col) whose affinity to all others is asked for, with the parameters of the last `Look`."""

    number: int
    frame: int
    patch: tuple[int, int]
    parameters: CutParameters


@dataclass(frozen=True)
class RefineMask:
    """A mask that a person made, to be refined by the CRF; `parameters` give the working size."""

    number: int
    frame: int
    segmentation: Rle
    parameters: CutParameters


# From the cutter.


@dataclass(frozen=True)
class MaskRefined:
    """The answer to a `RefineMask`; None where there is none, for a `reason`, one line."""

    number: int
    frame: int
    segmentation: Rle | None
    reason: str = ""


@dataclass(frozen=True)
class Described:
    """What was found out about a frame before any cut; `flow_picture` (h, w, 3) uint8, None where no flow is used."""

    number: int
    frame: int
    parameters: CutParameters
    grid: tuple[int, int]
    partner: int | None
    flow_picture: np.ndarray | None


@dataclass(frozen=True)
class CutsMade:
    """The cuts of a frame, before any refinement."""

    number: int
    frame: int
    parameters: CutParameters
    result: IterativeCut
    milliseconds: float


@dataclass(frozen=True)
class Refined:
    """The masks of a frame: the same that a whole run makes."""

    number: int
    frame: int
    parameters: CutParameters
    masks: FrameMasks
    milliseconds: float


@dataclass(frozen=True)
class Probed:
    """The answer to a `Probe`."""

    number: int
    frame: int
    parameters: CutParameters
    row: AffinityRow


@dataclass(frozen=True)
class Failed:
    """A question that has no answer; `missing` names weights that are nowhere to be found."""

    number: int
    text: str
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class Devices:
    """The GPUs of this machine: their names for torch, and what each is."""

    found: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Remark:
    """Something that a user should know, once."""

    text: str


# To and from the run over a whole video.


@dataclass(frozen=True)
class RunJob:
    """A whole run: exactly what ``flowcut masks`` does with one video."""

    entry: VideoEntry
    out: Path
    parameters: CutParameters
    frames: slice
    machine: Machine
    workers: int


@dataclass(frozen=True)
class RunStarted:
    """The models are there; so many frames are to be made."""

    frames: int
    notes: tuple[str, ...]


@dataclass(frozen=True)
class FrameDone:
    """One more frame, without the grids of its cuts."""

    masks: FrameMasks


@dataclass(frozen=True)
class RunDone:
    """The masks are written to `path`."""

    path: Path
    notes: tuple[str, ...]
    seconds: float
