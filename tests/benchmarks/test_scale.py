"""Stage 2 at the scale of YouTube-VIS 2021: time and memory at growing parts of 2,985 videos."""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path

import pytest
from large_store import FRAMES, write_store
from test_speed import peak_of_tree

WHOLE = 2985

pytestmark = pytest.mark.benchmark


@pytest.mark.parametrize(
    "parts", [(30, 10), pytest.param((10, 3, 1), marks=[pytest.mark.slow, pytest.mark.timeout(1800)])]
)
def test_curation_of_thousands_of_videos(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], parts: tuple[int, ...]
) -> None:
    peaks = []
    for part in parts:
        videos = WHOLE // part
        store, dataset = write_store(tmp_path / "store", videos), tmp_path / "dataset"
        command = [sys.executable, "-m", "flowcut_napari.cli", "curate", str(store), "-o", str(dataset)]
        started = time.perf_counter()
        peaks.append(peak_of_tree([*command, "--frame-files", "none", "--json"], tmp_path / "stdout"))
        seconds = time.perf_counter() - started
        result = json.loads((tmp_path / "stdout").read_text())
        size = (dataset / "annotations.json").stat().st_size
        candidates = sum(figures["candidates"] for figures in result["yield"].values())
        dropped = sum(sum(figures["dropped_clips"].values()) for figures in result["yield"].values())
        assert candidates == videos * (4 * FRAMES - 10) == result["clips"] + dropped
        with capsys.disabled():
            print(
                f"\ncurate and export {videos} videos x {FRAMES} frames x 3, all gaps: {result['clips']} clips, "
                f"{result['instances']} instances, {size / 1e6:.0f} MB of json in {seconds:.1f} s, "
                f"{1e3 * seconds / videos:.1f} ms a video, peak memory {peaks[-1]:.0f} MB"
            )
        shutil.rmtree(store)
        shutil.rmtree(dataset)
    # Videos pass one by one: what grows is a list of their names and figures.
    assert peaks[-1] < 1.5 * peaks[0]
