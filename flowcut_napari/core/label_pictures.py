"""Pictures of numbers, one for each object of a frame, as DAVIS has them; not to be mistaken for photographs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from flowcut_napari.core.errors import InputError
from flowcut_napari.core.frames import Video
from flowcut_napari.core.scoring import read_annotation

# Of a grey photograph there would be more.
_MOST_NUMBERS = 128


def read_labels(path: Path, video: Video) -> np.ndarray:
    """Read a picture of a frame of a video as numbers (H, W) uint8, 0 background, 255 void.

    Raises
    ------
    InputError
        If it cannot be read, is of another size, or is no picture of numbers.
    """
    labels = read_annotation(path)
    with Image.open(path) as image:
        is_photograph = image.mode not in ("1", "L", "P")
    if is_photograph or len(np.unique(labels)) > _MOST_NUMBERS:
        raise InputError(f"{path}: a photograph; give pictures of numbers, such as the indexed PNG of DAVIS")
    if labels.shape != (video.height, video.width):
        height, width = labels.shape
        raise InputError(f"{path}: {width}x{height}, the video that is open is {video.width}x{video.height}")
    return labels
