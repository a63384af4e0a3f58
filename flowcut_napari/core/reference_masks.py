"""What predictions of a video are compared with: pseudo-masks, or ground truth of DAVIS or YouTube-VIS.

All masks are read, checked and packed at once, so that looking at frames later needs no file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pycocotools import mask as coco

from flowcut_napari.core.clips import Curation
from flowcut_napari.core.errors import InputError
from flowcut_napari.core.frames import Video
from flowcut_napari.core.images import natural_key
from flowcut_napari.core.json_stream import read_items
from flowcut_napari.core.label_pictures import read_labels
from flowcut_napari.core.prediction_files import frame_names
from flowcut_napari.core.predictions import Prediction
from flowcut_napari.core.scoring import VOID, read_annotations
from flowcut_napari.core.segmentations import Packed, area_of, pack_mask, read_segmentation, unpack
from flowcut_napari.core.store import VideoMasks

Kind = Literal["pseudo-masks", "ground truth"]
# A label is a number of 16 bits.
_LARGEST_LABEL = 65535


@dataclass(frozen=True, slots=True)
class ReferenceFrame:
    """The masks of one frame by their label, later ones over earlier ones; `void` are pixels that do not count."""

    masks: tuple[tuple[int, Packed], ...]
    void: Packed | None = None


# No two are equal: who keeps what was made of one asks whether it is the same.
@dataclass(frozen=True, eq=False)
class ReferenceMasks:
    """Masks of a video.

    Attributes
    ----------
    kind : {"pseudo-masks", "ground truth"}
    place : str
        Where they are from.
    size : (int, int)
        Height and width of the video.
    frames : mapping of int to ReferenceFrame
        By the index of the frame; not all frames need be among them.
    """

    kind: Kind
    place: str
    size: tuple[int, int]
    frames: Mapping[int, ReferenceFrame]

    def paint(self, frame: int) -> np.ndarray:
        """Return the labels of a frame, (H, W) uint16; zeros where there is none."""
        labels = np.zeros(self.size, np.uint16, order="F")
        if (found := self.frames.get(frame)) is not None:
            for label, mask in found.masks:
                np.copyto(labels, np.uint16(label), where=unpack(mask).view(bool))
        return labels

    def void(self, frame: int) -> np.ndarray | None:
        """Return the pixels of a frame that do not count, (H, W) bool; None if all do."""
        found = self.frames.get(frame)
        return unpack(found.void).view(bool) if found is not None and found.void is not None else None


def pseudo_reference(masks: VideoMasks, video: Video, curation: Curation | None = None) -> ReferenceMasks:
    """Take pseudo-masks for what predictions are compared with.

    Parameters
    ----------
    masks : VideoMasks
    video : Video
    curation : Curation, optional
        Of these masks: what was rejected is left out, and labels are identities over time; else ids in each frame.

    Raises
    ------
    InputError
        If they are of another size than the video.
    """
    size = (masks.video.height, masks.video.width)
    _same_size("its pseudo-masks", size, video)
    frames = {}
    for place, frame in enumerate(masks.frames):
        chosen = frame.instances
        if curation is not None:
            chosen = tuple(chosen[spot] for spot in curation.left[place])
        if frame.index < len(video):
            frames[frame.index] = ReferenceFrame(
                tuple(
                    (
                        _label_of(curation.identity[frame.index, item.id] if curation is not None else item.id),
                        Packed(size=[*size], counts=item.segmentation["counts"].encode("ascii")),
                    )
                    for item in chosen
                )
            )
    return ReferenceMasks("pseudo-masks", masks.video.name, size, frames)


def _label_of(number: int) -> int:
    """Return a label for a number that somebody may have given, of any height; 0 would be background."""
    return 1 + (number - 1) % _LARGEST_LABEL


def find_ground_truth(video: Video) -> Path | None:
    """Return the annotations that a DAVIS root or a YouTube-VIS json has for a video; None if there are none.

    Of ``ROOT/JPEGImages/480p/dog`` they are in ``ROOT/Annotations/480p/dog``; those of the unsupervised task go first.
    """
    if video.path.suffix.lower() == ".json":
        return video.path
    below = [video.path.name]
    for parent in video.path.parents:
        if parent.name == "JPEGImages":
            for folder in ("Annotations_unsupervised", "Annotations"):
                found = parent.parent.joinpath(folder, *below)
                if found.is_dir():
                    return found
            return None
        below.insert(0, parent.name)
    return None


def read_ground_truth(path: Path, video: Video, is_wanted: Callable[[], bool] = lambda: True) -> ReferenceMasks:
    """Read the annotations of a video.

    Parameters
    ----------
    path : Path
        A folder of indexed PNG, one for each frame that has an annotation, or a YouTube-VIS json.
    video : Video
    is_wanted : callable
        Asked now and then; large files take minutes.

    Raises
    ------
    InputError
        If they cannot be read, are of another size, fit no frame, or are not wanted any more.
    """
    if path.is_dir():
        return _read_pictures(path, video, is_wanted)
    if path.suffix.lower() != ".json":
        raise InputError(f"{path}: give a folder of indexed PNG, or a YouTube-VIS json")
    return _read_json(path, video, is_wanted)


def overlaps(prediction: Prediction, reference: ReferenceMasks) -> np.ndarray:
    """Return the IoU of the unions, for every threshold at once.

    Parameters
    ----------
    prediction : Prediction
    reference : ReferenceMasks
        Of the same video.

    Returns
    -------
    (len(prediction.frames), len(prediction.tracks) + 1) float64
        Of each frame, with the best 0, 1, 2, ... tracks; 1 where neither side has a pixel, as DAVIS has it, and NaN in
        frames without a reference. With a threshold, `Prediction.count` says which column holds.
    """
    table = np.full((len(prediction.frames), len(prediction.tracks) + 1), np.nan)
    for place, frame in enumerate(prediction.frames):
        wanted = reference.frames.get(frame)
        if wanted is not None:
            table[place] = _overlaps_of([track.masks[place] for track in prediction.tracks], wanted)
    return table


def _overlaps_of(masks: list[Packed | None], wanted: ReferenceFrame) -> list[float]:
    target = _union([mask for _, mask in wanted.masks])
    size = area_of(target) if target is not None else 0
    found: Packed | None = None
    ious = [0.0 if size else 1.0]
    for mask in masks:
        if mask is None:
            ious.append(ious[-1])
            continue
        found = mask if found is None else coco.merge([found, mask])
        both = area_of(coco.merge([found, target], True)) if target is not None else 0
        # An object has no pixel in the void, so it only takes from the prediction.
        lost = area_of(coco.merge([found, wanted.void], True)) if wanted.void is not None else 0
        union = area_of(found) - lost + size - both
        ious.append(both / union if union else 1.0)
    return ious


def _union(masks: list[Packed]) -> Packed | None:
    return coco.merge(masks) if masks else None


def _read_pictures(folder: Path, video: Video, is_wanted: Callable[[], bool]) -> ReferenceMasks:
    files = read_annotations(folder)
    frames = {}
    for index in range(len(video)):
        if not is_wanted():
            raise InputError(f"{folder}: not wanted any more")
        path = files.get(Path(video.frame_file(index) or f"{index:05d}").stem)
        if path is None:
            continue
        labels = read_labels(path, video)
        frames[index] = ReferenceFrame(
            tuple(
                (int(number), pack_mask(labels == number)) for number in np.unique(labels) if number not in (0, VOID)
            ),
            pack_mask(labels == VOID) if (labels == VOID).any() else None,
        )
    if not frames:
        names = sorted(files, key=natural_key)
        raise InputError(f"{folder}: no annotation fits a frame of {video.name}; it has {names[0]} to {names[-1]}")
    return ReferenceMasks("ground truth", str(folder), (video.height, video.width), frames)


def _read_json(path: Path, video: Video, is_wanted: Callable[[], bool]) -> ReferenceMasks:
    index_of = {name: index for index, names in enumerate(frame_names(video)) for name in names}
    number: int | None = None
    places: dict[int, int] = {}
    found: dict[int, list[tuple[int, Packed]]] = {}
    waiting: list[Any] = []
    label = 0
    for part, value in read_items(path):
        if not is_wanted():
            raise InputError(f"{path}: not wanted any more")
        if part == "videos" and isinstance(value, dict) and number is None:
            files = value.get("file_names")
            known = (
                {place: index_of.get(file) for place, file in enumerate(files) if isinstance(file, str)}
                if (isinstance(files, list))
                else {}
            )
            places = {place: index for place, index in known.items() if index is not None}
            if places:
                number = value["id"] if type(value.get("id")) is int else None
                size = value.get("height"), value.get("width")
                if all(type(side) is int for side in size):
                    _same_size(f"{path}: {video.name}", size, video)
        elif part == "annotations" and isinstance(value, dict):
            if number is None:  # it lists them before the videos
                waiting.append(value)
            elif value.get("video_id") == number:
                label += 1
                _add(found, value, label, places, path, video)
    for value in waiting:
        if number is not None and value.get("video_id") == number:
            label += 1
            _add(found, value, label, places, path, video)
    if number is None:
        raise InputError(f"{path}: none of its videos has the frames of {video.name}")
    if not label:
        raise InputError(f"{path}: no annotations of {video.name}")
    frames = {index: ReferenceFrame(tuple(found.get(index, ()))) for index in sorted(places.values())}
    return ReferenceMasks("ground truth", str(path), (video.height, video.width), frames)


def _add(
    found: dict[int, list[tuple[int, Packed]]],
    annotation: Mapping[str, Any],
    label: int,
    places: Mapping[int, int],
    path: Path,
    video: Video,
) -> None:
    """Take up the masks of one instance."""
    where = f"{path}: annotation {str(annotation.get('id'))[:40]}"
    masks = annotation.get("segmentations")
    if not isinstance(masks, list) or label > _LARGEST_LABEL:
        raise InputError(f"{where}: has no masks for each frame")
    for place, mask in enumerate(masks):
        if place not in places:
            continue
        try:
            packed = read_segmentation(mask, video.height, video.width)
        except (InputError, ValueError, OverflowError, TypeError) as error:
            raise InputError(f"{where}, frame {place}: {error}") from None
        if packed is not None:
            found.setdefault(places[place], []).append((label, packed))


def _same_size(what: str, size: tuple[Any, Any], video: Video) -> None:
    if size != (video.height, video.width):
        raise InputError(f"{what}: {size[1]}x{size[0]}, the video that is open is {video.width}x{video.height}")
