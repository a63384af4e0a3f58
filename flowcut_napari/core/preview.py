"""Pictures of results: overlays of masks on frames, contact sheets of a video and of a dataset."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from flowcut_napari.core.files import write_atomically
from flowcut_napari.core.images import read_rgb
from flowcut_napari.core.json_stream import read_items
from flowcut_napari.core.masks import Rle, decode_rle
from flowcut_napari.core.pseudo_masks import FrameMasks
from flowcut_napari.core.store import VideoMasks
from flowcut_napari.core.video import Video, frames_folder

# Hues that stand out from most pictures and from each other.
COLOURS = (
    (255, 45, 140),
    (0, 190, 255),
    (150, 235, 40),
    (255, 190, 0),
    (165, 95, 255),
    (0, 225, 170),
    (255, 100, 50),
    (90, 130, 255),
    (255, 150, 190),
    (190, 160, 80),
    (60, 160, 60),
    (230, 230, 110),
    (200, 60, 220),
    (150, 210, 240),
)
_PAPER = (24, 26, 31)
_INK = (232, 234, 237)
_FAINT = (150, 154, 162)


def overlay(frame: np.ndarray, masks: FrameMasks, opacity: float = 0.45) -> np.ndarray:
    """Draw the masks of a frame over it, each in the colour of its id with a light outline; (H, W, 3) uint8."""
    return paint_masks(frame, [(instance.id, instance.mask) for instance in masks.instances], opacity)


def paint_masks(frame: np.ndarray, masks: Sequence[tuple[int, np.ndarray]], opacity: float = 0.45) -> np.ndarray:
    """Draw masks (H, W) bool over a frame (H, W, 3) uint8, each in the colour of its number, from 1, outlined."""
    picture = frame.astype(np.float32)
    width = max(1, round(frame.shape[0] / 240))
    for number, mask in masks:
        colour = np.array(COLOURS[(number - 1) % len(COLOURS)], dtype=np.float32)
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
    # A strip one pixel wide must not become a sheet a million pixels high.
    cell_height = min(max(1, round(cell_width * video.height / video.width)), 4 * cell_width)
    cells = []
    for frame in _evenly(masks.frames, most):
        picture = Image.fromarray(overlay(video[frame.index], frame))
        cell = picture.resize((cell_width, cell_height), Image.Resampling.LANCZOS)
        cells.append(_Cell(cell, f"frame {frame.index}", _remark(frame)))
    return _sheet(masks.video.name, _how(masks), cells, columns)


def dataset_sheet(folder: Path, *, most: int = 12, columns: int = 2, cell_width: int = 400) -> Image.Image:
    """Return one picture of evenly spaced clips of a YouTube-VIS dataset, frames side by side, as they are exported.

    Parameters
    ----------
    folder : Path
        With ``annotations.json`` and the frames; of long clips the first, middle and last frame are shown.
    most : int
        Clips shown.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    path = folder / "annotations.json"
    total = sum(name == "videos" for name, _ in read_items(path))
    places = {round(place) for place in np.linspace(0, total - 1, min(most, total))}
    chosen: dict[int, dict[str, Any]] = {}
    tracks: dict[int, list[list[Rle | None]]] = {}
    seen = 0
    for name, item in read_items(path):
        if name == "videos":
            if seen in places:
                chosen[item["id"]] = item
            seen += 1
        elif name == "annotations" and item["video_id"] in chosen:
            tracks.setdefault(item["video_id"], []).append(item["segmentations"])
    cells = []
    for number, video in chosen.items():
        strip = _strip(video, tracks.get(number, []), frames_folder(path, video["file_names"][0]), cell_width)
        files = [PurePosixPath(file) for file in video["file_names"]]
        count = len(tracks.get(number, []))
        stems = ", ".join(file.stem for file in files[:3]) + (" …" if len(files) > 3 else "")
        cells.append(_Cell(strip, f"{files[0].parent}: {stems}", f"{count} instance{'s' if count != 1 else ''}"))
    words = f"{len(cells)} of {total} clips; one colour is one instance of a clip"
    return _sheet(folder.name, words, cells, min(columns, len(cells)))


