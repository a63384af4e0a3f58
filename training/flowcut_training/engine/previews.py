"""Pictures of what a model in training sees: a few fixed clips every so often, so that one can watch it learn.

``previews/labels.jpg`` shows what it is trained on, ``previews/step-00000100.jpg`` what it predicts in the same frames.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from torch import device as Device

from flowcut_napari.core.clip_view import spread
from flowcut_napari.core.files import write_atomically
from flowcut_napari.core.masks import decode_rle
from flowcut_napari.core.preview import paint_masks
from flowcut_training.data import WholeClips
from flowcut_training.model.video_mask2former import VideoMask2Former
from flowcut_training.predict import PredictionParameters, predict_video

PREVIEWS = "previews"
LABELS = f"{PREVIEWS}/labels.jpg"
# The paper's for DAVIS; below it an instance is shown only if there is no better one, and faintly.
CERTAIN = 0.3
_MOST_INSTANCES, _MOST_FRAMES = 5, 3
# Of a frame in a picture, in pixels.
_HEIGHT, _LONGEST = 120, 480
_GAP, _CLIP_GAP = 2, 10
_OPACITY, _FAINT = 0.5, 0.2
_QUALITY = 85
_GROUND = (24, 26, 31)


@dataclass(frozen=True)
class _Shown:
    """An instance in the frames that are shown: masks (H, W) bool, None where it is not."""

    masks: Sequence[np.ndarray | None]
    opacity: float = _OPACITY


class Previews:
    """Draws the same clips again and again.

    Parameters
    ----------
    run : Path
        The run's folder.
    clips : WholeClips
        Few of them.
    parameters : PredictionParameters
        How the model predicts.
    device : torch.device
        Where the model is.
    """

    def __init__(self, run: Path, clips: WholeClips, parameters: PredictionParameters, device: Device) -> None:
        self._run, self._clips, self._device = run, clips, device
        self._parameters = parameters.model_copy(update={"top": _MOST_INSTANCES})

    def draw_labels(self) -> str:
        """Draw what the dataset says of the clips; return the name of the picture, relative to the run.

        Raises
        ------
        InputError
            If a clip cannot be read.
        OutputError
            If the picture cannot be written.
        """
        strips = []
        for number, clip in zip(self._clips.numbers, self._clips, strict=True):
            loaded = self._clips.source.load(number, spread(clip.length, _MOST_FRAMES))
            tracks = [
                _Shown([None if mask is None else mask.astype(bool) for mask in masks]) for masks in loaded.tracks
            ]
            strips.append(_strip(loaded.frames, tracks))
        return self._write(strips, LABELS)

    def draw(self, model: VideoMask2Former, step: int) -> str:
        """Draw what a model predicts; it is left in the mode that it was in. Returns and raises as `draw_labels`.

        Raises
        ------
        WeightsError
            If the model gives what is no number.
        """
        strips = []
        for clip in self._clips:
            places = spread(clip.length, _MOST_FRAMES)
            found = predict_video(model, clip, self._parameters, device=self._device).tracks
            certain = [track for track in found if track.score >= CERTAIN]
            opacity = _OPACITY if certain else _FAINT
            # Numbers in the order of the scores: the best one always has the same colour.
            tracks = [
                _Shown([None if (rle := track.masks[place]) is None else decode_rle(rle) for place in places], opacity)
                for track in (certain or found[:1])
            ]
            strips.append(_strip([clip.frame(place) for place in places], tracks))
        return self._write(strips, f"{PREVIEWS}/step-{step:08d}.jpg")

    def _write(self, strips: Sequence[Image.Image], name: str) -> str:
        width = sum(strip.width for strip in strips) + _CLIP_GAP * (len(strips) - 1)
        picture = Image.new("RGB", (width, _HEIGHT), _GROUND)
        left = 0
        for strip in strips:
            picture.paste(strip, (left, 0))
            left += strip.width + _CLIP_GAP
        content = io.BytesIO()
        picture.save(content, "JPEG", quality=_QUALITY)
        write_atomically(self._run / name, content.getvalue())
        return name


def _strip(frames: Sequence[np.ndarray], tracks: Sequence[_Shown]) -> Image.Image:
    """Return frames (H, W, 3) of a clip side by side with instances, the first of them on top."""
    height, width = frames[0].shape[:2]
    # What is very wide is pressed together, so that one clip never pushes the others out of sight.
    width = min(_LONGEST, max(1, round(_HEIGHT * width / height)))
    strip = Image.new("RGB", (len(frames) * (width + _GAP) - _GAP, _HEIGHT), _GROUND)
    for column, frame in enumerate(frames):
        for number, track in reversed(list(enumerate(tracks, 1))):
            if (mask := track.masks[column]) is not None:
                frame = paint_masks(frame, [(number, mask)], track.opacity)
        picture = Image.fromarray(frame).resize((width, _HEIGHT), Image.Resampling.LANCZOS)
        strip.paste(picture, (column * (width + _GAP), 0))
    return strip
