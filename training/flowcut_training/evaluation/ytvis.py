"""The YouTube-VIS benchmark: whether the objects of videos are found, each as one tube of masks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from flowcut_training.evaluation.average_precision import (
    AT_50,
    AT_75,
    MOST_DETECTIONS,
    Matched,
    Overlaps,
    accumulate,
    match_detections,
    summarize,
)
from flowcut_training.evaluation.processes import in_processes
from flowcut_training.evaluation.tubes import Tube, overlap_tubes, read_tube
from flowcut_training.evaluation.ytvis_input import (
    Detection,
    EvaluatedVideo,
    TrueObject,
    add_detections,
    check_ground_truth,
    mean_area,
)

# Two seconds of work at most: starting processes takes about as long.
_FEW_MASKS = 40_000


@dataclass(frozen=True, slots=True)
class VideoScore:
    """How well the objects of a video were found.

    Attributes
    ----------
    video, name
        Its id, and the folder of its frames.
    objects, detections : int
        Crowds are no objects; detections are at most the 100 (of each category) that count.
    best_iou : float or None
        Mean over objects of the IoU of the detection that fits best; None without objects.
    recall_50, recall_75 : float or None
        Share of the objects that are matched at these IoU.
    false_positives : int
        Detections that match nothing at an IoU of 0.5.
    worst_frame, worst_file, worst_iou
        Those of the object that is found worst; None without objects.
    """

    video: int
    name: str
    objects: int
    detections: int
    best_iou: float | None
    recall_50: float | None
    recall_75: float | None
    false_positives: int
    worst_frame: int | None
    worst_file: str | None
    worst_iou: float | None


@dataclass(frozen=True, slots=True)
class ObjectScore:
    """How well one object was found.

    Attributes
    ----------
    annotation, video, name, category
        Ids, and the name of the video.
    best_iou : float
        IoU of the detection that fits it best (of its category, where these are told apart); 0 without detections.
    score : float or None
        Of that detection; None where nothing overlaps it.
    length : int
        Frames in which it has a mask.
    worst_frame : int or None
        Of the frames in which it or that detection has a mask, the one with the lowest IoU, from 0; of equal ones that
        in which it is largest. None if it has no mask and nothing overlaps it.
    worst_file : str or None
        The file of that frame, where the ground truth names files.
    worst_iou : float or None
        The IoU there.
    """

    annotation: int
    video: int
    name: str
    category: int
    best_iou: float
    score: float | None
    length: int
    worst_frame: int | None
    worst_file: str | None
    worst_iou: float | None


@dataclass(frozen=True)
class YtvisResult:
    """The numbers of the YouTube-VIS benchmark, and what they are made of.

    Attributes
    ----------
    stats : dict
        AP, AP50, AP75, APs, APm, APl, AR1, AR10, AR100, ARs, ARm, ARl; 0 to 1, or -1 where there is nothing to find.
    precision, scores : (T, R, K, A, M) float64
        By threshold of IoU (.5:.05:.95), recall (0:.01:1), category, area (all, small, medium, large), and most
        detections (1, 10, 100); -1 where there is nothing to find.
    recall : (T, K, A, M) float64
    ious : dict
        By id of the video: (D, G) IoU of detections by falling score and objects in the order of the file. Where
        categories are told apart, by (video, category).
    per_video : tuple of VideoScore
        The worst first; those without objects last.
    per_object : tuple of ObjectScore
        The worst first.
    """

    stats: dict[str, float]
    precision: np.ndarray
    recall: np.ndarray
    scores: np.ndarray
    ious: dict[int | tuple[int, int], np.ndarray]
    per_video: tuple[VideoScore, ...]
    per_object: tuple[ObjectScore, ...]


@dataclass(frozen=True)
class YtvisOverlaps:
    """All that the numbers are computed of: what takes long is done, and can be scored again and again."""

    videos: dict[int, EvaluatedVideo]
    categories: tuple[int, ...]
    use_categories: bool
    overlaps: tuple[Overlaps, ...]

    def score(self, least_score: float | None = None) -> YtvisResult:
        """Return the result, without the detections below `least_score` if it is given."""
        overlaps = self.overlaps
        if least_score is not None:
            overlaps = tuple(item.above(least_score) for item in overlaps)
        matched = [match_detections(item) for item in overlaps]
        by_category: dict[int | None, list[Matched]] = {
            category: [] for category in (self.categories if self.use_categories else (None,))
        }
        for item, match in zip(overlaps, matched, strict=True):
            by_category[item.category].append(match)
        curves = accumulate(list(by_category.values()))
        per_object = _object_scores(self.videos, overlaps)
        return YtvisResult(
            stats=summarize(curves),
            precision=curves.precision,
            recall=curves.recall,
            scores=curves.scores,
            ious={item.video if item.category is None else (item.video, item.category): item.ious for item in overlaps},
            per_video=_video_scores(self.videos, overlaps, matched, per_object),
            per_object=per_object,
        )


def evaluate_ytvis(
    gt: Mapping[str, Any],
    dt: Sequence[Mapping[str, Any]],
    use_categories: bool = False,
    *,
    workers: int = 1,
    on_video: Callable[[int], None] | None = None,
) -> YtvisResult:
    """Evaluate predictions as the YouTube-VIS benchmark does (METHOD 9.1).

    Parameters
    ----------
    gt : dict
        The loaded json of the ground truth: videos, categories, annotations.
    dt : list of dict
        The loaded results: video_id, category_id, score, and segmentations (run lengths, None in frames without).
    use_categories : bool
        Whether a prediction must also have the category of its object. The paper does not (class-agnostic).
    workers : int
        Processes; see `flowcut_training.evaluation.processes.in_processes`.
    on_video : callable, optional
        Called with the id of every video that is done.

    Raises
    ------
    InputError
        If anything in either cannot be used; with the place where it stands.

    Notes
    -----
    Other than in the reference program, a list of no predictions gives 0 where there are objects, and an object with
    the id 0, which it can never match, is refused.

    Examples
    --------
    >>> video = {"id": 1, "height": 2, "width": 3, "length": 1, "file_names": ["a/0.jpg"]}
    >>> mask = {"size": [2, 3], "counts": [0, 4, 2]}
    >>> thing = {"id": 1, "video_id": 1, "category_id": 1, "iscrowd": 0, "segmentations": [mask], "areas": [4]}
    >>> gt = {"videos": [video], "categories": [{"id": 1}], "annotations": [thing]}
    >>> dt = [{"video_id": 1, "category_id": 1, "score": 0.9, "segmentations": [mask]}]
    >>> round(evaluate_ytvis(gt, dt).stats["AP"], 6)
    1.0
    """
    return measure_ytvis(gt, dt, use_categories, workers=workers, on_video=on_video).score()


def measure_ytvis(
    gt: Any,
    dt: Any,
    use_categories: bool = False,
    *,
    workers: int = 1,
    on_video: Callable[[int], None] | None = None,
    names: tuple[str, str] = ("ground truth", "predictions"),
) -> YtvisOverlaps:
    """Check both sides and measure all overlaps; `names` is what errors call them, the rest as `evaluate_ytvis`."""
    videos, categories = check_ground_truth(gt, names[0])
    add_detections(dt, videos, categories, names[1])
    groups = categories if use_categories else (None,)
    masks = sum(video.length * (len(video.objects) + len(video.detections)) for video in videos.values())
    workers = workers if masks > _FEW_MASKS else 1
    work = partial(_measure_video, groups=groups, names=names)
    overlaps: list[Overlaps] = []
    for video, found in zip(videos, in_processes(work, list(videos.values()), workers), strict=True):
        overlaps += found
        if on_video:
            on_video(video)
    return YtvisOverlaps(videos, categories, use_categories, tuple(overlaps))


def _measure_video(video: EvaluatedVideo, groups: Sequence[int | None], names: tuple[str, str]) -> list[Overlaps]:
    def tubes(items: Iterable[TrueObject | Detection]) -> list[Tube]:
        return [read_tube(item.segmentations, video.height, video.width, _where(item, video, names)) for item in items]

    # Every mask is looked at, also of those detections that are too many to count.
    of_objects, of_detections = tubes(video.objects), tubes(video.detections)
    result = []
    for group in groups:
        places = [place for place, item in enumerate(video.objects) if group in (None, item.category)]
        found = [place for place, item in enumerate(video.detections) if group in (None, item.category)]
        # By category first: so the reference lists them, which decides between equal scores.
        found.sort(key=lambda place: (-video.detections[place].score, video.detections[place].category))
        found = found[: MOST_DETECTIONS[-1]]
        if group is not None and not (places or found):
            continue
        objects = [video.objects[place] for place in places]
        own = [of_objects[place] for place in places]
        compared = overlap_tubes([of_detections[place] for place in found], own)
        result.append(
            Overlaps(
                video=video.id,
                category=group,
                scores=np.array([video.detections[place].score for place in found], dtype=np.float64),
                detection_areas=np.array([mean_area(of_detections[place].areas.tolist()) for place in found]),
                object_ids=np.array([item.id for item in objects], dtype=np.int64),
                object_categories=np.array([item.category for item in objects], dtype=np.int64),
                object_areas=np.array([item.area for item in objects]),
                is_crowd=np.array([item.is_crowd for item in objects], dtype=bool),
                ious=compared.ious,
                worst_ious=compared.worst_ious,
                worst_frames=compared.worst_frames,
                largest_frames=np.array(
                    [int(tube.areas.argmax()) if tube.areas.any() else -1 for tube in own], dtype=np.int32
                ),
            )
        )
    return result


def _where(item: TrueObject | Detection, video: EvaluatedVideo, names: tuple[str, str]) -> str:
    if isinstance(item, TrueObject):
        return f"{names[0]}: annotation {item.id} (video {video.id})"
    return f"{names[1]}: result {item.place} (video {video.id})"


def _video_scores(
    videos: Mapping[int, EvaluatedVideo],
    overlaps: Sequence[Overlaps],
    matched: Sequence[Matched],
    objects: Sequence[ObjectScore],
) -> tuple[VideoScore, ...]:
    worst: dict[int, ObjectScore] = {}
    for thing in objects:  # the worst first
        worst.setdefault(thing.video, thing)
    parts: dict[int, list[tuple[Overlaps, Matched]]] = defaultdict(list)
    for item, match in zip(overlaps, matched, strict=True):
        parts[item.video].append((item, match))
    scores = []
    for number, video in videos.items():
        best = np.concatenate([np.zeros(0), *(_best(item)[~item.is_crowd] for item, _ in parts[number])])
        # All areas; an ignored match is one with a crowd.
        right = sum((match.is_match & ~match.is_ignored)[0].sum(axis=1) for _, match in parts[number])
        wrong = sum((~match.is_match & ~match.is_ignored)[0].sum(axis=1) for _, match in parts[number])
        worst_object = worst.get(number)
        scores.append(
            VideoScore(
                video=number,
                name=video.name,
                objects=best.size,
                detections=sum(item.scores.size for item, _ in parts[number]),
                best_iou=float(best.mean()) if best.size else None,
                recall_50=float(right[AT_50] / best.size) if best.size else None,
                recall_75=float(right[AT_75] / best.size) if best.size else None,
                false_positives=int(wrong[AT_50]) if parts[number] else 0,
                worst_frame=worst_object.worst_frame if worst_object else None,
                worst_file=worst_object.worst_file if worst_object else None,
                worst_iou=worst_object.worst_iou if worst_object else None,
            )
        )
    scores.sort(key=lambda score: (score.best_iou is None, score.best_iou or 0.0, -score.false_positives))
    return tuple(scores)


def _object_scores(videos: Mapping[int, EvaluatedVideo], overlaps: Sequence[Overlaps]) -> tuple[ObjectScore, ...]:
    lengths = {
        item.id: sum(segmentation is not None for segmentation in item.segmentations)
        for video in videos.values()
        for item in video.objects
    }
    scores = []
    for item in overlaps:
        best = _best(item)
        for place in np.flatnonzero(~item.is_crowd):
            overlap = float(best[place])
            number = int(item.object_ids[place])
            video = videos[item.video]
            score, frame, worst = None, int(item.largest_frames[place]), 0.0
            if overlap > 0:
                row = item.ious[:, place].argmax()
                score, frame = float(item.scores[row]), int(item.worst_frames[row, place])
                worst = float(item.worst_ious[row, place])
            scores.append(
                ObjectScore(
                    annotation=number,
                    video=item.video,
                    name=video.name,
                    category=int(item.object_categories[place]),
                    best_iou=overlap,
                    score=score,
                    length=lengths[number],
                    worst_frame=frame if frame >= 0 else None,
                    worst_file=video.files[frame] if frame >= 0 and video.files else None,
                    worst_iou=worst if frame >= 0 else None,
                )
            )
    scores.sort(key=lambda score: (score.best_iou, score.video, score.annotation))
    return tuple(scores)


def _best(overlaps: Overlaps) -> np.ndarray:
    """Return the largest IoU that each object has with any detection, (G,)."""
    return overlaps.ious.max(axis=0, initial=0.0)
