"""Bad input: odd names. One clear line, the right exit code, nothing half-written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import CHEAP, _Forkserver, written
from conftest import write_frames

_ODD_NAMES = [
    "two  spaces",
    " edge ",
    "-dash",
    "été Ünïcode 視頻",
    "emoji 🐟",
    "[bold]",
    "[/red]",
    "a[/]b",
    "$(touch x);&|'\"",
    "%s{0}",
    "tab\tbed",
    "line\nfeed",
    "\x1b[31mred",
    "..dots..",
    "a::b",
    "a=b",
    os.fsdecode(b"bad \xff byte"),
]


@pytest.mark.parametrize("name", _ODD_NAMES, ids=ascii)
def test_a_video_and_an_output_folder_of_any_name_work(server: _Forkserver, tmp_path: Path, name: str) -> None:
    folder = write_frames(tmp_path / "in" / name, 2)
    out = tmp_path / "out" / name
    result = server.run(["masks", folder, "-o", out, *CHEAP])
    result.succeeds_silently()
    files = written(out)
    assert len(files) == 1
    if name.isprintable() and name.isascii():
        assert name in result.out
    assert files[0].endswith(".masks.json")
    content = json.loads((out / files[0]).read_text())
    assert content["video"]["path"] == str(folder)
    assert content["frames"][0]["file"] == "00000.png"
    assert written(tmp_path / "out") == [f"{name}/{files[0]}"]


@pytest.mark.parametrize("name", _ODD_NAMES, ids=ascii)
def test_an_error_about_any_name_is_one_clean_line(server: _Forkserver, tmp_path: Path, name: str) -> None:
    result = server.run(["masks", tmp_path / name, "-o", tmp_path / "out", *CHEAP])
    line = result.fails_with("no such file")
    assert "\x1b" not in line
    assert "\r" not in line
    if name.isprintable() and name.isascii() and "::" not in name:
        assert name in line


def test_a_weights_folder_of_any_name_can_be_listed(server: _Forkserver, tmp_path: Path) -> None:
    result = server.run(["weights", "list"], environment={"FLOWCUT_WEIGHTS": str(tmp_path / "a[/]b[bold]c")})
    result.succeeds_silently()
    assert "a[/]b[bold]c" in result.out


def test_names_that_the_terminal_cannot_show_do_no_harm(server: _Forkserver, tmp_path: Path) -> None:
    folder, out = write_frames(tmp_path / "視頻", 2), tmp_path / "été"
    arguments = ["masks", str(folder), "-o", str(out), *CHEAP]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "flowcut_napari.cli", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(written(out)) == 1
