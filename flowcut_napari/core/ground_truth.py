"""Ground truth for videos by their name: a DAVIS root, a folder of sequences of PNG, or a YouTube-VIS json."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache, partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from flowcut_napari.core.annotations import VOID, is_black_and_white, read_annotation, read_annotations
from flowcut_napari.core.boundaries import Contour, mask_contour
from flowcut_napari.core.errors import InputError
from flowcut_napari.core.frames import safe_name
from flowcut_napari.core.images import natural_key
from flowcut_napari.core.pseudo_masks import FrameMasks
from flowcut_napari.core.segmentations import Packed, read_segmentation, unpack
from flowcut_napari.core.store import VideoRecord
from flowcut_napari.core.video import ytvis_videos

# In a DAVIS root; the annotations of the unsupervised task come first.
_DAVIS = ("Annotations_unsupervised/480p", "Annotations/480p", "Annotations")


@dataclass(frozen=True)
class FrameTruth:
    """What is to be found in one frame.

    Attributes
    ----------
    objects : dict of int to (H, W) bool
        The objects that can be seen, by their number; of YouTube-VIS they may overlap.
    void : (H, W) bool
        Pixels that count for nothing: 255 of DAVIS, crowds of YouTube-VIS.
    """

    objects: Mapping[int, np.ndarray]
    void: np.ndarray

    # What does not depend on the masks is made once: a sweep asks for it again and again.
    @cached_property
    def seen(self) -> dict[int, np.ndarray]:
        """The objects without what lies in void; those that lie in it altogether are left out."""
        parts = {number: mask & ~self.void for number, mask in self.objects.items()}
        return {number: mask for number, mask in parts.items() if mask.any()}

    @cached_property
    def foreground(self) -> np.ndarray:
        """The union of all objects without void, (H, W) bool."""
        union = np.zeros(self.void.shape, dtype=bool)
        for mask in self.seen.values():
            union |= mask
        return union

    @cached_property
    def foreground_contour(self) -> Contour | None:
        """The boundary of the foreground."""
        return mask_contour(self.foreground)

    @cached_property
    def contours(self) -> dict[int, Contour | None]:
        """The boundaries of the objects in `seen`."""
        return {number: mask_contour(mask) for number, mask in self.seen.items()}

    @classmethod
    def of_labels(cls, labels: np.ndarray) -> FrameTruth:
        """Take apart an annotation (H, W) uint8 as DAVIS has it."""
        numbers = np.flatnonzero(np.bincount(labels.ravel(), minlength=VOID + 1)).tolist()
        return cls({number: labels == number for number in numbers if 0 < number < VOID}, labels == VOID)


@dataclass(frozen=True)
class VideoTruth:
    """The ground truth of one video.

    Attributes
    ----------
    place : str
        Where it lies, for messages.
    frames : tuple of str
        Names of the annotated frames without suffix, in order.
    read : callable
        Reads the frame at a place in `frames`; it can be sent to another process.
    files : tuple of Path
        What it is read from.
    """

    place: str
    frames: tuple[str, ...]
    read: Callable[[int], FrameTruth]
    files: tuple[Path, ...]
    _places: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_places", {name: place for place, name in enumerate(self.frames)})

    def places(
        self, video: VideoRecord, files: Mapping[int, str], indices: Iterator[int] | list[int], *, only_annotated: bool
    ) -> dict[int, int]:
        """Return for frames of a video the place of their annotation.

        A frame is found by the name of its file; those of a video file, which have none, by their place.

        Parameters
        ----------
        video : VideoRecord
        files : mapping of int to str
            Files of the frames, where they are files.
        indices : iterable of int
            The frames that are asked for.
        only_annotated : bool
            Whether frames without an annotation are left out; else they are an error.

        Raises
        ------
        InputError
            If the video has another number of frames, or an annotation is missing.
        """
        way_out = "--annotated-only leaves out the frames that have no annotation"
        if len(self.frames) != video.frames and not (only_annotated and files):
            raise InputError(
                f"{video.name}: has {video.frames} frames, its ground truth {self.place} has {len(self.frames)}"
                + (f"; {way_out}" if files else "; frames of a video file are told apart by their number alone")
            )
        found = {}
        for index in indices:
            name = Path(files[index]).stem if files else None
            place = index if name is None else self._places.get(name)
            if place is not None:
                found[index] = place
            elif not only_annotated:
                raise InputError(f"{video.name}: no annotation of frame {name} in {self.place}; {way_out}")
        if not found:
            raise InputError(f"{video.name}: none of its frames has an annotation in {self.place}")
        return found

    def changed(self) -> str:
        """Return a text that is another one when the files have changed."""
        return ";".join(f"{status.st_size},{status.st_mtime_ns}" for status in map(os.stat, self.files))

    def frame(self, place: int, size: tuple[int, int]) -> FrameTruth:
        """Read the annotation at a place.

        Raises
        ------
        InputError
            If it is damaged, or not of the (height, width) of the video.
        """
        truth = self.read(place)
        if truth.void.shape != size:
            (height, width), (own_height, own_width) = size, truth.void.shape
            raise InputError(
                f"{self.place}: the annotation of frame {self.frames[place]} is {own_width}x{own_height}, "
                f"the video {width}x{height}"
            )
        return truth


@dataclass(frozen=True)
class GroundTruth:
    """The ground truth of many videos; `place` is where it lies."""

    place: Path
    videos: Mapping[str, Callable[[], VideoTruth]]

    def video(self, name: str) -> VideoTruth:
        """Return that of one video.

        Raises
        ------
        InputError
            If there is none of this name.
        """
        if name not in self.videos:
            names = sorted(self.videos, key=natural_key)
            some = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
            raise InputError(f"{self.place}: no ground truth of {name!r}; it has {some}")
        return self.videos[name]()


def open_ground_truth(path: Path) -> GroundTruth:
    """Look into a DAVIS root, a folder of sequences of indexed PNG, or a YouTube-VIS json (or its folder).

    Nothing but names is read until a video is asked for; of a json, everything.

    Raises
    ------
    InputError
        If there is no ground truth.
    """
    try:
        if path.is_file() or (path / "annotations.json").is_file():
            return _of_json(path if path.is_file() else path / "annotations.json")
        base = next((path / inner for inner in _DAVIS if (path / inner).is_dir()), path)
        names = sorted(entry.name for entry in base.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    except OSError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: no ground truth there ({error.strerror or error})") from None
    if not names:
        raise InputError(f"{base}: no ground truth (no folder of annotations in it, one a sequence)")
    return GroundTruth(base, {safe_name(name): partial(_of_folder, base / name) for name in names})


def truth_of(
    truth: VideoTruth, video: VideoRecord, files: Mapping[int, str], frames: list[FrameMasks], *, only_annotated: bool
) -> Iterator[tuple[FrameMasks, FrameTruth]]:
    """Yield the masks of frames with the ground truth of each; errors are those of `VideoTruth`."""
    places = truth.places(video, files, [frame.index for frame in frames], only_annotated=only_annotated)
    for frame in frames:
        if frame.index in places:
            yield frame, truth.frame(places[frame.index], (video.height, video.width))


def _of_folder(folder: Path) -> VideoTruth:
    files = read_annotations(folder)
    stamped = tuple((file, _stamp(file)) for file in files.values())
    return VideoTruth(str(folder), tuple(files), partial(_read_labels, stamped), tuple(files.values()))


def _stamp(file: Path) -> tuple[int, int] | None:
    try:
        status = file.stat()
    except OSError:  # said when it is read
        return None
    return status.st_size, status.st_mtime_ns


_Stamped = tuple[tuple[Path, tuple[int, int] | None], ...]


def _read_labels(files: _Stamped, place: int) -> FrameTruth:
    return FrameTruth.of_labels(read_annotation(files[place][0], black_and_white=_is_black_and_white(files)))


@lru_cache(maxsize=64)
def _is_black_and_white(files: _Stamped) -> bool:
    # By sequence: a frame with nothing but void looks like one in black and white.
    return is_black_and_white([file for file, _ in files])


def _of_json(path: Path) -> GroundTruth:
    named = ytvis_videos(path)
    content = json.loads(path.read_text(encoding="utf-8"))  # whose form `ytvis_videos` has seen
    annotations = content.get("annotations")
    if not isinstance(annotations, list):
        raise InputError(f"{path}: no ground truth: it lists no annotations")
    sizes = {video.get("id", place + 1): video for place, video in enumerate(content["videos"])}
    by_video: dict[int | str, list[dict[str, Any]]] = {}
    for place, annotation in enumerate(annotations):
        if not isinstance(annotation, dict) or not isinstance(annotation.get("segmentations"), list):
            raise InputError(f"{path}: annotation {place} has no list of segmentations")
        number = annotation.get("video_id")
        if not isinstance(number, int | str) or number not in sizes:
            raise InputError(f"{path}: annotation {place} is of no video that it lists (video_id {number!r:.40})")
        by_video.setdefault(number, []).append(annotation)
    return GroundTruth(
        path,
        {
            safe_name(name): partial(_ytvis_truth, path, name, files, sizes[number], by_video.get(number, []))
            for name, (files, number) in named.items()
        },
    )


def _ytvis_truth(
    path: Path, name: str, files: list[str], video: dict[str, Any], annotations: list[dict[str, Any]]
) -> VideoTruth:
    place = f"{path}::{name}"
    height, width = video.get("height"), video.get("width")
    if type(height) is not int or type(width) is not int or min(height, width) < 1:
        raise InputError(f"{place}: has no height and width")
    tracks: list[tuple[int, bool, tuple[Packed | None, ...]]] = []
    for number, annotation in enumerate(annotations, start=1):
        masks = annotation["segmentations"]
        if len(masks) != len(files):
            raise InputError(f"{place}: object {number} has {len(masks)} masks, the video {len(files)} frames")
        try:
            packed = tuple(read_segmentation(mask, height, width) for mask in masks)
        except InputError as error:
            raise InputError(f"{place}: object {number}: {error}") from None
        tracks.append((number, bool(annotation.get("iscrowd", 0)), packed))
    stems = tuple(PurePosixPath(file).stem for file in files)
    return VideoTruth(place, stems, partial(_unpack, tuple(tracks), (height, width)), (path,))


def _unpack(
    tracks: tuple[tuple[int, bool, tuple[Packed | None, ...]], ...], size: tuple[int, int], place: int
) -> FrameTruth:
    void = np.zeros(size, dtype=bool)
    objects = {}
    for number, is_crowd, masks in tracks:
        packed = masks[place]
        if packed is None:
            continue
        mask = unpack(packed).astype(bool)
        if is_crowd:
            void |= mask
        elif mask.any():
            objects[number] = mask
    return FrameTruth(objects, void)
