"""Bad input: video files. One clear line, the right exit code, nothing half-written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from command_line import Result, write_video, written


@pytest.mark.parametrize("content", [b"", b"just a text\n" * 40, b"\0" * 4096])
@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mkv"])
def test_a_file_that_only_calls_itself_a_video_is_refused(
    cheap: Callable[..., Result], out: Path, tmp_path: Path, suffix: str, content: bytes
) -> None:
    (tmp_path / f"fake{suffix}").write_bytes(content)
    cheap(tmp_path / f"fake{suffix}").fails_with(str(tmp_path / f"fake{suffix}"))
    assert written(out) == []


def test_an_mp4_cut_short_is_refused(cheap: Callable[..., Result], out: Path, tmp_path: Path) -> None:
    path = write_video(tmp_path / "cut.mp4")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    cheap(path).fails_with("cut.mp4")
    assert written(out) == []


def test_an_avi_cut_short_gives_the_frames_that_are_left_and_a_note(
    cheap: Callable[..., Result], out: Path, tmp_path: Path
) -> None:
    path = write_video(tmp_path / "cut.avi", codec="MJPG")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    result = cheap(path, "--frames", "0")
    if result.code:
        result.fails_with("cut.avi")
        assert written(out) == []
    else:
        result.succeeds_with_note("cut.avi", "30 frames")
        assert written(out) == ["cut.masks.json"]


def test_a_video_damaged_in_the_middle_leaves_no_chatter_of_the_decoder(
    cheap: Callable[..., Result], tmp_path: Path, random: np.random.Generator
) -> None:
    path = write_video(tmp_path / "hit.mp4")
    data = bytearray(path.read_bytes())
    for place in random.integers(200, len(data) // 2, 200):
        data[place] = int(random.integers(0, 256))
    path.write_bytes(data)
    result = cheap(path, "--frames", "0:30:10")
    assert not result.strays, result.err
    assert result.code in (0, 2)


def test_naming_a_video_inside_a_video_file_is_refused(cheap: Callable[..., Result], out: Path, tmp_path: Path) -> None:
    path = write_video(tmp_path / "whole.mp4", 3)
    cheap(f"{path}::part").fails_with("part", "whole.mp4")
    assert written(out) == []
