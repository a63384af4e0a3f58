"""Figures of speed and memory. Times are printed, never asserted: machines differ, and shared ones drift.

What is asserted does not depend on the machine: that fast and slow give the same masks, and that memory does not
grow with the length of a video.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from conftest import write_frames
from large_store import peak_of_tree

from flowcut_napari.core import CutParameters, open_video
from flowcut_napari.core.bench import Figure, bench_cuts, bench_matching, bench_stages
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


def test_matching_beside_the_pixels(capsys: pytest.CaptureFixture[str]) -> None:
    figures = list(bench_matching(15, 3))
    with capsys.disabled():
        print()
        _print(figures)
    assert figures[0].remark == "110 pairs of frames, matches equal to the reference's"


def test_every_stage(sample_clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = ModelPlan.make(CutParameters.preset("handmade"), device="cpu")
    figures = list(bench_stages(open_video(f"{sample_clip}::toys"), plan, 3))
    with capsys.disabled():
        print()
        _print(figures)
    assert figures[-1].stage == "a whole frame"
    assert all(0 < figure.median_ms <= figure.p95_ms for figure in figures)


def test_peak_memory_does_not_grow_with_the_length_of_the_video(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    peaks = {}
    for count in (40, 400):
        folder = write_frames(tmp_path / f"clip{count}", count, (360, 640), suffix=".jpg")
        options = ["--preset", "handmade", "--no-crf", "--no-cache", "--workers", "2", "--json"]
        command = [
            sys.executable,
            "-m",
            "flowcut_napari.cli",
            "masks",
            str(folder),
            "-o",
            str(tmp_path / "out"),
            *options,
        ]
        peaks[count] = peak_of_tree(command, tmp_path / "stdout")
        assert json.loads((tmp_path / "stdout").read_text())["videos"][0]["frames"] == count
    with capsys.disabled():
        print(f"\npeak memory of masks: {peaks[40]:.0f} MB for 40 frames, {peaks[400]:.0f} MB for 400")
    assert peaks[400] < 1.1 * peaks[40]
