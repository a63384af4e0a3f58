"""The files that a sweep leaves: tidy tables and heat maps."""

from __future__ import annotations

import contextlib
import csv
from collections.abc import Collection, Sequence
from pathlib import Path

from flowcut_napari.core.files import write_atomically
from flowcut_napari.core.frames import safe_name
from flowcut_napari.core.grid import Grid
from flowcut_napari.core.heat_map import heat_map
from flowcut_napari.core.preview import save_picture
from flowcut_napari.core.sweep_cells import Cell, cells_table, mean_over_videos, overall_table

TABLE = "sweep.csv"


def write_report(folder: Path, cells: Sequence[Cell], grid: Grid, measure: str) -> None:
    """Write ``sweep.csv`` (a row for each video and setting), ``overall.csv`` (means over videos) and heat maps.

    What an earlier sweep wrote there is replaced; its cells stay in ``cells.jsonl``.

    Raises
    ------
    OutputError
        If the folder cannot be written.
    """
    _remove_maps(folder, {cell.video for cell in cells})
    write_atomically(folder / TABLE, cells_table(cells, grid))
    write_atomically(folder / "overall.csv", overall_table(cells, grid))
    videos = list(dict.fromkeys(cell.video for cell in cells))
    words = f"{measure}, mean over {len(videos)} videos" if len(videos) > 1 else f"{measure} of {videos[0]}"
    save_picture(heat_map("Sweep", words, grid, mean_over_videos(cells, measure)), folder / "heatmap.png")
    for video in videos if len(videos) > 1 else ():
        own = mean_over_videos([cell for cell in cells if cell.video == video], measure)
        save_picture(heat_map(video, measure, grid, own), folder / f"heatmap-{video}.png")


def _remove_maps(folder: Path, videos: Collection[str]) -> None:
    """Remove the heat maps of the videos of an earlier table that a new one does not have: they would pass for its."""
    with contextlib.suppress(OSError, csv.Error, UnicodeDecodeError):
        with (folder / TABLE).open(encoding="utf-8", newline="") as stream:
            earlier = {row["video"] for row in csv.DictReader(stream) if row.get("video")}
        for name in earlier - set(videos) if len(videos) > 1 else earlier:
            if name == safe_name(name):  # and nothing outside this folder
                (folder / f"heatmap-{name}.png").unlink(missing_ok=True)
