"""The data side of training: datasets of clips on disk, and the batches that are drawn of them.

`open_clips` and `open_stills` open datasets, `training_batches` draws of them, `whole_clips` is for evaluation.
"""

from __future__ import annotations

from flowcut_training.data.loader import training_batches
from flowcut_training.data.opening import open_clips, open_stills
from flowcut_training.data.parameters import DataParameters
from flowcut_training.data.samples import Batch, Sample, collate
from flowcut_training.data.source import ClipSource, LoadedClip
from flowcut_training.data.whole_clips import WholeClip, WholeClips, whole_clips

__all__ = [
    "Batch",
    "ClipSource",
    "DataParameters",
    "LoadedClip",
    "Sample",
    "WholeClip",
    "WholeClips",
    "collate",
    "open_clips",
    "open_stills",
    "training_batches",
    "whole_clips",
]
