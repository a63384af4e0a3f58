"""Where the frames of an evaluated video are, and the one that is worth a look."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path, PurePosixPath

from flowcut_napari.core.errors import InputError, printable
from flowcut_napari.core.evaluation_report import Report, VideoResult, WorstFrame
from flowcut_napari.core.frames import ImageSequence, Video
from flowcut_napari.core.video import VideoEntry, find_videos, frames_folder, is_inner_path

# From annotations up to a DAVIS root: its own, those of a resolution, all of them.
_UP = 4


class FramesNotFoundError(InputError):
    """The frames of a video are not where they are looked for; a user may know where they are."""


def davis_address(annotations: Path) -> str | None:
    """Return the address of the video whose annotations are in a folder, if that is in a DAVIS root with its frames."""
    with contextlib.suppress(OSError):
        for root in list(annotations.absolute().parents)[:_UP]:
            if (root / "JPEGImages").is_dir():
                return f"{root}::{annotations.name}"
    return None


def entry_of(report: Report, video: VideoResult, chosen: Sequence[Path] = ()) -> VideoEntry:
    """Return where a video is; nothing is looked for before it is opened.

    Parameters
    ----------
    report : Report
    video : VideoResult
        One of it.
    chosen : sequence of Path
        Folders where a user says that frames are; they come first.
    """
    opened = _open_ytvis if report.kind == "ytvis" else _open_davis
    place = video.address or str(video.folder or report.ground_truth)
    name = video.address.rpartition("::")[2] if video.address else video.name
    return VideoEntry(name, place, partial(opened, report.ground_truth, video, tuple(chosen)))


def _open_ytvis(ground_truth: Path, video: VideoResult, chosen: Sequence[Path]) -> Video:
    # What somebody else wrote may lead anywhere.
    if not video.files or not all(len(file) <= 1000 and is_inner_path(file) for file in video.files):
        raise InputError(f"{printable(video.name)}: the ground truth names no frames of it that could be opened")
    name = video.address.rpartition("::")[2] if video.address else video.name
    folder = _chosen_folder(chosen, video.files[0])
    if folder is None:
        try:
            folder = frames_folder(ground_truth, video.files[0])
        except InputError:
            raise FramesNotFoundError(f"{video.name}: its frames are not beside {ground_truth}") from None
    # As `find_videos` opens it, which would read all of the json for this.
    return ImageSequence(name, ground_truth, [folder / file for file in video.files], root=folder)


def _chosen_folder(chosen: Sequence[Path], first: str) -> Path | None:
    for folder in chosen:
        for candidate in (folder, folder / "JPEGImages", folder / "frames", folder.parent):
            with contextlib.suppress(OSError):
                if (candidate / first).is_file():
                    return candidate
    return None


def _open_davis(ground_truth: Path, video: VideoResult, chosen: Sequence[Path]) -> Video:
    for folder in chosen:
        addresses = [f"{folder}::{video.name}", str(folder / "480p" / video.name), str(folder / video.name)]
        addresses += [str(folder)] if folder.name == video.name else []
        for address in addresses:
            with contextlib.suppress(InputError):
                return find_videos(address)[0].open()
    if video.address is None:
        raise FramesNotFoundError(f"{video.name}: its frames are not beside {ground_truth}")
    try:
        entries = find_videos(video.address)
    except InputError as error:
        raise FramesNotFoundError(str(error)) from None
    return entries[0].open()


def place_of(video: Video, worst: WorstFrame | None, frames: int) -> int | None:
    """Return where a frame is in a video that was opened: by the name of its file, or where it must be.

    Parameters
    ----------
    video : Video
    worst : WorstFrame or None
    frames : int
        As many as the evaluation knew.

    Returns
    -------
    int or None
        None if the video has no such frame.
    """
    if worst is None:
        return None
    wanted = PurePosixPath(worst.file).stem
    names = frame_names(video)
    if wanted in names:
        # Frames of several folders may share names; then it is where it was.
        at_once = worst.place < len(names) and names[worst.place] == wanted
        return worst.place if at_once else names.index(wanted)
    return worst.place if len(video) == frames else None


def frame_names(video: Video) -> list[str]:
    """Return what the frames of a video are called, without suffixes; their places where they are no files."""
    paths = (video.frame_path(place) for place in range(len(video)))
    return [str(place) if path is None else path.stem for place, path in enumerate(paths)]
