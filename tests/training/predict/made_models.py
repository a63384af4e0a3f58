"""Models for tests of prediction: tiny ones with random weights, and one that sees colours."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from conftest import write_frames
from torch import Tensor

from flowcut_training.config import ModelParameters, load_config
from flowcut_training.model.video_mask2former import Predictions, VideoMask2Former
from flowcut_training.weight_files import About, build_model, write_model

TINY: ModelParameters = load_config("tiny").model
# Red, green and blue things; a query each, the best score first.
COLOURS = ((250, 20, 20), (20, 250, 20), (20, 20, 250))
SCORES = (0.9, 0.7, 0.2)
YTVIS_FILES = ["prediction.json", "results.json", "videos.json"]


def tiny_model(seed: int = 0) -> VideoMask2Former:
    torch.manual_seed(seed)
    return build_model(TINY).eval()


def write_tiny(path: Path, seed: int = 0, short_side: int | None = 64, max_side: int | None = 128) -> Path:
    about = About(model=TINY, short_side=short_side, max_side=max_side, step=7)
    write_model(path, tiny_model(seed).state_dict(), about)
    return path


@dataclass
class ArrayFrames:
    """Frames (T, H, W, 3) in memory, with a list of those that were read."""

    frames: np.ndarray

    def __post_init__(self) -> None:
        self.length, self.height, self.width = self.frames.shape[:3]
        self.read: list[int] = []

    def frame(self, place: int, /) -> np.ndarray:
        self.read.append(place)
        return self.frames[place]


def random_frames(length: int, height: int, width: int, seed: int = 3) -> ArrayFrames:
    random = np.random.default_rng(seed)
    return ArrayFrames(random.integers(0, 256, (length, height, width, 3), dtype=np.uint8))


def coloured_frames(length: int, side: int = 64) -> ArrayFrames:
    """Return frames in which a red, a green and a blue square go their ways; the green one only comes half-way."""
    frames = np.full((length, side, side, 3), 20, dtype=np.uint8)
    edge = side // 4
    for place in range(length):
        for number, colour in enumerate(COLOURS):
            if number == 1 and place < length // 2:
                continue
            left = (place + 8 * number) % (side - edge)
            top = number * (side // 3)
            frames[place, top : top + edge, left : left + edge] = colour
    return ArrayFrames(frames)


class ColourModel(VideoMask2Former):
    """Finds things by their colour, each frame for itself, so that windows must give what the whole video gives.

    Attributes
    ----------
    lengths : list of int
        Frames of each clip that was decoded.
    room : int
        With more frames at once it runs out of memory.
    shift : float
        How far scores fall from one call of `decode` to the next.
    """

    def __init__(self, room: int = 10**6, shift: float = 0.0) -> None:
        super().__init__(**{**TINY.model_dump(), "num_queries": len(COLOURS)})
        self.room, self.shift = room, shift
        self.lengths: list[int] = []

    def encode(self, frames: Tensor) -> tuple[Tensor, list[Tensor]]:
        smaller = F.avg_pool2d(frames, 4)
        return smaller, [F.avg_pool2d(frames, stride) for stride in (32, 16, 8)]

    def decode(self, mask_features: Tensor, levels: list[Tensor], *, auxiliary: bool = True) -> Predictions:
        length = mask_features.shape[1]
        if length > self.room:
            raise torch.OutOfMemoryError(f"no room for {length} frames")
        scores = torch.tensor(SCORES) - self.shift * len(self.lengths)
        self.lengths.append(length)
        channel = mask_features[0]
        masks = torch.stack([channel[:, k] - channel.sum(1) + channel[:, k] for k in range(3)])
        return {
            "pred_logits": torch.stack((scores, 1 - scores), dim=1).log()[None],
            "pred_masks": masks[None] - 3,  # dark ground is about 1.4, black less than 2, a thing above 5
            "aux_outputs": [],
        }


def write_json(folder: Path, lengths: Mapping[int, int], size: tuple[int, int] = (48, 64), **more: Any) -> Path:
    """Write a YouTube-VIS json of videos by id, each frame with one object over all of it; return the folder."""
    videos, annotations = [], []
    height, width = size
    for number, length in lengths.items():
        write_frames(folder / "JPEGImages" / f"v{number}", length, size)
        files = [f"v{number}/{place:05d}.png" for place in range(length)]
        videos.append({"id": number, "width": width, "height": height, "length": length, "file_names": files, **more})
        code = {"size": [height, width], "counts": [0, height * width]}
        about = {
            "id": len(videos),
            "video_id": number,
            "category_id": 1,
            "iscrowd": 0,
            "segmentations": [code] * length,
        }
        boxes = [[0, 0, width, height]] * length
        annotations.append({**about, "areas": [height * width] * length, "bboxes": boxes})
    document = {"videos": videos, "categories": [{"id": 1, "name": "fg"}], "annotations": annotations}
    (folder / "annotations.json").write_text(json.dumps(document))
    return folder


def results(out: Path) -> list[dict[str, Any]]:
    return json.loads((out / "results.json").read_text())


def about(out: Path) -> dict[str, Any]:
    return json.loads((out / "prediction.json").read_text())
