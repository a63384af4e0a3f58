"""What the Export tab is set to, and how its words become options of ``flowcut curate`` and back."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from flowcut_napari.core.about import is_replaceable
from flowcut_napari.core.cache import expand_home
from flowcut_napari.core.errors import FlowCutError, InputError
from flowcut_napari.core.parameters import CurationParameters, DatasetFormat, FrameFilesMode
from flowcut_napari.core.sources import parse_split
from flowcut_napari.core.store import SUFFIX
from flowcut_napari.live.export_messages import ExportJob

Source = Literal["video", "folder", "chosen"]
ClipLength = int | Literal["all"] | None
# What is at the place of a dataset to be: nothing, a dataset of ours, or something that is not to be touched.
Place = Literal["free", "ours", "taken"]


@dataclass(frozen=True)
class ExportSettings:
    """All that is not shared with the curation of the video.

    Attributes
    ----------
    source : str
        The masks of this ``video``, of all in its ``folder``, or of those that are ``chosen``.
    chosen : tuple of str
        Folders of masks and masks files.
    format, frame_files, clip_length, only_accepted
        As in `ExportPlan` and `CurationParameters`.
    out : str
        Folder for the dataset; the one that is suggested if it is empty.
    overwrite : bool
        Whether a dataset that is there is replaced.
    videos : str
        Where videos are now that have moved; may be empty.
    split : str
        ``NAME=SHARE,...``, or nothing.
    """

    source: Source = "video"
    chosen: tuple[str, ...] = ()
    format: DatasetFormat = "ytvis"
    frame_files: FrameFilesMode = "copy"
    clip_length: ClipLength = None
    only_accepted: bool = False
    out: str = ""
    overwrite: bool = False
    videos: str = ""
    split: str = ""

    def addresses(self, masks_file: Path | None) -> tuple[str, ...]:
        """Return what is exported, beginning from the file of the masks that are open.

        Raises
        ------
        InputError
            If nothing is.
        """
        if self.source == "chosen":
            if not self.chosen:
                raise InputError("choose a folder of masks, or masks files")
            return tuple(os.path.abspath(expand_home(address)) for address in self.chosen)
        if masks_file is None:
            raise InputError("no masks are open; open a masks file, make masks in the Run tab, or choose a folder")
        file = os.path.abspath(masks_file)
        return (file,) if self.source == "video" else (os.path.dirname(file),)

    def job(self, masks_file: Path | None, parameters: CurationParameters) -> ExportJob:
        """Return the export that is set.

        Raises
        ------
        FlowCutError
            If something is missing, or cannot be.
        """
        addresses = self.addresses(masks_file)
        if split := re.sub(r"\s+", "", self.split):
            parse_split(split)
        return ExportJob(
            addresses,
            self.folder(masks_file),
            parameters.model_copy(update={"clip_length": self.clip_length, "only_accepted": self.only_accepted}),
            self.format,
            self.frame_files,
            (os.path.abspath(expand_home(self.videos)),) if self.videos else (),
            split,
            self.overwrite,
        )

    def folder(self, masks_file: Path | None) -> Path:
        """Return the folder for the dataset: the chosen one, else `suggested_out`.

        Raises
        ------
        FlowCutError
            If there is nothing to suggest it from.
        """
        if self.out:
            return Path(os.path.abspath(expand_home(self.out)))
        return suggested_out(Path(self.addresses(masks_file)[0]))


def suggested_out(address: Path) -> Path:
    """Return where a dataset of some masks goes if nothing is chosen: beside the folder of the masks.

    Examples
    --------
    >>> suggested_out(Path("/videos/masks/toys.masks.json")).as_posix()
    '/videos/dataset'
    """
    folder = address.parent if address.name.endswith(SUFFIX) else address
    return folder.parent / "dataset"


def look_at(folder: Path) -> Place:
    """Return what is at the place of a dataset to be."""
    try:
        if folder.is_dir() and not folder.is_symlink():
            return "free" if not any(folder.iterdir()) else "ours" if is_replaceable(folder) else "taken"
        return "taken" if os.path.lexists(folder) else "free"
    except (OSError, ValueError):  # not ours to look into, or no path that could be
        return "taken"


def parse_gaps(text: str) -> tuple[int, ...]:
    """Turn ``1, 2, 4`` into numbers.

    Raises
    ------
    InputError
        For anything else.
    """
    words = re.split(r"[,;\s]+", text.strip(" \t,;"))
    if not all(re.fullmatch(r"[0-9]{1,9}", word) for word in words):
        raise InputError(f"gaps {text[:40]!r}: give whole numbers of frames, such as 1, 2, 3, 4")
    return tuple(map(int, words))


def parse_clip_length(text: str) -> ClipLength:
    """Turn ``5``, ``all`` or ``auto (2)`` into a clip length.

    Raises
    ------
    InputError
        For anything else.
    """
    word = text.strip().lower()
    if word.startswith("auto") or not word:
        return None
    if word == "all":
        return "all"
    if not re.fullmatch(r"[0-9]{1,9}", word):
        raise InputError(f"clip length {text[:40]!r}: give a whole number of frames, all, or auto")
    return int(word)


_WORDS = (
    ("give another -o, or --overwrite to replace it", "choose another folder, or tick Replace"),
    ("give another -o", "choose another folder"),
    ("give a new one with -o", "choose a new one"),
    ("cannot be replaced while you are in it", "cannot be replaced while the program runs in it"),
    (
        "give --videos with where it is now, or --frame-files none for annotations alone",
        "say in Videos at where it is now, or choose no frame files",
    ),
    ("use --frame-files copy", "copy the frames"),
    ("try a lower --iou or smaller --gaps", "try a lower Min. IoU or smaller gaps"),
    ("or leave --only-accepted away", "or take Only accepted off"),
    ("--videos: ", "Videos at: "),
    ("--split ", "Split "),
)


def window_words(text: str) -> str:
    """Return what the command line would say in the words of the Export tab.

    Examples
    --------
    >>> window_words("dataset: is in the way; give another -o")
    'dataset: is in the way; choose another folder'
    """
    for said, shown in _WORDS:
        text = text.replace(said, shown)
    return text


def why_not(error: FlowCutError) -> str:
    """Return an error in the words of the tab."""
    return window_words(str(error))
