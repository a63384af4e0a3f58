"""Pseudo-masks against ground truth.

Region similarity J is the IoU, and 1 where neither side has anything (DAVIS). `score_union` asks how well the
foreground, the union of all instances, was found: the question of DAVIS-2016.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from flowcut_napari.core.errors import InputError
from flowcut_napari.core.images import list_images
from flowcut_napari.core.masks import mask_iou
from flowcut_napari.core.pseudo_masks import FrameMasks
from flowcut_napari.core.store import VideoMasks

VOID = 255


def region_similarity(mask: np.ndarray, truth: np.ndarray, void: np.ndarray | None = None) -> float:
    """Return J of two masks (H, W) bool: intersection over union outside `void`, 1 where both are empty."""
    if void is not None:
        mask, truth = mask & ~void, truth & ~void
    union = int((mask | truth).sum())
    return int((mask & truth).sum()) / union if union else 1.0


def union_mask(frame: FrameMasks, height: int, width: int) -> np.ndarray:
    """Return the union of the instances of a frame, (height, width) bool."""
    union = np.zeros((height, width), dtype=bool)
    for instance in frame.instances:
        union |= instance.mask
    return union


def read_annotation(path: Path) -> np.ndarray:
    """Read an indexed PNG as object ids (H, W) uint8, 0 background, 255 void.

    A picture in black and white (DAVIS-2016) gives ids 0 and 1.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    try:
        with Image.open(path) as image:
            if image.mode == "P":
                return np.asarray(image)
            grey = np.asarray(image.convert("L"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read as an annotation ({error})") from None
    return (grey > 127).astype(np.uint8) if set(np.unique(grey)) <= {0, 255} else grey


def read_annotations(folder: Path) -> dict[str, Path]:
    """Return the annotation files of a folder by the name of their frame (``00000``, ...).

    Raises
    ------
    InputError
        If there is none.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder of annotations")
    files, _ = list_images(folder)
    if not files:
        raise InputError(f"{folder}: no annotations in this folder")
    return {file.stem: file for file in files}


def best_overlaps(masks: VideoMasks, annotations: Mapping[str, Path]) -> dict[int, list[float]]:
    """Return for every object of the ground truth the IoU of the mask that fits it best, frame by frame.

    Frames in which an object is not to be seen do not count for it. Arguments and errors as `score_union`.
    """
    overlaps: dict[int, list[float]] = {}
    for frame, truth in _annotated(masks, annotations):
        void = truth == VOID
        found = [instance.mask & ~void for instance in frame.instances]
        for number in np.unique(truth[(truth > 0) & ~void]):
            target = truth == number
            best = max((mask_iou(mask, target) for mask in found), default=0.0)
            overlaps.setdefault(int(number), []).append(best)
    return dict(sorted(overlaps.items()))


def score_union(masks: VideoMasks, annotations: Mapping[str, Path]) -> dict[int, float]:
    """Return J of the union of instances for every frame that has masks and an annotation.

    Parameters
    ----------
    masks : VideoMasks
        Of a video whose frames are files.
    annotations : mapping of str to path
        See `read_annotations`.

    Raises
    ------
    InputError
        If an annotation has another size than the video, or none fits a frame.
    """
    scores = {}
    for frame, truth in _annotated(masks, annotations):
        void = truth == VOID
        scores[frame.index] = region_similarity(union_mask(frame, *truth.shape), (truth > 0) & ~void, void)
    return scores


def _annotated(masks: VideoMasks, annotations: Mapping[str, Path]) -> Iterator[tuple[FrameMasks, np.ndarray]]:
    """Yield the frames that have an annotation, with it."""
    fits = False
    for frame in masks.frames:
        name = Path(masks.files.get(frame.index, f"{frame.index:05d}")).stem
        if name not in annotations:
            continue
        truth = read_annotation(annotations[name])
        if truth.shape != (masks.video.height, masks.video.width):
            raise InputError(f"{annotations[name]}: its size is not that of the video {masks.video.name}")
        fits = True
        yield frame, truth
    if not fits:
        raise InputError(f"{masks.video.name}: no annotation fits any of its frames")
