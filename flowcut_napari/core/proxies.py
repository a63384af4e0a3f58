"""What masks tell of their own quality where there is no ground truth: measures that often go with J, and may mislead.

How well each goes with J on real videos is measured in docs/results.md. None sees an object that is missed throughout,
and all reward a piece of background that stays where it is.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from pycocotools import mask as coco

from flowcut_napari.core.clips import curate_video
from flowcut_napari.core.masks import Rle
from flowcut_napari.core.pseudo_masks import FrameMasks, Instance, Rejected
from flowcut_napari.core.store import VideoMasks


@dataclass(frozen=True, slots=True)
class Proxies:
    """Proxies of quality of one video; None where it has nothing that could be measured.

    Attributes
    ----------
    masks : float
        Masks a frame, mean.
    area : float
        Share of the frame that masks cover, mean over frames.
    yield_share : float
        Clips that curation keeps, of all pairs of frames 1 to 4 apart.
    matched_share : float
        Masks that have a match in the next frame (Algorithm 1), of all.
    weakest_iou : float
        Lowest IoU of a match within a clip, mean over clips.
    consistency : float
        IoU of the foreground with that of the next frame, mean; 0 where either has none.
    crf_agreement : float
        IoU of masks before and after the CRF, those dropped for it too, mean.
    eigengap : float
        Gap after the second eigenvalue of the first cut of a frame, kept or not, mean.
    """

    masks: float
    area: float
    yield_share: float | None
    matched_share: float | None
    weakest_iou: float | None
    consistency: float | None
    crf_agreement: float | None
    eigengap: float | None


def measure_proxies(masks: VideoMasks) -> Proxies:
    """Measure what the masks of a video say of themselves; decisions are honoured, as in curation."""
    frames = masks.frames
    curated = curate_video(masks)
    next_frame = curated.yields.get(1)
    pairs = sum(found.candidates for found in curated.yields.values())
    looked_at = next_frame.masks + sum(next_frame.dropped_masks.values()) if next_frame else 0
    weakest = [
        min(known) for clip in curated.clips if (known := [track.iou for track in clip.tracks if track.iou is not None])
    ]
    size = masks.video.height * masks.video.width
    return Proxies(
        masks=float(np.mean([len(frame.instances) for frame in frames])) if frames else 0.0,
        area=float(np.mean([sum(one.area for one in frame.instances) for frame in frames])) / size if frames else 0.0,
        yield_share=sum(found.clips for found in curated.yields.values()) / pairs if pairs else None,
        matched_share=next_frame.masks / looked_at if next_frame and looked_at else None,
        weakest_iou=float(np.mean(weakest)) if weakest else None,
        consistency=_mean(consistencies(frames)),
        crf_agreement=_mean([iou for frame in frames for iou in _crf_ious(frame)]),
        eigengap=_mean([gap for frame in frames if (gap := first_eigengap(frame)) is not None]),
    )


def consistencies(frames: Sequence[FrameMasks]) -> list[float]:
    """Return for all frames but the last the IoU of their foreground with that of the next; 0 if either has none."""
    unions = [_union([instance.segmentation for instance in frame.instances]) for frame in frames]
    return [
        float(coco.iou([first], [second], [0])[0, 0]) if first and second else 0.0
        for first, second in itertools.pairwise(unions)
    ]


def first_eigengap(frame: FrameMasks) -> float | None:
    """Return the gap after the second eigenvalue of the first cut of a frame, kept or not; None if there is none."""
    cuts: tuple[Instance | Rejected, ...] = (*frame.instances, *frame.rejected)
    return next((cut.eigengap for cut in cuts if cut.iteration == 1), None)


def _crf_ious(frame: FrameMasks) -> list[float]:
    """Return the IoU before and after the CRF of all masks; of those that it led to drop, too."""
    kept = [one.crf_iou for one in frame.instances if one.crf_iou is not None]
    dropped = [one.iou for one in frame.rejected if one.reason in ("crf_iou", "empty") and one.iou is not None]
    return kept + dropped


def proxy_stats(videos: Sequence[Proxies]) -> dict[str, float | None]:
    """Return the mean of every proxy over the videos that have it."""
    rows = [asdict(item) for item in videos]
    return {name: _mean([row[name] for row in rows if row[name] is not None]) for name in Proxies.__dataclass_fields__}


def _union(masks: Sequence[Rle]) -> dict[str, object] | None:
    if not masks:
        return None
    return coco.merge([{"size": mask["size"], "counts": mask["counts"].encode("ascii")} for mask in masks])


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if len(values) else None
