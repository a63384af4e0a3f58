"""Evaluation now and then while a model is trained: on few clips, as the finished model would be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flowcut_napari.core.errors import FlowCutError
from flowcut_training.data import WholeClips
from flowcut_training.engine.ranks import Ranks
from flowcut_training.evaluation import evaluate_ytvis
from flowcut_training.model.video_mask2former import VideoMask2Former
from flowcut_training.predict import PredictionParameters, predict_video


@dataclass(frozen=True)
class Evaluated:
    """What an evaluation found.

    Attributes
    ----------
    stats : dict of str to float
        Class-agnostic figures of YouTube-VIS (``AP``, ``AP50``, ...), 0 to 1.
    windowed : int
        Clips that were seen in windows, for want of memory.
    """

    stats: dict[str, float]
    windowed: int


def evaluate_model(
    model: VideoMask2Former,
    clips: WholeClips,
    ranks: Ranks,
    parameters: PredictionParameters,
    should_stop: Callable[[], bool] = lambda: False,
) -> Evaluated | None:
    """Evaluate a model, each process on its share of the clips; the first one returns what was found.

    The model is left in the mode that it was in. In the other processes, or where it was broken off because
    `should_stop`, None is returned.

    Raises
    ------
    FlowCutError
        In all processes, if one cannot read a clip, or the model gives what is no number.
    """
    results: list[dict[str, Any]] = []
    windowed, is_whole, problem = 0, True, None
    for number, clip in enumerate(clips):
        if number % ranks.world != ranks.rank:
            continue
        if should_stop():
            is_whole = False
            break
        try:
            found = predict_video(model, clip, parameters, device=ranks.device)
        except FlowCutError as error:
            problem = str(error)
            break
        windowed += found.windows is not None
        results += [
            {"video_id": clip.id, "category_id": 1, "score": track.score, "segmentations": list(track.masks)}
            for track in found.tracks
        ]
    shares = ranks.gather((results, windowed, is_whole, problem))
    for *_, text in shares:
        if text is not None:
            raise FlowCutError(text)
    if not ranks.is_first or not all(whole for _, _, whole, _ in shares):
        return None
    stats = evaluate_ytvis(clips.ground_truth(), [item for found, *_ in shares for item in found]).stats
    return Evaluated(dict(stats), sum(count for _, count, _, _ in shares))
