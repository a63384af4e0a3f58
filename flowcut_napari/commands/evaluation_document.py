"""What ``flowcut evaluate --json`` prints: the numbers, and videos and objects with the frames that tell most.

`flowcut_napari.core.evaluation_report` reads it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowcut_napari.core.evaluated_videos import davis_address
from flowcut_napari.core.video import ytvis_names

if TYPE_CHECKING:
    from flowcut_training.evaluation import (
        DavisObject,
        DavisResult,
        DavisSequence,
        SequenceFiles,
        YtvisOverlaps,
        YtvisResult,
    )


def ytvis_document(
    ground_truth: Path,
    predictions: Path,
    order: Sequence[int],
    measured: YtvisOverlaps,
    result: YtvisResult,
    threshold: float | None,
    above: YtvisResult | None,
    most: int | None,
) -> dict[str, Any]:
    """Return the document of a YouTube-VIS evaluation.

    Parameters
    ----------
    ground_truth, predictions : Path
        The files that were read.
    order : sequence of int
        Ids of the videos in the order of the ground truth.
    measured, result
        Of all detections.
    threshold, above
        A score, and the result without detections below it; or None.
    most : int or None
        Only so many of the worst videos, with their objects; None for all.
    """
    addresses = _addresses(ground_truth, [(measured.videos[number].files, number) for number in order])
    videos = result.per_video[:most]
    chosen = {video.video for video in videos}
    document: dict[str, Any] = {
        "ground_truth": str(ground_truth),
        "predictions": str(predictions),
        "use_categories": measured.use_categories,
        "stats": result.stats,
    }
    if above is not None:
        document |= {"threshold": threshold, "stats_threshold": above.stats}
    return document | {
        "videos": len(result.per_video),
        "objects": len(result.per_object),
        "detections": sum(video.detections for video in result.per_video),
        "per_video": [
            asdict(video)
            | {"address": addresses.get(video.video), "file_names": list(measured.videos[video.video].files)}
            for video in videos
        ],
        "per_object": [asdict(item) for item in result.per_object if item.video in chosen],
    }


def _addresses(ground_truth: Path, videos: Sequence[tuple[Sequence[str], int]]) -> dict[int, str]:
    """Return at which address each video can be opened, by its id; nothing if frames are not named."""
    if not all(files for files, _ in videos):
        return {}
    names = ytvis_names(videos)
    return {number: f"{ground_truth}::{name}" for name, (_, number) in zip(names, videos, strict=True)}


def davis_document(
    ground_truth: Path,
    predictions: Path,
    files: Mapping[str, SequenceFiles],
    result: DavisResult,
    notes: Sequence[str],
    most: int | None,
) -> dict[str, Any]:
    """Return the document of a DAVIS evaluation; `most` as in `ytvis_document`."""
    sequences = result.per_sequence[:most]
    chosen = {sequence.name for sequence in sequences}
    worst: dict[str, DavisObject] = {}
    for item in result.per_object:  # the worst first
        worst.setdefault(item.sequence, item)
    return {
        "ground_truth": str(ground_truth),
        "predictions": str(predictions),
        "stats": result.stats,
        "sequences": len(result.per_sequence),
        "objects": len(result.per_object),
        "proposals": sum(sequence.proposals for sequence in result.per_sequence),
        "per_sequence": [
            _sequence_row(sequence, files[sequence.name], worst.get(sequence.name)) for sequence in sequences
        ],
        "per_object": [
            davis_row(item)
            | _worst(item, files[item.sequence])
            | {"J": item.j_frames.tolist(), "F": item.f_frames.tolist()}
            for item in result.per_object
            if item.sequence in chosen
        ],
        "notes": list(notes),
    }


def _sequence_row(sequence: DavisSequence, files: SequenceFiles, worst: DavisObject | None) -> dict[str, Any]:
    nothing = dict.fromkeys(("worst_frame", "worst_file", "worst_iou"))
    folder = files.annotations[0].parent
    return {
        "sequence": sequence.name,
        "frames": sequence.frames,
        "objects": sequence.objects,
        "proposals": sequence.proposals,
        "J&F-Mean": sequence.mean,
        **(_worst(worst, files) if worst is not None else nothing),
        "address": davis_address(folder),
        "folder": str(folder),
        "file_names": [path.name for path in files.annotations],
    }


def _worst(item: DavisObject, files: SequenceFiles) -> dict[str, Any]:
    frame = item.worst_frame
    return {
        "worst_frame": frame,
        "worst_file": files.annotations[frame].name,
        "worst_iou": float(item.j_frames[frame]),
    }


def davis_row(item: DavisObject) -> dict[str, Any]:
    """Return the numbers of an object of DAVIS, as the table of all objects has them."""
    row: dict[str, Any] = {"sequence": item.sequence, "object": item.object, "proposal": item.proposal}
    row["J&F-Mean"] = item.mean
    for name, measure in (("J", item.j), ("F", item.f)):
        row |= {f"{name}-{key.capitalize()}": value for key, value in asdict(measure).items()}
    return row
