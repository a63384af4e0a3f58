"""The story of a frame as small pictures and sentences; arrays and text, no Qt."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from flowcut_napari.core.masks import decode_rle
from flowcut_napari.core.ncut import Cut
from flowcut_napari.core.parameters import CutParameters
from flowcut_napari.core.preview import COLOURS
from flowcut_napari.core.pseudo_masks import FrameMasks
from flowcut_napari.core.refine import upsample_mask
from flowcut_napari.core.story import tell_cut, tell_mask, tell_stop
from flowcut_napari.viewer.frame_results import FrameAnswer
from flowcut_napari.viewer.layer_styles import diverging_picture
from flowcut_napari.viewer.lazy_arrays import scaled

_OPACITY = 0.55


@dataclass(frozen=True)
class StoryRow:
    """One iteration: its eigenvector with the seed, its cut, its mask, each (h, w, 3) uint8, and what to say of it.

    `is_kept` says whether a mask came of it; None while it is still being refined.
    """

    iteration: int
    eigenvector: np.ndarray
    cut: np.ndarray
    mask: np.ndarray | None
    numbers: str
    verdict: str
    is_kept: bool | None


@dataclass(frozen=True)
class Story:
    """All of a frame: the rows, why they end, and all masks in one picture (h, w, 3) uint8 once they are refined."""

    rows: tuple[StoryRow, ...]
    stop: str
    masks: np.ndarray | None


def thumbnail(picture: np.ndarray, width: int) -> np.ndarray:
    """Return a picture (H, W, 3) uint8 in a small size of the same shape."""
    height = max(1, round(picture.shape[0] * width / picture.shape[1]))
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2.0))


def tell_story(
    answer: FrameAnswer, masks: FrameMasks | None, small_frame: np.ndarray, parameters: CutParameters
) -> Story:
    """Draw and tell the cuts of a frame.

    Parameters
    ----------
    answer : FrameAnswer
    masks : FrameMasks or None
        None while they are still being refined.
    small_frame : (h, w, 3) uint8
        The frame in the size of the pictures.
    parameters : CutParameters
    """
    height, width = small_frame.shape[:2]
    small_masks = {}
    for instance in masks.instances if masks else ():
        if instance.iteration is not None:
            small_masks[instance.iteration] = _shrunk(decode_rle(instance.segmentation), height, width)
    accepted = {cut.iteration for cut in answer.result.cuts}
    rows = []
    for cut in answer.cuts():
        number = cut.iteration
        if number not in accepted:
            verdict, is_kept, picture = "refused, see below", False, None
        elif masks is None:
            verdict, is_kept, picture = "refining …", None, None
        else:
            verdict, is_kept = tell_mask(masks, number, parameters), number in small_masks
            picture = _overlay(small_frame, small_masks[number], number) if is_kept else None
        rows.append(
            StoryRow(
                iteration=number,
                eigenvector=_eigenvector_picture(cut, height, width),
                cut=_overlay(small_frame, upsample_mask(cut.raw_mask, height, width), number),
                mask=picture,
                numbers=tell_cut(cut),
                verdict=verdict,
                is_kept=is_kept,
            )
        )
    together = None if masks is None else _overlays(small_frame, small_masks)
    return Story(tuple(rows), tell_stop(answer.result, parameters), together)


def _eigenvector_picture(cut: Cut, height: int, width: int) -> np.ndarray:
    picture = upsample_patches(diverging_picture(scaled(cut.eigenvector)), height, width)
    mark_patch(picture, cut.seed, cut.eigenvector.shape)
    return picture


def _overlays(frame: np.ndarray, masks: dict[int, np.ndarray]) -> np.ndarray:
    picture = frame.copy()
    for number, mask in masks.items():
        colour = np.array(COLOURS[(number - 1) % len(COLOURS)], np.float32)
        picture[mask] = ((1 - _OPACITY) * picture[mask] + _OPACITY * colour).astype(np.uint8)
    return picture


def _overlay(frame: np.ndarray, mask: np.ndarray, number: int) -> np.ndarray:
    picture = _overlays(frame, {number: mask})
    # What is not in it steps back, so that a small mask is found at once.
    picture[~mask] = picture[~mask] // 3 * 2
    return picture


def _shrunk(mask: np.ndarray, height: int, width: int) -> np.ndarray:
    rows = ((np.arange(height) + 0.5) * mask.shape[0] / height).astype(int)
    cols = ((np.arange(width) + 0.5) * mask.shape[1] / width).astype(int)
    return mask[rows[:, None], cols]


def upsample_patches(patches: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return a picture of patches (rows, cols, 3) in pixels (height, width, 3), nearest neighbour."""
    rows = (np.arange(height) * patches.shape[0]) // height
    cols = (np.arange(width) * patches.shape[1]) // width
    return patches[rows[:, None], cols]


def mark_patch(
    picture: np.ndarray,
    patch: tuple[int, int],
    grid: tuple[int, ...],
    colour: tuple[int, int, int] = (255, 255, 255),
) -> None:
    """Draw a frame around a patch of a grid (rows, cols), in place."""
    height, width = picture.shape[:2]
    top, bottom = (round(edge * height / grid[0]) for edge in (patch[0], patch[0] + 1))
    left, right = (round(edge * width / grid[1]) for edge in (patch[1], patch[1] + 1))
    inner = picture[top:bottom, left:right].copy()
    picture[max(0, top - 1) : bottom + 1, max(0, left - 1) : right + 1] = colour
    picture[top:bottom, left:right] = inner
