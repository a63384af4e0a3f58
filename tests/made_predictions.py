"""Predictions made of dense masks, as `flowcut predict` writes them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from conftest import write_frames

from flowcut_napari.core.masks import encode_rle
from flowcut_napari.core.video import Video, open_video

SIZE = (48, 64)


def made_video(folder: Path, count: int = 4, name: str = "clip") -> Video:
    return open_video(write_frames(folder / name, count, SIZE))


def box(top: int, left: int, height: int, width: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Return a mask (H, W) bool of a box."""
    mask = np.zeros(size, dtype=bool)
    mask[top : top + height, left : left + width] = True
    return mask


def write_prediction(
    folder: Path,
    video: Video,
    tracks: Sequence[tuple[float, Sequence[np.ndarray | None]]],
    frames: Sequence[int] | None = None,
    number: int = 1,
    **about: Any,
) -> Path:
    """Write (score, masks) tracks of a video; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    indices = range(len(video)) if frames is None else frames
    files = [f"{video.name}/{video.frame_file(index) or f'{index:05d}.jpg'}" for index in indices]
    results = [
        {
            "video_id": number,
            "category_id": 1,
            "score": score,
            "segmentations": [None if mask is None else dict(encode_rle(mask)) for mask in masks],
        }
        for score, masks in tracks
    ]
    listed = {"id": number, "name": video.name, "width": video.width, "height": video.height, "length": len(files)}
    (folder / "results.json").write_text(json.dumps(results))
    (folder / "videos.json").write_text(json.dumps({"videos": [{**listed, "file_names": files}], "annotations": []}))
    summary = {"id": number, "name": video.name, "path": str(video.path), "seconds": 0.5, "windows": None}
    document = {
        "schema": "flowcut.prediction/1",
        "format": "ytvis",
        "videos": [summary],
        "model": {"file": "/runs/a/model.safetensors", "step": 7},
        **about,
    }
    (folder / "prediction.json").write_text(json.dumps(document))
    return folder


def change(path: Path, **values: Any) -> None:
    """Change names of a JSON object in a file."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def change_result(folder: Path, place: int = 0, **values: Any) -> None:
    """Change names of one result."""
    results = json.loads((folder / "results.json").read_text())
    results[place] = {**results[place], **values}
    (folder / "results.json").write_text(json.dumps(results))
