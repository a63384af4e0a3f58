"""Pictures of results: overlays of masks on frames, and a contact sheet of a video."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from flowcut_napari.core.pseudo_masks import FrameMasks
from flowcut_napari.core.store import VideoMasks
from flowcut_napari.core.video import Video

# Hues that stand out from most pictures and from each other.
COLOURS = ((255, 45, 140), (0, 190, 255), (150, 235, 40), (255, 190, 0), (165, 95, 255), (0, 225, 170), (255, 100, 50))
_PAPER = (24, 26, 31)
_INK = (232, 234, 237)
_FAINT = (150, 154, 162)


def overlay(frame: np.ndarray, masks: FrameMasks, opacity: float = 0.45) -> np.ndarray:
    """Draw the masks of a frame over it, each in the colour of its id with a light outline; (H, W, 3) uint8."""
    picture = frame.astype(np.float32)
    width = max(1, round(frame.shape[0] / 240))
    for instance in masks.instances:
        mask = instance.mask
        colour = np.array(COLOURS[(instance.id - 1) % len(COLOURS)], dtype=np.float32)
        picture[mask] = (1 - opacity) * picture[mask] + opacity * colour
        outline = mask & ~ndimage.binary_erosion(mask, iterations=width, border_value=1)
        picture[outline] = 0.4 * colour + 0.6 * 255
    return picture.round().astype(np.uint8)


def save_overlays(video: Video, masks: VideoMasks, folder: Path) -> list[Path]:
    """Write one overlay a frame as ``00000.png``, ... into `folder` and return their paths.

    They replace those of an earlier run all together, so that the folder never mixes two results.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as temporary:
        made = []
        for frame in masks.frames:
            path = Path(temporary) / f"{frame.index:05d}.png"
            Image.fromarray(overlay(video[frame.index], frame)).save(path)
            made.append(path)
        folder.mkdir(exist_ok=True)
        for old in folder.glob("[0-9][0-9][0-9][0-9][0-9]*.png"):
            old.unlink()
        return [path.replace(folder / path.name) for path in made]


def contact_sheet(
    video: Video, masks: VideoMasks, *, most: int = 20, columns: int = 4, cell_width: int = 400
) -> Image.Image:
    """Return one picture of evenly spaced frames with their masks, under a line that says how they were made."""
    chosen = _evenly(masks.frames, most)
    columns = min(columns, max(1, len(chosen)))
    # A strip one pixel wide must not become a sheet a million pixels high.
    cell_height = min(max(1, round(cell_width * video.height / video.width)), 4 * cell_width)
    margin, caption, header = 14, 26, 84
    rows = -(-len(chosen) // columns)
    size = (
        margin + columns * (cell_width + margin),
        header + rows * (cell_height + caption + margin),
    )
    sheet = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(sheet)
    title, text, small = (ImageFont.load_default(points) for points in (26, 16, 15))
    draw.text((margin, 12), masks.video.name, _INK, title)
    draw.text((margin, 48), _how(masks), _FAINT, text)
    for place, frame in enumerate(chosen):
        left = margin + place % columns * (cell_width + margin)
        top = header + place // columns * (cell_height + caption + margin)
        cell = Image.fromarray(overlay(video[frame.index], frame))
        sheet.paste(cell.resize((cell_width, cell_height), Image.Resampling.LANCZOS), (left, top))
        draw.text((left, top + cell_height + 5), f"frame {frame.index}", _INK, small)
        remark = _remark(frame)
        draw.text((left + cell_width - draw.textlength(remark, small), top + cell_height + 5), remark, _FAINT, small)
    return sheet


def _how(masks: VideoMasks) -> str:
    chosen = masks.parameters
    motion = (
        f"{chosen.flow.replace('dis', 'DIS').replace('raft', 'RAFT')} flow, gap {chosen.gap}"
        if chosen.uses_flow
        else "no flow"
    )
    crf = "CRF" if masks.provenance.get("crf") else "no CRF"
    return f"{chosen.features} features, {motion}, alpha {chosen.alpha:g}, tau {chosen.tau:g}, {crf}"


def _remark(frame: FrameMasks) -> str:
    found = len(frame.instances)
    text = "no mask" if found == 0 else f"{found} mask{'s' if found > 1 else ''}"
    reasons = {"crf_iou": "refused by the CRF", "duplicate": "then a duplicate", "too_small": "then too small"}
    why = [reasons[rejected.reason] for rejected in frame.rejected if rejected.reason in reasons]
    return ", ".join([text, *why[:1]])


def _evenly(frames: Sequence[FrameMasks], most: int) -> list[FrameMasks]:
    if len(frames) <= most:
        return list(frames)
    return [frames[round(place)] for place in np.linspace(0, len(frames) - 1, most)]
