"""Prediction: the instances that a trained model sees in whole videos.

`predict_video` is the method for one video; `predict_videos` does many and writes results as they come.
"""

from __future__ import annotations

from flowcut_training.predict.features import Frames, VideoFrames
from flowcut_training.predict.folder import VideoSummary
from flowcut_training.predict.parameters import PredictionParameters
from flowcut_training.predict.run import Outcome, Watcher, predict_videos
from flowcut_training.predict.sources import VideoToPredict, find_videos_to_predict
from flowcut_training.predict.tracks import Stage, Track, VideoPrediction, Windows
from flowcut_training.predict.video import predict_video

__all__ = [
    "Frames",
    "Outcome",
    "PredictionParameters",
    "Stage",
    "Track",
    "VideoFrames",
    "VideoPrediction",
    "VideoSummary",
    "VideoToPredict",
    "Watcher",
    "Windows",
    "find_videos_to_predict",
    "predict_video",
    "predict_videos",
]
