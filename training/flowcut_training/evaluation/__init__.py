"""Evaluation as the benchmarks of the field do it: YouTube-VIS (average precision of tubes) and DAVIS-2017 (J and F).

Input is checked first, overlaps are exact counts of pixels, and every number can be followed down to a video, an
object, a frame.
"""

from __future__ import annotations

from flowcut_napari.core.measures import Measure
from flowcut_training.evaluation.davis import DavisObject, DavisResult, DavisSequence, evaluate_davis
from flowcut_training.evaluation.davis_files import SequenceFiles, find_sequences
from flowcut_training.evaluation.ytvis import (
    ObjectScore,
    VideoScore,
    YtvisOverlaps,
    YtvisResult,
    evaluate_ytvis,
    measure_ytvis,
)

__all__ = [
    "DavisObject",
    "DavisResult",
    "DavisSequence",
    "Measure",
    "ObjectScore",
    "SequenceFiles",
    "VideoScore",
    "YtvisOverlaps",
    "YtvisResult",
    "evaluate_davis",
    "evaluate_ytvis",
    "find_sequences",
    "measure_ytvis",
]
