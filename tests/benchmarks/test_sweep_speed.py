"""How long a sweep takes once features and flow are in the cache: ``pytest -m benchmark``."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from conftest import data_path

from flowcut_napari.core import ArrayCache, CutParameters
from flowcut_napari.core.grid import Axis, Grid
from flowcut_napari.core.ground_truth import open_ground_truth
from flowcut_napari.core.sweep import Sweeper, SweepPlan
from flowcut_napari.core.video import find_videos

pytestmark = pytest.mark.benchmark


def test_a_grid_of_25_on_80_frames_costs_little_more_than_its_cuts(tmp_path: Path) -> None:
    root = data_path("data", "davis16")
    cache = ArrayCache(tmp_path / "cache")
    base = CutParameters.preset("handmade").with_changes(crf=False)
    axes = [Axis.parse("alpha=0.3:0.7:0.1"), Axis.parse("tau=0.35:0.55:0.05")]
    seconds = {}
    for name, chosen in (("one setting, nothing cached", axes[:0]), ("one setting, cached", axes[:0]), ("25", axes)):
        grid = Grid.make(base, chosen or [Axis.parse("eps=1e-5")])
        plan = SweepPlan(grid, truth=open_ground_truth(root))
        began, busy = time.perf_counter(), time.process_time()
        with Sweeper(plan, tmp_path / name.replace(" ", ""), cache=cache) as sweeper:
            cells = sweeper.run(find_videos(f"{root}::bmx-trees"))
        seconds[name] = time.process_time() - busy
        print(
            f"\nsweep of {len(cells)} settings, {cells[0].frames} frames of bmx-trees, DIS, no CRF, one process, "
            f"{name}: {time.perf_counter() - began:.1f} s, {seconds[name]:.1f} s of processor time"
        )
    # Two processes have half of it each.
    assert seconds["25"] / 2 < 60
