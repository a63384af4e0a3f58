"""Ground truth and predictions made of dense masks, as the files of YouTube-VIS have them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from slow_metrics import DenseTube

from flowcut_napari.core.masks import encode_rle


def ground_truth(objects: Sequence[DenseTube], videos: Mapping[int, tuple[int, int, int]]) -> dict[str, Any]:
    """Return the json of objects; `videos` are (frames, height, width) by id. Ids of annotations rise from 1."""
    listed = [
        {
            "id": number,
            "height": height,
            "width": width,
            "length": length,
            "file_names": [f"clip{number}/{frame:05d}.jpg" for frame in range(length)],
        }
        for number, (length, height, width) in videos.items()
    ]
    annotations = [
        {
            "id": place,
            "video_id": item.video,
            "category_id": item.category,
            "iscrowd": int(item.is_crowd),
            "segmentations": segmentations(item.masks),
            "areas": [int(mask.sum()) if mask.any() else None for mask in item.masks],
            "bboxes": [None for _ in item.masks],
        }
        for place, item in enumerate(objects, start=1)
    ]
    categories = [{"id": number, "name": str(number)} for number in (3, 1, 2)]
    return {"videos": listed, "categories": categories, "annotations": annotations}


def results(detections: Sequence[DenseTube]) -> list[dict[str, Any]]:
    return [
        {
            "video_id": item.video,
            "category_id": item.category,
            "score": item.score,
            "segmentations": segmentations(item.masks),
        }
        for item in detections
    ]


def segmentations(masks: np.ndarray) -> list[Any]:
    return [dict(encode_rle(mask)) if mask.any() else None for mask in masks]


def box(shape: tuple[int, int, int], top: int, left: int, height: int, width: int) -> np.ndarray:
    """Return masks (T, H, W) of a box that stands still."""
    masks = np.zeros(shape, dtype=bool)
    masks[:, top : top + height, left : left + width] = True
    return masks


def write_indexed(folder: Path, labels: np.ndarray) -> Path:
    """Write (T, H, W) numbers as palette PNG."""
    folder.mkdir(parents=True, exist_ok=True)
    for frame, picture in enumerate(labels):
        image = Image.fromarray(picture, mode="P")
        image.putpalette([value for value in range(256) for _ in range(3)])
        image.save(folder / f"{frame:05d}.png")
    return folder
