"""Looking into a DAVIS root: ``JPEGImages/480p/SEQ`` and ``Annotations/480p/SEQ``, ours or any other."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from flowcut_napari.core.about import About
from flowcut_napari.core.clip_view import LARGEST_FRAME, ClipInstance, ClipView, Lines, that_fit
from flowcut_napari.core.dataset_scan import Progress
from flowcut_napari.core.dataset_view import Dataset, choose_root, frame_of
from flowcut_napari.core.errors import InputError, printable
from flowcut_napari.core.images import IMAGE_SUFFIXES, image_size, list_images, natural_key
from flowcut_napari.core.parameters import DatasetFormat
from flowcut_napari.core.scoring import VOID, read_annotation

_RESOLUTIONS = ("480p", "Full-Resolution", "1080p", "360p")
_TRIED = 8
# What Pillow raises where bytes are not what they should be.
_DAMAGE = (OSError, SyntaxError, ValueError, TypeError, IndexError, KeyError, EOFError, struct.error)


def open_davis(folder: Path, about: About | None, on_progress: Callable[[Progress], None]) -> DavisDataset:
    """Open a DAVIS root; each sequence is a clip.

    Raises
    ------
    InputError
        If it has no sequence.
    """
    labels = _resolution(folder / "Annotations")
    names: list[str] = []
    lengths: list[int] = []
    try:
        found = sorted((entry.name for entry in os.scandir(labels) if entry.is_dir()), key=natural_key)
        images = _resolution(folder / "JPEGImages", labels.name)
        for place, name in enumerate(found):
            if place % 16 == 0:
                on_progress(Progress(len(names), place / len(found)))
            # Of some only the first frame is annotated.
            length = len(_stems(labels / name) | _stems(images / name))
            if length:
                names.append(name)
                lengths.append(length)
    except OSError as error:
        raise InputError(f"{labels}: cannot be looked into ({error.strerror or error})") from None
    if not names:
        raise InputError(f"{labels}: no dataset (no folder with annotations in it)")
    on_progress(Progress(len(names), 1.0))
    return DavisDataset(
        path=folder,
        root=images if any((images / name).is_dir() for name in names[:_TRIED]) else None,
        about=about,
        names=[printable(name) for name in names],
        videos=np.arange(len(names), dtype=np.int32),
        lengths=np.array(lengths, dtype=np.int32),
        frames=sum(lengths),
        instances=about.counts.get("objects") if about else None,
        problems=(),
        labels=labels,
        folders=names,
    )


def _resolution(base: Path, name: str | None = None) -> Path:
    """Return the folder of sequences: that of one resolution, or where there is none the base itself."""
    for resolution in (name, *_RESOLUTIONS) if name in _RESOLUTIONS else _RESOLUTIONS:
        if resolution and (base / resolution).is_dir():
            return base / resolution
    return base


def _stems(folder: Path) -> set[str]:
    try:
        names = [os.path.splitext(name) for name in os.listdir(folder) if not name.startswith(".")]
    except (FileNotFoundError, NotADirectoryError):
        return set()
    return {stem for stem, suffix in names if suffix.lower() in IMAGE_SUFFIXES}


@dataclass(frozen=True)
class DavisDataset(Dataset):
    """A DAVIS root; `labels` is the folder of annotations of all sequences, `folders` are their names in it."""

    labels: Path
    folders: list[str]

    @property
    def format(self) -> DatasetFormat:
        """``davis``."""
        return "davis"

    def with_root(self, folder: Path) -> DavisDataset:
        """Return the same dataset with its frames in a folder: one of sequences, or a DAVIS root."""
        candidates = [folder, folder / "480p", _resolution(folder / "JPEGImages", self.labels.name), folder.parent]
        files = []
        for name in self.folders[:_TRIED]:
            stems = sorted(_by_stem(self.labels / name, Lines()), key=natural_key)
            files += [f"{name}/{stem}{suffix}" for stem in stems[:1] for suffix in (".jpg", ".png", ".jpeg")]
        return replace(self, root=choose_root(candidates, files))

    def read(self, number: int, places: Sequence[int]) -> ClipView:
        """Read some frames of a sequence with their masks."""
        name = self.folders[number]
        lines = Lines()
        masks = _by_stem(self.labels / name, lines)
        pictures = _by_stem(self.root / name, lines) if self.root is not None else {}
        stems = sorted({*masks, *pictures}, key=natural_key)
        chosen = tuple(place for place in places if 0 <= place < len(stems))
        some = next(
            (files[stems[place]] for files in (masks, pictures) for place in chosen if stems[place] in files), None
        )
        chosen = that_fit(chosen, _size_of(some), lines)
        labels = [self._labels(name, masks.get(stems[place]), lines) for place in chosen]
        size = next((picture.shape for picture in labels if picture is not None), None)
        frames = []
        for place in chosen:
            file = pictures.get(stems[place])
            if file is None and self.root is not None:
                lines.say(f"the frame {name}/{stems[place]} is not there")
            frames.append(None if file is None else frame_of(self.root, f"{name}/{file.name}", size, lines))
        if size is None:
            size = next((frame.shape[:2] for frame in frames if frame is not None), (1, 1))
        blank = sum(stems[place] not in masks for place in chosen)
        if blank:
            lines.say(f"{blank} of these frames have no annotation")
        full = []
        for place, picture in zip(chosen, labels, strict=True):
            if picture is not None and picture.shape != size:
                lines.say(f"the annotation {name}/{stems[place]} has another size than the first; it is not shown")
                picture = None
            full.append(np.zeros(size, np.uint8) if picture is None else picture)
        return ClipView(
            number=number,
            id="",
            video=printable(name),
            files=tuple(printable(f"{name}/{stem}") for stem in stems),
            places=chosen,
            frames=tuple(frames),
            labels=tuple(full),
            instances=_objects(full),
            problems=tuple(printable(line) for line in lines.all()),
        )

    def _labels(self, name: str, path: Path | None, lines: Lines) -> np.ndarray | None:
        if path is None:
            return None
        try:
            height, width = image_size(path)
            if height * width > LARGEST_FRAME:
                raise InputError(f"{path}: too large to be shown ({width}x{height})")
            picture = np.array(read_annotation(path), dtype=np.uint8)
        except _DAMAGE as error:
            why = str(error).replace(str(path), "", 1).removeprefix(": ")
            lines.say(f"the annotation {name}/{path.name}: {why}")
            return None
        picture[picture == VOID] = 0
        return picture


def _size_of(path: Path | None) -> tuple[int, int]:
    try:
        height, width = image_size(path) if path is not None else (1, 1)
    except _DAMAGE:  # it is said where it is read
        return 1, 1
    return height, width


def _by_stem(folder: Path, lines: Lines) -> dict[str, Path]:
    try:
        return {path.stem: path for path in list_images(folder)[0]}
    except (InputError, OSError) as error:
        lines.say(str(error))
        return {}


def _objects(labels: Sequence[np.ndarray]) -> tuple[ClipInstance, ...]:
    counts = [np.bincount(picture.ravel(), minlength=256) for picture in labels]
    total = np.sum(counts, axis=0) if counts else np.zeros(256)
    return tuple(
        ClipInstance(int(label), str(label), "", None, tuple(int(count[label]) or None for count in counts))
        for label in np.flatnonzero(total[1:]) + 1
    )
