"""Draw the pictures of the README and of docs/curation.md from the bundled clip."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from flowcut_napari.core import (
    CutParameters,
    ExportPlan,
    export_dataset,
    find_masks,
    flow_picture,
    open_video,
    sample,
    save_masks,
    segment_frame,
    segment_video,
)
from flowcut_napari.core.models import ModelPlan
from flowcut_napari.core.preview import dataset_sheet, overlay
from flowcut_napari.core.refine import upsample_mask
from flowcut_napari.core.video import Video

HERE = Path(__file__).resolve().parent
FRAME = 0
CELL = (480, 270)
MARGIN, CAPTION = 12, 30
PAPER, INK = (24, 26, 31), (232, 234, 237)


def main() -> None:
    """Write docs/images/story.png and docs/images/dataset.png."""
    parameters = CutParameters.preset("handmade").with_changes(alpha=0.8, gap=4, max_instances=2, max_eigenvalue=1.0)
    video = open_video(f"{sample.sample_folder()}::{sample.NAME}")
    draw_story(video, parameters)
    draw_dataset(video, parameters)


def draw_dataset(video: Video, parameters: CutParameters) -> None:
    """Draw some clips of the dataset that the demo makes."""
    with tempfile.TemporaryDirectory() as temporary:
        masks, dataset = Path(temporary) / "masks", Path(temporary) / "dataset"
        save_masks(segment_video(video, parameters, workers=2), masks / f"{video.name}.masks.json")
        export_dataset(find_masks([masks]), dataset, ExportPlan())
        sheet = dataset_sheet(dataset, most=4, cell_width=360).quantize(200)
        sheet.save(HERE / "images" / "dataset.png", optimize=True)


def draw_story(video: Video, parameters: CutParameters) -> None:
    """Draw the way from a frame to its masks in six pictures."""
    description = next(ModelPlan.make(parameters, device="cpu").build().describe(video, [FRAME]))
    masks = segment_frame(description, parameters)
    assert description.flow is not None
    pictures = {
        f"frame {FRAME}": description.picture,
        f"flow picture, {FRAME} to {description.partner}": flow_picture(description.flow, min_magnitude=1),
    }
    for cut in masks.cuts:
        pictures[f"cut {cut.iteration}: eigenvector and seed"] = eigenvector_picture(cut.eigenvector, cut.seed)
    pictures["the cuts, before the CRF"] = cut_picture(description.picture, [cut.mask for cut in masks.cuts])
    pictures["pseudo-masks"] = overlay(video[FRAME], masks)
    sheet(pictures).save(HERE / "images" / "story.png", optimize=True)


def eigenvector_picture(vector: np.ndarray, seed: tuple[int, int]) -> np.ndarray:
    """Return an eigenvector in blue (background) to white (the mean) to red (object), its seed marked."""
    centred = vector - vector.mean()
    share = np.clip(centred / np.percentile(np.abs(centred), 99), -1, 1)[..., None]
    red, blue, white = (np.array(colour, dtype=float) for colour in ((178, 24, 43), (33, 102, 172), (247, 247, 247)))
    colours = np.where(share > 0, white + share * (red - white), white - share * (blue - white))
    rows, cols = vector.shape
    picture = Image.fromarray(colours.astype(np.uint8)).resize((cols * 16, rows * 16), Image.Resampling.NEAREST)
    y, x = (16 * place + 8 for place in seed)
    ImageDraw.Draw(picture).ellipse((x - 9, y - 9, x + 9, y + 9), outline=(20, 20, 20), width=4)
    return np.asarray(picture)


def cut_picture(frame: np.ndarray, masks: list[np.ndarray]) -> np.ndarray:
    """Return the frame, grey where no cut is."""
    inside = np.any([upsample_mask(mask, *frame.shape[:2]) for mask in masks], axis=0)[..., None]
    grey = frame.mean(axis=2, keepdims=True) * 0.45 + 30
    return np.where(inside, frame, grey).astype(np.uint8)


def sheet(pictures: dict[str, np.ndarray], columns: int = 3) -> Image.Image:
    """Return the pictures in rows, each under its caption."""
    width, height = CELL
    rows = -(-len(pictures) // columns)
    result = Image.new("RGB", (MARGIN + columns * (width + MARGIN), MARGIN + rows * (height + CAPTION + MARGIN)), PAPER)
    draw = ImageDraw.Draw(result)
    font = ImageFont.load_default(18)
    for place, (caption, picture) in enumerate(pictures.items()):
        left = MARGIN + place % columns * (width + MARGIN)
        top = MARGIN + place // columns * (height + CAPTION + MARGIN)
        draw.text((left + 2, top), caption, INK, font)
        result.paste(Image.fromarray(picture).resize(CELL, Image.Resampling.LANCZOS), (left, top + CAPTION - 4))
    return result


if __name__ == "__main__":
    main()
