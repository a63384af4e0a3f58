"""The bundled clip as napari layers: the frames and their ground truth, on one time axis."""

from __future__ import annotations

from typing import Any

import numpy as np

from flowcut_napari.core import sample
from flowcut_napari.core.scoring import read_annotation, read_annotations
from flowcut_napari.core.video import open_video

LayerData = tuple[np.ndarray, dict[str, Any], str]


def open_toys() -> list[LayerData]:
    """Return the layers of the clip: ``toys`` (24, 360, 640, 3) uint8 RGB and ``toys ground truth`` (24, 360, 640)."""
    folder = sample.sample_folder()
    video = open_video(f"{folder}::{sample.NAME}")
    truth = [
        read_annotation(path) for _, path in sorted(read_annotations(folder / "Annotations" / sample.NAME).items())
    ]
    axes = ("frame", "y", "x")
    return [
        (np.stack(list(video)), {"name": sample.NAME, "rgb": True, "axis_labels": axes}, "image"),
        (np.stack(truth), {"name": f"{sample.NAME} ground truth", "opacity": 0.5, "axis_labels": axes}, "labels"),
    ]
