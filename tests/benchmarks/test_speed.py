"""Figures of speed and memory. Times are printed, never asserted: machines differ, and shared ones drift.

What is asserted does not depend on the machine: that fast and slow give the same masks, and that memory does not
grow with the length of a video.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import write_frames

from flowcut_napari.core import CutParameters, open_video
from flowcut_napari.core.bench import Figure, bench_cuts, bench_stages
from flowcut_napari.core.models import ModelPlan

pytestmark = pytest.mark.benchmark


def _print(figures: list[Figure]) -> None:
    for figure in figures:
        ratio = f"  reference / ours {figure.ratio:.1f}x" if figure.ratio else ""
        print(f"{figure.stage}: median {figure.median_ms:.2f} ms, p95 {figure.p95_ms:.2f} ms{ratio}  {figure.remark}")


@pytest.mark.parametrize(("grid", "reference_repeats"), [((22, 40), 3), ((60, 60), 1)])
def test_cuts_beside_the_dense_generalised_solver(
    grid: tuple[int, int], reference_repeats: int, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = list(bench_cuts(grid, 7, reference_repeats))
    with capsys.disabled():
        print()
        _print(figures)
    (ours,) = [figure for figure in figures if figure.ratio]
    assert ours.remark == "3 cuts, masks equal to the reference's"


def test_every_stage(sample_clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = ModelPlan.make(CutParameters.preset("handmade"), device="cpu")
    figures = list(bench_stages(open_video(f"{sample_clip}::toys"), plan, 3))
    with capsys.disabled():
        print()
        _print(figures)
    assert figures[-1].stage == "a whole frame"
    assert all(0 < figure.median_ms <= figure.p95_ms for figure in figures)


_PEAK = """
import resource, sys
from flowcut_napari.cli import main
try:
    main(sys.argv[1:])
except SystemExit as leaving:
    code = leaving.code
own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(own + children if code == 0 else "failed")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read as Linux counts it")
def test_peak_memory_does_not_grow_with_the_length_of_the_video(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    peaks = {}
    for count in (40, 400):
        folder = write_frames(tmp_path / f"clip{count}", count, (360, 640), suffix=".jpg")
        options = ["--preset", "handmade", "--no-crf", "--no-cache", "--workers", "2", "--json"]
        run = subprocess.run(
            [sys.executable, "-c", _PEAK, "masks", str(folder), "-o", str(tmp_path / "out"), *options],
            capture_output=True,
            text=True,
            check=True,
        )
        document, peak = run.stdout.rsplit("\n", 2)[:2]
        assert json.loads(document)["videos"][0]["frames"] == count
        peaks[count] = int(peak) / 1024
    with capsys.disabled():
        print(f"\npeak memory of masks: {peaks[40]:.0f} MB for 40 frames, {peaks[400]:.0f} MB for 400")
    assert np.isclose(peaks[400], peaks[40], rtol=0.1)
