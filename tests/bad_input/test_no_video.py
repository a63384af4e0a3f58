"""Bad input: where there is no video. One clear line, the right exit code, nothing half-written."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import CHEAP, Result, _Forkserver, written
from conftest import write_frames


def test_a_path_that_is_missing_is_named(cheap: Callable[..., Result], out: Path, tmp_path: Path) -> None:
    cheap(tmp_path / "nope").fails_with(str(tmp_path / "nope"), "no such file")
    assert written(out) == []


def test_a_missing_path_is_one_line_from_a_process_of_its_own_too(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "flowcut_napari.cli", "masks", "nope", "-o", "out", *CHEAP]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    Result(done.returncode, done.stdout, done.stderr).fails_with("nope: no such file")
    assert done.stdout == ""
    assert written(tmp_path / "out") == []


def test_debug_shows_the_traceback(cheap: Callable[..., Result]) -> None:
    assert "Traceback" not in cheap("nope", "--weights", "dino").err
    result = cheap("nope", "--weights", "dino", "--debug")
    assert result.code != 0
    assert "Traceback (most recent call last)" in result.err
    assert "InputError" in result.err


def test_debug_shows_the_traceback_of_a_video_that_fails(cheap: Callable[..., Result]) -> None:
    result = cheap("nope", "--debug")
    assert "Traceback (most recent call last)" in result.err
    assert "InputError" in result.err


def test_an_empty_folder_is_said_to_be_empty(cheap: Callable[..., Result], out: Path, tmp_path: Path) -> None:
    (tmp_path / "bare").mkdir()
    cheap(tmp_path / "bare").fails_with(str(tmp_path / "bare"), "empty")
    assert written(out) == []


def test_a_folder_without_an_image_is_refused(cheap: Callable[..., Result], out: Path, tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("a")
    cheap(tmp_path / "texts").fails_with(str(tmp_path / "texts"), "image")
    assert written(out) == []


def test_a_folder_of_folders_names_one_of_them(cheap: Callable[..., Result], out: Path, tmp_path: Path) -> None:
    write_frames(tmp_path / "many" / "inner", 1)
    cheap(tmp_path / "many").fails_with(str(tmp_path / "many" / "inner"), "folder")
    assert written(out) == []


def test_an_empty_address_is_not_the_folder_one_stands_in(cheap: Callable[..., Result], out: Path, clip: Path) -> None:
    """An unset variable of a shell script must not set everything in the current folder to work."""
    cheap("", folder=clip).fails_with("video")
    assert written(out) == []


def test_an_empty_output_folder_is_not_the_folder_one_stands_in(
    server: _Forkserver, clip: Path, tmp_path: Path
) -> None:
    (tmp_path / "here").mkdir()
    server.run(["masks", clip, "-o", "", *CHEAP], folder=tmp_path / "here").fails_with("out")
    assert written(tmp_path / "here") == []


def test_a_loop_of_links_is_refused(cheap: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    cheap(tmp_path / "loop").fails_with(str(tmp_path / "loop"))


def test_a_path_too_long_for_the_system_is_refused(cheap: Callable[..., Result]) -> None:
    cheap("x" * 300).fails_with("xxx", "name too long")


@pytest.mark.parametrize("suffix", [".mp4", ".json"])
def test_a_pipe_in_place_of_a_file_does_not_hang(cheap: Callable[..., Result], tmp_path: Path, suffix: str) -> None:
    os.mkfifo(tmp_path / f"pipe{suffix}")
    cheap(tmp_path / f"pipe{suffix}", timeout=3).fails_with(f"pipe{suffix}")


def test_a_file_that_is_no_video_says_what_is_expected(cheap: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    cheap(tmp_path / "a.txt").fails_with("a.txt", ".mp4", "folder of images")