def stages_sheet(
    title: str,
    words: str,
    headings: Sequence[str],
    rows: Sequence[tuple[str, np.ndarray, Sequence[Sequence[tuple[int, np.ndarray]]]]],
    *,
    cell_width: int = 400,
) -> Image.Image:
    """Return one picture in which each row is a frame and each column a stage: what it says of that frame.

    Parameters
    ----------
    title, words : str
        The heading, and a line below it.
    headings : sequence of str
        Of the columns.
    rows : sequence of (str, (H, W, 3) uint8 array, sequence of masks)
        The name of a frame, the frame, and for every column its masks: pairs of a number, which is its colour, and a
        mask (H, W) bool.
    cell_width : int
        Pixels.
    """
    cells = []
    for name, frame, columns in rows:
        height = min(max(1, round(cell_width * frame.shape[0] / frame.shape[1])), 4 * cell_width)
        for heading, masks in zip(headings, columns, strict=True):
            picture = Image.fromarray(paint_masks(frame, masks)).resize((cell_width, height), Image.Resampling.LANCZOS)
            cells.append(_Cell(picture, heading, name))
    return _sheet(title, words, cells, len(headings))


def save_picture(picture: Image.Image, path: Path) -> None:
    """Write a PNG whole or not at all.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    content = io.BytesIO()
    picture.save(content, "PNG")
    write_atomically(path, content.getvalue())


@dataclass(frozen=True)
class _Cell:
    picture: Image.Image
    left: str
    right: str


def _sheet(title: str, words: str, cells: Sequence[_Cell], columns: int) -> Image.Image:
    """Return pictures in rows, each with a line of text below, under a heading."""
    columns = min(columns, max(1, len(cells)))
    margin, caption, header = 14, 26, 84
    width = max((cell.picture.width for cell in cells), default=400)
    height = max((cell.picture.height for cell in cells), default=0)
    rows = -(-len(cells) // columns)
    size = (margin + columns * (width + margin), header + rows * (height + caption + margin))
    sheet = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(sheet)
    large, text, small = (ImageFont.load_default(points) for points in (26, 16, 15))
    draw.text((margin, 12), title, _INK, large)
    draw.text((margin, 48), words, _FAINT, text)
    for place, cell in enumerate(cells):
        left = margin + place % columns * (width + margin)
        top = header + place // columns * (height + caption + margin)
        sheet.paste(cell.picture, (left, top))
        draw.text((left, top + height + 5), cell.left, _INK, small)
        draw.text((left + width - draw.textlength(cell.right, small), top + height + 5), cell.right, _FAINT, small)
    return sheet


def _strip(video: dict[str, Any], tracks: Sequence[Sequence[Rle | None]], root: Path, width: int) -> Image.Image:
    """Return frames of a clip side by side with the masks of its instances."""
    last = video["length"] - 1
    shown = sorted({0, last // 2 if last > 1 else 0, last})
    height = min(max(1, round(width * video["height"] / video["width"])), 4 * width)
    strip = Image.new("RGB", (len(shown) * (width + 2) - 2, height), _PAPER)
    for place, frame in enumerate(shown):
        masks = [(number, decode_rle(rle)) for number, track in enumerate(tracks, start=1) if (rle := track[frame])]
        picture = Image.fromarray(paint_masks(read_rgb(root / video["file_names"][frame]), masks))
        strip.paste(picture.resize((width, height), Image.Resampling.LANCZOS), (place * (width + 2), 0))
    return strip


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
    reasons = {
        "crf_iou": "refused by the CRF",
        "duplicate": "then a duplicate",
        "too_small": "then too small",
        "weak": "then too weak",
    }
    why = [reasons[rejected.reason] for rejected in frame.rejected if rejected.reason in reasons]
    return ", ".join([text, *why[:1]])


def _evenly(frames: Sequence[FrameMasks], most: int) -> list[FrameMasks]:
    if len(frames) <= most:
        return list(frames)
    return [frames[round(place)] for place in np.linspace(0, len(frames) - 1, most)]
