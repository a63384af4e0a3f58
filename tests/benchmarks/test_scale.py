"""Stage 2 at the scale of YouTube-VIS 2021: time and memory at growing parts of 2,985 videos."""

from __future__ import annotations

from pathlib import Path

import pytest
from large_store import FRAMES, measure_curation

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
        found = measure_curation(tmp_path, videos)
        peaks.append(found.peak)
        assert found.candidates == videos * (4 * FRAMES - 10) == found.clips + found.dropped
        with capsys.disabled():
            print(
                f"\ncurate and export {videos} videos x {FRAMES} frames x 3, all gaps: {found.clips} clips, "
                f"{found.instances} instances, {found.megabytes:.0f} MB of json in {found.seconds:.1f} s, "
                f"{1e3 * found.seconds / videos:.1f} ms a video, peak memory {found.peak:.0f} MB"
            )
    # Videos pass one by one: what grows is a list of their names.
    assert peaks[-1] < 1.5 * peaks[0]
