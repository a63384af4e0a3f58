"""Masks of videos made without cutting anything: each frame a picture of letters, each letter an instance."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from conftest import write_frames

from flowcut_napari.core import CutParameters, open_video, save_masks
from flowcut_napari.core.pseudo_masks import FrameMasks, Instance
from flowcut_napari.core.store import VideoMasks, VideoRecord, masks_path

PROVENANCE = {"flowcut_napari": "0", "features": {"name": "handmade"}, "flow": {"name": "dis"}, "crf": None}


def of_masks(
    frames: Sequence[Mapping[int, np.ndarray]], name: str = "clip", size: tuple[int, int] = (1, 12), **record: Any
) -> VideoMasks:
    """Return the masks of a video whose frames have these instances, by id."""
    video = VideoRecord(**{**_record(name, size, len(frames)), **record})
    made = tuple(
        FrameMasks(
            index, None, "max_instances", tuple(Instance.of_mask(*item, "cut") for item in sorted(frame.items()))
        )
        for index, frame in enumerate(frames)
    )
    return VideoMasks(video, CutParameters.preset("handmade").with_changes(max_instances=1), PROVENANCE, made)


def of_letters(*frames: str, name: str = "clip") -> VideoMasks:
    """Return masks one pixel high: ``AAA.BB`` has instance 1 (A) of three pixels and 2 (B) of two."""
    pictures = [np.array([list(frame)]) for frame in frames]
    letters = [
        {ord(letter) - ord("A") + 1: picture == letter for letter in sorted(set(frame) - {"."})}
        for frame, picture in zip(frames, pictures, strict=True)
    ]
    return of_masks(letters, name, (1, len(frames[0])))


def write_clip(folder: Path, out: Path, count: int = 6, name: str = "clip") -> VideoMasks:
    """Write frames with a moving square, and the masks of the square and of a still one; return the masks."""
    height, width = 48, 64
    video = open_video(write_frames(folder / name, count, (height, width), suffix=".jpg"))
    frames = []
    for index in range(count):
        square, still = np.zeros((2, height, width), dtype=bool)
        square[16:32, 2 + 2 * index : 18 + 2 * index] = True
        still[40:46, 50:60] = True
        frames.append({1: square, 2: still})
    masks = of_masks(frames, name, (height, width), path=str(video.path), fingerprint=video.fingerprint())
    files = {index: f"{index:05d}.jpg" for index in range(count)}
    masks = VideoMasks(masks.video, masks.parameters, masks.provenance, masks.frames, files)
    save_masks(masks, masks_path(out, name))
    return masks


def write_long(folder: Path, out: Path, count: int = 1500) -> VideoMasks:
    """Write masks of a video whose frames take so long to be made JPEG that there is time to end it."""
    size = (240, 320)
    frames = write_frames(folder / "long", 20, size)
    for index in range(20, count):
        os.link(frames / f"{index % 20:05d}.png", frames / f"{index:05d}.png")
    square = np.zeros(size, dtype=bool)
    square[80:160, 100:180] = True
    video = open_video(frames)
    record = {"path": str(video.path), "fingerprint": video.fingerprint()}
    made = of_masks([{1: square}] * count, "long", size, **record)
    files = {index: f"{index:05d}.png" for index in range(count)}
    made = VideoMasks(made.video, made.parameters, made.provenance, made.frames, files)
    save_masks(made, out / "long.masks.json")
    return made


def _record(name: str, size: tuple[int, int], frames: int) -> dict[str, Any]:
    height, width = size
    return {
        "name": name,
        "path": f"/nowhere/{name}",
        "frames": frames,
        "height": height,
        "width": width,
        "fingerprint": name,
    }
