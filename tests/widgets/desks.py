"""Videos with made-up masks on the desk of a workbench without a window."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
from benches import open_bench
from conftest import write_frames
from made_masks import of_masks
from napari_window import wait_until

from flowcut_napari.core import load_masks, open_video, save_masks
from flowcut_napari.core.store import VideoMasks
from flowcut_napari.widgets.curate.desk import CurationDesk, curation_of

Frames = Mapping[int, Mapping[int, np.ndarray]]
SIZE = (48, 64)


def box(top: int, left: int, height: int, width: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Return a mask of a rectangle."""
    mask = np.zeros(size, bool)
    mask[top : top + height, left : left + width] = True
    return mask


def two_objects(count: int, step: int = 1) -> Frames:
    """Return two squares that move slowly, on every `step`-th frame."""
    return {
        index: {1: box(4, 4 + index // 2, 12, 14), 2: box(30, 30 - index // 2, 12, 14)}
        for index in range(0, count, step)
    }


def write_masked(
    folder: Path,
    frames: Frames,
    count: int,
    size: tuple[int, int] = SIZE,
    name: str = "clip",
    video: Path | None = None,
) -> Path:
    """Write a video of `count` frames and the masks of some of them; return the masks file."""
    opened = open_video(video or write_frames(folder / "videos" / name, count, size))
    record = {"path": str(opened.path), "fingerprint": opened.fingerprint()}
    masks = of_masks([frames.get(index, {}) for index in range(count)], opened.name, size, **record)
    masks = replace(masks, frames=tuple(frame for frame in masks.frames if frame.index in frames))
    path = folder / "masks" / f"{opened.name}.masks.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    save_masks(masks, path)
    return path


def look_at(desk: CurationDesk, path: Path) -> None:
    """Open the video of a masks file and put the masks on the desk."""
    bench = desk.parent()
    masks = load_masks(path)
    bench.open(masks.video.path)
    bench.take_saved(masks, path)
    wait_until(lambda: desk.document is not None and desk.path == path, "the masks on the desk")


@contextmanager
def open_desk(path: Path | None = None, *, shown: bool = True) -> Iterator[CurationDesk]:
    """Give the desk of a new workbench with a masks file on it, and the match view in sight."""
    with open_bench() as bench:
        bench.set_live(False)
        desk = curation_of(bench)
        if path is not None:
            look_at(desk, path)
        if shown:
            desk.show()
        yield desk


def step(desk: CurationDesk, frame: int) -> None:
    """Go to a frame as the slider does."""
    desk.parent().viewer.dims.set_current_step(0, frame)
    assert desk.frame == frame


def said(desk: CurationDesk) -> list[str]:
    """Return a list of all that is said from now on."""
    found: list[str] = []
    desk.parent().remarked.connect(found.append)
    return found


def masks_of(desk: CurationDesk) -> VideoMasks:
    """Return the masks on the desk."""
    assert desk.masks is not None
    return desk.masks
