"""Resize, flip, brightness, contrast and rotation of a clip, frames and masks always together.

The order and the ranges are those of VideoCutLER's reference (METHOD 8.3). Resizing is torchvision's, which smooths
before it shrinks; the rest is OpenCV's, which takes a fifth of the time of torchvision's on a core.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torchvision.transforms.v2 import functional

from flowcut_training.data.parameters import DataParameters
from flowcut_training.data.samples import Sample
from flowcut_training.data.source import LoadedClip

# The middle of a rotation is drawn from these shares of height and width.
_MIDDLE = (0.4, 0.6)


@dataclass(frozen=True)
class FrameDraw:
    """What is done to a resized frame.

    Attributes
    ----------
    brightness, contrast : float
        Factors.
    angle : float
        Degrees anticlockwise.
    middle : (float, float)
        Of the rotation, (x, y) as shares of width and height.
    """

    brightness: float = 1.0
    contrast: float = 1.0
    angle: float = 0.0
    middle: tuple[float, float] = (0.5, 0.5)


@dataclass(frozen=True)
class ClipDraw:
    """What is done to a clip: mirrored or not, and something for each frame."""

    is_flipped: bool
    frames: tuple[FrameDraw, ...]


def draw_augmentation(
    parameters: DataParameters, frames: int, random: np.random.Generator, *, is_still: bool = False
) -> ClipDraw:
    """Draw the augmentation of a clip; all its frames share one unless `parameters` say per frame.

    Frames of a still are always changed each for itself: it is the only motion that they have.
    """
    per_frame = parameters.per_frame or is_still
    is_flipped = bool(random.random() < parameters.flip)

    def draw() -> FrameDraw:
        return FrameDraw(
            brightness=float(random.uniform(*parameters.brightness)),
            contrast=float(random.uniform(*parameters.contrast)),
            angle=float(random.uniform(-parameters.rotation, parameters.rotation)),
            middle=(float(random.uniform(*_MIDDLE)), float(random.uniform(*_MIDDLE))),
        )

    drawn = [draw() for _ in range(frames if per_frame else 1)]
    return ClipDraw(is_flipped, tuple(drawn) if per_frame else tuple(drawn * frames))


def draw_places(length: int, frames: int, random: np.random.Generator) -> list[int]:
    """Draw so many different frames of a clip, in order; the one frame of a still is repeated."""
    if length == 1:
        return [0] * frames
    return sorted(int(place) for place in random.choice(length, frames, replace=False))


def resized_size(height: int, width: int, short_side: int, max_side: int) -> tuple[int, int]:
    """Return (height, width) with the short side as wanted, less where the long side would become too long."""
    scale = min(short_side / min(height, width), max_side / max(height, width))
    return max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))


def augment(clip: LoadedClip, parameters: DataParameters, draw: ClipDraw, broken: tuple[str, ...] = ()) -> Sample:
    """Make a sample of a clip.

    Instances that are in no frame after that are dropped; those in some frames stay.

    Parameters
    ----------
    clip : LoadedClip
    parameters : DataParameters
    draw : ClipDraw
        Of as many frames as the clip has.
    broken : tuple of str
        Passed on to the sample.
    """
    height, width = clip.frames[0].shape[:2]
    size = resized_size(height, width, parameters.short_side, parameters.max_side)
    frames = np.empty((len(clip.frames), *size, 3), dtype=np.uint8)
    masks = np.zeros((len(clip.tracks), len(clip.frames), *size), dtype=bool)
    for place, (frame, how) in enumerate(zip(clip.frames, draw.frames, strict=True)):
        frames[place] = _changed_frame(resize_frame(frame, size), draw.is_flipped, how)
        for row, track in enumerate(clip.tracks):
            if (mask := track[place]) is not None:
                masks[row, place] = _turned(resize_mask(mask, size), draw.is_flipped, how, cv2.INTER_NEAREST)
    masks = masks[masks.any(axis=(1, 2, 3))]
    # The network's layout; a copy, because its rows are no longer beside each other.
    return Sample(
        torch.from_numpy(np.ascontiguousarray(frames.transpose(0, 3, 1, 2))), torch.from_numpy(masks), clip.name, broken
    )


def resize_frame(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize (H, W, 3) uint8 bilinearly, smoothed where it shrinks; to its own size it stays as it is."""
    # A view with the channels last: torchvision has a fast way for that.
    tensor = torch.from_numpy(_writable(frame)).permute(2, 0, 1)
    return functional.resize(tensor, list(size), antialias=True).permute(1, 2, 0).numpy()


def resize_mask(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize (H, W) uint8, 0 and 1, with the weights of the frames: a pixel is in where half of it or more is.

    Not the nearest pixel, because that shifts outlines by up to half a pixel against the smoothed frame and tears
    thin parts.
    """
    tensor = torch.from_numpy(np.ascontiguousarray(mask) * np.uint8(255))[None]
    return (functional.resize(tensor, list(size), antialias=True)[0] > 127).numpy().astype(np.uint8)


def _changed_frame(frame: np.ndarray, is_flipped: bool, how: FrameDraw) -> np.ndarray:
    return _turned(cv2.LUT(frame, _table(frame, how)), is_flipped, how, cv2.INTER_LINEAR)


def _table(frame: np.ndarray, how: FrameDraw) -> np.ndarray:
    """Return what becomes of each of the 256 values: brightness, clipped, then contrast about the mean, clipped."""
    bright = np.clip(np.arange(256) * how.brightness, 0, 255)
    # Over all channels at once.
    counts = cv2.calcHist([frame.reshape(len(frame), -1)], [0], None, [256], [0, 256]).reshape(-1)
    mean = float(bright @ counts) / frame.size
    return np.clip(np.rint(mean + (bright - mean) * how.contrast), 0, 255).astype(np.uint8)


def _turned(picture: np.ndarray, is_flipped: bool, how: FrameDraw, interpolation: int) -> np.ndarray:
    """Mirror, then rotate without growing; what comes from outside is 0."""
    if is_flipped:
        picture = cv2.flip(picture, 1)
    if how.angle == 0:
        return picture
    height, width = picture.shape[:2]
    # Places of OpenCV are those of the middles of pixels.
    middle = (how.middle[0] * width - 0.5, how.middle[1] * height - 0.5)
    matrix = cv2.getRotationMatrix2D(middle, how.angle, 1)
    return cv2.warpAffine(picture, matrix, (width, height), flags=interpolation, borderValue=0)


def _writable(frame: np.ndarray) -> np.ndarray:
    # torch warns of arrays that cannot be written to, though it only reads this one.
    return frame if frame.flags.writeable else frame.copy()
