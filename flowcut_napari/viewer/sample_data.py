"""The bundled clip as napari layers: the frames and their ground truth, on one time axis. Needs no network."""

from __future__ import annotations

from typing import Any

import numpy as np

from flowcut_napari.core import sample
from flowcut_napari.core.scoring import read_annotation, read_annotations
from flowcut_napari.core.video import open_video
from flowcut_napari.viewer import layer_styles as styles
from flowcut_napari.viewer.reader import LayerData, video_layer
from flowcut_napari.viewer.video_layers import KEY


def open_toys() -> list[LayerData]:
    """Return the layers of the clip: ``toys`` (24, 360, 640, 3) uint8 RGB and ``toys ground truth`` (24, 360, 640)."""
    folder = sample.sample_folder()
    address = f"{folder}::{sample.NAME}"
    truth = [
        read_annotation(path) for _, path in sorted(read_annotations(folder / "Annotations" / sample.NAME).items())
    ]
    options: dict[str, Any] = {
        "name": f"{sample.NAME} ground truth",
        "axis_labels": styles.AXES,
        "metadata": {KEY: {"role": "truth", "video": sample.NAME}},
        **styles.TRUTH.options(),
    }
    return [video_layer(open_video(address), address), (np.stack(truth), options, "labels")]
