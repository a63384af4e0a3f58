"""Evaluation now and then while a model is trained: on few clips, as the finished model would be."""

from __future__ import annotations

import torch

from flowcut_training.data import WholeClips
from flowcut_training.evaluation import evaluate_ytvis
from flowcut_training.model.video_mask2former import VideoMask2Former


def evaluate_model(
    model: VideoMask2Former, clips: WholeClips, device: torch.device, short_side: int, max_side: int
) -> dict[str, float]:
    """Return the class-agnostic YouTube-VIS figures (``AP``, ``AP50``, ..., 0 to 1) of a model on some clips.

    The model is left in the mode that it was in.
    """
    from flowcut_training.predict import PredictionParameters, predict_video

    was_training = model.training
    model.eval()
    try:
        results = []
        for clip in clips:
            parameters = PredictionParameters(short_side=short_side, max_side=max_side)
            for track in predict_video(model, clip, parameters, device=device).tracks:
                results.append(
                    {"video_id": clip.id, "category_id": 1, "score": track.score, "segmentations": list(track.masks)}
                )
    finally:
        model.train(was_training)
    return dict(evaluate_ytvis(clips.ground_truth(), results).stats)
