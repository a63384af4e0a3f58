"""One video from where it lies to its masks file: found whole already, or made, with what a person did carried over."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from flowcut_napari.core.decisions import describe_stale
from flowcut_napari.core.errors import DamagedFileError, InputError, OutputError
from flowcut_napari.core.pseudo_masks import FrameMasks
from flowcut_napari.core.rerun import carry_over
from flowcut_napari.core.run import Segmenter
from flowcut_napari.core.store import VideoMasks, load_masks, masks_basis, masks_path, save_masks, update_masks
from flowcut_napari.core.video import Video, VideoEntry


@dataclass(frozen=True)
class Made:
    """What `MasksJob.make` did; `was_there` if the file was whole already and nothing had to be done."""

    video: Video
    masks: VideoMasks
    seconds: float
    notes: tuple[str, ...] = ()
    was_there: bool = False


@dataclass(frozen=True)
class MasksJob:
    """What is to be done for each of several videos.

    Attributes
    ----------
    out : Path
        Folder of the masks files.
    frames : slice
        Of the frames that get masks.
    overwrite : bool
        Whether decisions and hand-made masks of an existing file are given up, and damaged files replaced.
    resume : bool
        Whether files that are whole and were made in the same way are left as they are.
    """

    out: Path
    frames: slice = field(default_factory=lambda: slice(None))
    overwrite: bool = False
    resume: bool = False

    def path(self, entry: VideoEntry) -> Path:
        """Return the masks file of a video."""
        return masks_path(self.out, entry.name)

    def make(
        self,
        segmenter: Segmenter,
        entry: VideoEntry,
        on_start: Callable[[Video, int], None] | None = None,
        on_frame: Callable[[FrameMasks], None] | None = None,
    ) -> Made:
        """Make the masks of a video and save them.

        Parameters
        ----------
        segmenter : Segmenter
        entry : VideoEntry
        on_start : callable, optional
            Called with the video and the number of frames, before the first is made.
        on_frame : callable, optional
            Called with every finished frame, in order.

        Raises
        ------
        FlowCutError
            If the video cannot be read, or its masks cannot be made or written.
        """
        started = time.perf_counter()
        path = self.path(entry)
        notes = []
        old, is_damaged = None, False
        try:
            old = self._existing(path)
        except DamagedFileError:
            if not self.resume:
                raise
            is_damaged = True
        video = entry.open()
        indices = choose_frames(self.frames, video)
        if self.resume and old is not None and _is_the_same(old, segmenter, video, indices):
            return Made(video, old, time.perf_counter() - started, was_there=True)
        if on_start:
            on_start(video, len(indices))
        new = segmenter.segment(video, indices, on_frame)
        if is_damaged:
            notes.append(_set_aside(path))
        if self.overwrite:
            masks = new
            save_masks(masks, path)
        else:
            # A person may have gone on deciding in the meantime.
            masks = update_masks(path, lambda there: carry_over(there, new) if there is not None else new)
        if masks.decisions.stale:
            notes.append(
                f"{path.name}: {describe_stale(masks.decisions.stale)} kept as stale, without effect: "
                "they belong to masks of other parameters or frames"
            )
        return Made(video, masks, time.perf_counter() - started, tuple(notes))

    def _existing(self, path: Path) -> VideoMasks | None:
        if self.overwrite or not path.exists():
            return None
        try:
            return load_masks(path)
        except InputError as error:
            raise type(error)(f"{error}; give another -o, or --overwrite to replace it") from None


def parse_frames(text: str | None) -> slice:
    """Turn ``START:STOP:STEP`` (or a single frame) into a slice; everything without a text.

    Raises
    ------
    InputError
        For anything else.
    """
    if text is None:
        return slice(None)
    parts = text.split(":")
    try:
        numbers = [int(part) if part.strip() else None for part in parts]
        if len(parts) == 1 and numbers[0] is not None:
            # -1 as a slice would end before it starts.
            return slice(numbers[0], None if numbers[0] == -1 else numbers[0] + 1)
        if len(parts) not in (2, 3) or (len(parts) == 3 and numbers[2] == 0):
            raise ValueError
    except ValueError:
        raise InputError(f"--frames {text}: give START:STOP:STEP, blanks allowed, such as 0::10") from None
    return slice(*numbers)


def choose_frames(chosen: slice, video: Video) -> list[int]:
    """Return the indices that a slice selects of a video, rising.

    Raises
    ------
    InputError
        If it selects nothing.
    """
    indices = sorted(range(len(video))[chosen])
    if not indices:
        text = ":".join("" if part is None else str(part) for part in (chosen.start, chosen.stop, chosen.step))
        raise InputError(f"--frames {text}: selects none of the {len(video)} frames of {video.name}")
    return indices


def _is_the_same(old: VideoMasks, segmenter: Segmenter, video: Video, indices: list[int]) -> bool:
    basis = masks_basis(video.fingerprint(), segmenter.plan.parameters, segmenter.plan.provenance())
    return old.basis == basis and [frame.index for frame in old.frames] == indices


def _set_aside(path: Path) -> str:
    """Rename a damaged file, so that it can be made anew and nothing that somebody did in it is gone."""
    names = (f"{path.name}.damaged{number or ''}" for number in itertools.count())
    aside = next(place for name in names if not (place := path.with_name(name)).exists())
    try:
        path.rename(aside)
    except OSError as error:
        raise OutputError(f"{path}: damaged, and cannot be moved aside ({error.strerror or error})") from None
    return f"{path.name}: was damaged; made anew, the old one is {aside.name}"
