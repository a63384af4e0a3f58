"""Datasets of clips whose masks can be told from the colours of their frames."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from flowcut_napari.core.masks import encode_rle

GROUND = (20, 30, 40)
# Of the first and the second object of a clip: one is red, the other green.
COLOURS = ((220, 30, 40), (20, 210, 40))


def ellipse(size: tuple[int, int], centre: tuple[float, float], radii: tuple[float, float]) -> np.ndarray:
    """Return a mask (H, W) bool."""
    mask = np.zeros(size, dtype=np.uint8)
    cv2.ellipse(mask, (round(centre[0]), round(centre[1])), (round(radii[0]), round(radii[1])), 20, 0, 360, 1, -1)
    return mask.astype(bool)


def painted(masks: Sequence[np.ndarray | None], size: tuple[int, int]) -> np.ndarray:
    """Return a frame (H, W, 3) uint8 with each mask in its colour."""
    frame = np.full((*size, 3), GROUND, dtype=np.uint8)
    for mask, colour in zip(masks, COLOURS, strict=False):
        if mask is not None:
            frame[mask] = colour
    return frame


def seen(frame: np.ndarray, number: int) -> np.ndarray:
    """Return the mask of an object as it is seen in a frame (H, W, 3): half-way between its colour and the ground."""
    channel = 0 if number == 0 else 1
    return frame[..., channel] > (GROUND[channel] + COLOURS[number][channel]) / 2


def write_dataset(
    folder: Path, lengths: Sequence[int], size: tuple[int, int] = (48, 64), suffix: str = ".png", frames: str = "frames"
) -> Path:
    """Write clips of these lengths with two objects, the second of which is not in the first frame."""
    videos, annotations = [], []
    height, width = size
    for number, length in enumerate(lengths, start=1):
        name = f"vidéo{number}"
        (folder / frames / name).mkdir(parents=True)
        tracks: list[list[np.ndarray | None]] = [[], []]
        for place in range(length):
            left = width * (0.25 + 0.05 * ((number + place) % 3))
            first = ellipse(size, (left, height * 0.4), (width * 0.15, height * 0.2))
            second = None if place == 0 else ellipse(size, (width * 0.7, height * 0.6), (width * 0.15, height * 0.2))
            for track, mask in zip(tracks, (first, second), strict=True):
                track.append(mask)
            Image.fromarray(painted((first, second), size)).save(folder / frames / name / f"{place:05d}{suffix}")
        files = [f"{name}/{place:05d}{suffix}" for place in range(length)]
        videos.append({"id": number, "width": width, "height": height, "length": length, "file_names": files})
        for track in tracks:
            if any(mask is not None for mask in track):
                codes = [None if mask is None else encode_rle(mask) for mask in track]
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "video_id": number,
                        "category_id": 1,
                        "iscrowd": 0,
                        "segmentations": codes,
                        "areas": [None if mask is None else int(mask.sum()) for mask in track],
                        "bboxes": [None if mask is None else [0, 0, 1, 1] for mask in track],
                    }
                )
    document = {"videos": videos, "categories": [{"id": 1, "name": "fg"}], "annotations": annotations}
    (folder / "annotations.json").write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
    return folder


def write_stills(folder: Path, count: int, size: tuple[int, int] = (48, 64), polygons: bool = False) -> Path:
    """Write still images with the first object, as a COCO json and images beside it; return the json."""
    (folder / "JPEGImages").mkdir(parents=True)
    images, annotations = [], []
    height, width = size
    for number in range(1, count + 1):
        left, top = 4 + number % 8, 10
        mask = np.zeros(size, dtype=bool)
        mask[top : top + 20, left : left + 30] = True
        Image.fromarray(painted((mask,), size)).save(folder / "JPEGImages" / f"{number}.png")
        images.append({"id": number, "width": width, "height": height, "file_name": f"{number}.png"})
        corners = [left, top, left + 30, top, left + 30, top + 20, left, top + 20]
        annotations.append(
            {
                "id": number,
                "image_id": number,
                "category_id": 1,
                "segmentation": [corners] if polygons else encode_rle(mask),
            }
        )
    path = folder / "stills.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations}))
    return path


def edit(folder: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """Change the json of a dataset (its folder, or the json) in place, and return what was given."""
    path = folder / "annotations.json" if folder.is_dir() else folder
    document = json.loads(path.read_text(encoding="utf-8"))
    change(document)
    path.write_text(json.dumps(document), encoding="utf-8")
    return folder
