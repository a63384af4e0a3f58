"""What a window and the processes that export and count say to each other: frozen records, sent as they are."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from flowcut_napari.core.clips import Yield
from flowcut_napari.core.parameters import CurationParameters, DatasetFormat, FrameFilesMode


@dataclass(frozen=True)
class ExportJob:
    """A whole export: exactly what ``flowcut curate`` does with these options.

    Attributes
    ----------
    addresses : tuple of str
        Folders of masks, and masks files.
    out : Path
        Folder for the dataset.
    parameters : CurationParameters
    format, frame_files : str
        As in `ExportPlan`.
    videos : tuple of str
        Where videos are now that are not where their masks say.
    split : str
        ``NAME=SHARE,...``, or nothing.
    overwrite : bool
        Whether a dataset in the same place is replaced.
    """

    addresses: tuple[str, ...]
    out: Path
    parameters: CurationParameters
    format: DatasetFormat = "ytvis"
    frame_files: FrameFilesMode = "copy"
    videos: tuple[str, ...] = ()
    split: str = ""
    overwrite: bool = False

    def command(self) -> str:
        """Return the command line that writes the same, ready for a POSIX shell.

        Examples
        --------
        >>> ExportJob(("masks",), Path("my data"), CurationParameters(gaps=(1,)), "davis").command()
        "flowcut curate masks -o 'my data' --gaps 1 --format davis"
        """
        parameters = self.parameters
        defaults = CurationParameters()
        words = ["flowcut", "curate", *self.addresses, "-o", str(self.out)]
        if parameters.gaps != defaults.gaps:
            words += ["--gaps", ",".join(map(str, parameters.gaps))]
        if parameters.iou != defaults.iou:
            # As many digits as it has: the number stands in dataset.json.
            words += ["--iou", repr(parameters.iou)]
        if parameters.method != defaults.method:
            words += ["--method", parameters.method]
        if parameters.clip_length is not None:
            words += ["--clip-length", str(parameters.clip_length)]
        if parameters.only_accepted:
            words.append("--only-accepted")
        if self.format != "ytvis":
            words += ["--format", self.format]
        if self.frame_files != "copy":
            words += ["--frame-files", self.frame_files]
        for root in self.videos:
            words += ["--videos", root]
        if self.split:
            words += ["--split", self.split]
        if self.overwrite:
            words.append("--overwrite")
        return shlex.join(words)


@dataclass(frozen=True)
class ExportStep:
    """So many of the videos are done with, and so many frames of the next one are in their place."""

    done: int
    total: int
    video: str = ""
    frames: int = 0
    of_frames: int = 0


@dataclass(frozen=True)
class ExportDone:
    """The dataset is in its place.

    Attributes
    ----------
    path : Path
    parts : tuple of str
        Its splits, none if it is one dataset.
    videos : int
        Those with a clip.
    total : Yield
        Over all videos and gaps.
    empty : tuple of str
        Videos without a clip.
    failed : tuple of (str, str)
        Videos that were left out, with the reason.
    notes : tuple of str
    seconds : float
    """

    path: Path
    parts: tuple[str, ...]
    videos: int
    total: Yield
    empty: tuple[str, ...]
    failed: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    seconds: float


@dataclass(frozen=True)
class CountJob:
    """Masks to be counted, in the place of whatever was asked before; `number` rises with every question."""

    number: int
    addresses: tuple[str, ...]
    parameters: CurationParameters


@dataclass(frozen=True)
class Counts:
    """What a dataset of some videos would hold, as far as they are counted.

    Attributes
    ----------
    yields : mapping of int to Yield
        Over all videos, by gap.
    done, total : int
        Videos that are counted, and all.
    videos : int
        Those with a clip.
    empty : tuple of str
        The first of those without one.
    empties : int
        All of those.
    failed : tuple of (str, str)
        The first of those that cannot be used, with the reason.
    failures : int
        All of those.
    moved : tuple of (str, str)
        The first of those with a clip whose video is not where it was, with where that is.
    away : int
        All of those.
    """

    yields: Mapping[int, Yield] = field(default_factory=dict)
    done: int = 0
    total: int = 0
    videos: int = 0
    empty: tuple[str, ...] = ()
    empties: int = 0
    failed: tuple[tuple[str, str], ...] = ()
    failures: int = 0
    moved: tuple[tuple[str, str], ...] = ()
    away: int = 0

    @property
    def all_gaps(self) -> Yield:
        """The sum over all gaps."""
        total = Yield()
        for figures in self.yields.values():
            total.add(figures)
        return total


@dataclass(frozen=True)
class Counted:
    """The answer to a `CountJob` so far."""

    number: int
    counts: Counts
