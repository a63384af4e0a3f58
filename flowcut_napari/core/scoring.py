"""Pseudo-masks against ground truth: J and F of the foreground and of instances, and how many were found.

J (region) and F (boundary) are those of DAVIS, by the code that also measures predictions (`measures`, `boundaries`).
The foreground is the union of all instances of a frame: the question of DAVIS-2016. Instances are given to objects one
to one, frame by frame, so that the mean of J and F is highest: pseudo-masks have no identity over time that could be
asked for more. What is found or missed is counted by J alone, over pairs of which there are as many as can be. Void
counts for nothing and has no boundary.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.optimize import linear_sum_assignment

from flowcut_napari.core.annotations import VOID, is_black_and_white, read_annotation, read_annotations
from flowcut_napari.core.boundaries import f_measure, mask_contour
from flowcut_napari.core.errors import InputError
from flowcut_napari.core.ground_truth import FrameTruth, GroundTruth, truth_of
from flowcut_napari.core.masks import mask_iou
from flowcut_napari.core.measures import Measure, region_similarity
from flowcut_napari.core.pseudo_masks import FrameMasks
from flowcut_napari.core.store import VideoMasks

__all__ = [
    "VOID",
    "FrameScore",
    "ObjectScore",
    "VideoScore",
    "best_overlaps",
    "read_annotation",
    "read_annotations",
    "region_similarity",
    "score_frame",
    "score_stats",
    "score_union",
    "score_video",
    "union_mask",
]


@dataclass(frozen=True, slots=True)
class ObjectScore:
    """How well one object was found in one frame.

    `object` is its number in the ground truth, `instance` the mask that it was given, None if there was none left; then
    `j` and `f` are 0.
    """

    object: int
    instance: int | None
    j: float
    f: float


@dataclass(frozen=True, slots=True)
class FrameScore:
    """How good the masks of one frame are.

    Attributes
    ----------
    index : int
        Of the frame in its video.
    j, f : float
        Of the union of its masks with that of its objects.
    objects : tuple of ObjectScore
        Those that can be seen in it.
    masks : int
        Its masks, without those that lie in void for the most part and fit no object.
    overlaps : tuple of tuple of float
        J of every mask (rows) with every object (columns), both in order.
    """

    index: int
    j: float
    f: float
    objects: tuple[ObjectScore, ...]
    masks: int
    overlaps: tuple[tuple[float, ...], ...]

    def found(self, iou: float = 0.5) -> int:
        """Return how many objects were found with a J above `iou`.

        Pairs are one to one, as many as can be. Where objects are given masks by J and F, one can be left with a worse
        mask for the good of another; that is no reason to call it missed.
        """
        good = np.array(self.overlaps, dtype=np.float64).reshape(len(self.overlaps), len(self.objects)) > iou
        return int(good[linear_sum_assignment(good, maximize=True)].sum())

    @property
    def missed(self) -> int:
        """Objects that no mask fits with a J above 0.5."""
        return len(self.objects) - self.found()

    @property
    def spurious(self) -> int:
        """Masks that fit no object with a J above 0.5."""
        return self.masks - self.found()


@dataclass(frozen=True)
class VideoScore:
    """How good the masks of a video are, frame by frame."""

    name: str
    frames: tuple[FrameScore, ...]

    @property
    def j(self) -> Measure:
        """J of the foreground over its frames."""
        return Measure.of([frame.j for frame in self.frames])

    @property
    def f(self) -> Measure:
        """F of the foreground over its frames."""
        return Measure.of([frame.f for frame in self.frames])

    def objects(self) -> dict[int, tuple[Measure, Measure]]:
        """Return J and F of every object over the frames in which it can be seen."""
        values: dict[int, list[ObjectScore]] = {}
        for frame in self.frames:
            for item in frame.objects:
                values.setdefault(item.object, []).append(item)
        return {
            number: (Measure.of([item.j for item in items]), Measure.of([item.f for item in items]))
            for number, items in sorted(values.items())
        }


def score_frame(frame: FrameMasks, truth: FrameTruth) -> FrameScore:
    """Measure the masks of a frame, which have the size of its ground truth."""
    outside = ~truth.void
    whole = {instance.id: instance.mask for instance in frame.instances}
    masks = {number: part for number, mask in whole.items() if (part := mask & outside).any()}
    found = _union(masks, outside.shape)
    j = region_similarity(found, truth.foreground)
    f = f_measure(mask_contour(found), truth.foreground_contour)
    if len(masks) == 1 and len(truth.seen) == 1:  # the union is the instance, and its numbers are known
        number = next(iter(masks))
        scores = [ObjectScore(item, number, j, f) for item in truth.seen]
        overlaps = np.array([[j]])
    else:
        overlaps, fs = _overlaps(masks, truth)
        scores = list(_assign(list(masks), list(truth.seen), overlaps, fs))
    # As COCO has it for crowds: what lies there for the most part is neither right nor wrong.
    counted = sum(
        bool((row > 0.5).any()) or 2 * int(part.sum()) >= int(whole[number].sum())
        for (number, part), row in zip(masks.items(), overlaps, strict=True)
    )
    return FrameScore(frame.index, j, f, tuple(scores), counted, tuple(map(tuple, overlaps.tolist())))


def score_video(masks: VideoMasks, truth: GroundTruth, *, only_annotated: bool = False) -> VideoScore:
    """Measure all masks of a video.

    Parameters
    ----------
    masks : VideoMasks
    truth : GroundTruth
        In which the video is looked for by its name.
    only_annotated : bool
        Whether frames without an annotation are passed over; else they are an error.

    Raises
    ------
    InputError
        If the ground truth has no such video, or another number or size of frames.
    """
    frames = truth_of(
        truth.video(masks.video.name), masks.video, masks.files, list(masks.frames), only_annotated=only_annotated
    )
    return VideoScore(masks.video.name, tuple(score_frame(frame, wanted) for frame, wanted in frames))


def score_stats(videos: Sequence[VideoScore]) -> dict[str, float | int | None]:
    """Return the numbers of many videos, each with the name of what it is a mean of.

    ``J-Mean`` and its like are of the foreground, means over the frames of a sequence and then over sequences, with
    the names and definitions of DAVIS. ``... (frames)`` are means over all frames, ``... (objects)`` are of
    instances, means over the frames of an object and then over objects. ``Recall@50`` is the share of objects, frame
    by frame, that were found with a J above 0.5. Where there are no objects these are None. ``found``, ``missed`` and
    ``spurious`` count objects and masks, frame by frame.
    """
    frames = [frame for video in videos for frame in video.frames]
    seen = sum(len(frame.objects) for frame in frames)
    j, f = [video.j for video in videos], [video.f for video in videos]
    objects = [measures for video in videos for measures in video.objects().values()]
    j_mean, f_mean = _mean(item.mean for item in j), _mean(item.mean for item in f)
    return {
        "J&F-Mean": (j_mean + f_mean) / 2,
        "J-Mean": j_mean,
        "J-Recall": _mean(item.recall for item in j),
        "J-Decay": _mean(item.decay for item in j),
        "F-Mean": f_mean,
        "F-Recall": _mean(item.recall for item in f),
        "F-Decay": _mean(item.decay for item in f),
        "J-Mean (frames)": _mean(frame.j for frame in frames),
        "F-Mean (frames)": _mean(frame.f for frame in frames),
        "J-Mean (objects)": _mean(item[0].mean for item in objects) if objects else None,
        "F-Mean (objects)": _mean(item[1].mean for item in objects) if objects else None,
        "Recall@50": sum(frame.found(0.5) for frame in frames) / seen if seen else None,
        "Recall@75": sum(frame.found(0.75) for frame in frames) / seen if seen else None,
        "found": sum(frame.found() for frame in frames),
        "missed": sum(frame.missed for frame in frames),
        "spurious": sum(frame.spurious for frame in frames),
        "sequences": len(videos),
        "objects": len(objects),
        "frames": len(frames),
    }


def union_mask(frame: FrameMasks, height: int, width: int) -> np.ndarray:
    """Return the union of the instances of a frame, (height, width) bool."""
    return _union({instance.id: instance.mask for instance in frame.instances}, (height, width))


def best_overlaps(masks: VideoMasks, annotations: Mapping[str, Path]) -> dict[int, list[float]]:
    """Return for every object of the ground truth the IoU of the mask that fits it best, frame by frame.

    Frames in which an object is not to be seen do not count for it. Arguments and errors as `score_union`.
    """
    overlaps: dict[int, list[float]] = {}
    for frame, truth in _annotated(masks, annotations):
        found = [instance.mask & ~truth.void for instance in frame.instances]
        for number, target in truth.objects.items():
            best = max((mask_iou(mask, target) for mask in found), default=0.0)
            overlaps.setdefault(number, []).append(best)
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
    return {
        frame.index: region_similarity(
            union_mask(frame, *truth.void.shape), _union(truth.objects, truth.void.shape), truth.void
        )
        for frame, truth in _annotated(masks, annotations)
    }


def _overlaps(masks: Mapping[int, np.ndarray], truth: FrameTruth) -> tuple[np.ndarray, np.ndarray]:
    """Return J and F of every mask (rows) with every object."""
    j, f = np.zeros((2, len(masks), len(truth.seen)))
    for row, mask in enumerate(masks.values()):
        contour = mask_contour(mask)
        for column, (number, target) in enumerate(truth.seen.items()):
            j[row, column] = region_similarity(mask, target)
            f[row, column] = f_measure(contour, truth.contours[number])
    return j, f


def _assign(masks: Sequence[int], objects: Sequence[int], j: np.ndarray, f: np.ndarray) -> Iterator[ObjectScore]:
    """Give masks to objects one to one, so that the mean of J and F is highest."""
    rows, columns = linear_sum_assignment(-(j + f) / 2)
    given = dict(zip(columns.tolist(), rows.tolist(), strict=True))
    for column, number in enumerate(objects):
        if column in given:
            place = given[column]
            yield ObjectScore(number, masks[place], float(j[place, column]), float(f[place, column]))
        else:
            yield ObjectScore(number, None, 0.0, 0.0)


def _union(masks: Mapping[int, np.ndarray], size: tuple[int, ...]) -> np.ndarray:
    union = np.zeros(size, dtype=bool)
    for mask in masks.values():
        union |= mask
    return union


def _mean(values: Iterator[float]) -> float:
    listed = list(values)
    return float(np.mean(listed)) if listed else 0.0


def _annotated(masks: VideoMasks, annotations: Mapping[str, Path]) -> Iterator[tuple[FrameMasks, FrameTruth]]:
    """Yield the frames that have an annotation, with it."""
    fits = False
    black_and_white = is_black_and_white(list(annotations.values()))
    for frame in masks.frames:
        name = Path(masks.files.get(frame.index, f"{frame.index:05d}")).stem
        if name not in annotations:
            continue
        truth = FrameTruth.of_labels(read_annotation(annotations[name], black_and_white=black_and_white))
        if truth.void.shape != (masks.video.height, masks.video.width):
            raise InputError(f"{annotations[name]}: its size is not that of the video {masks.video.name}")
        fits = True
        yield frame, truth
    if not fits:
        raise InputError(f"{masks.video.name}: no annotation fits any of its frames")
