"""Bad input: output. One clear line, the right exit code, nothing half-written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import CHEAP, Result, _Forkserver, written
from conftest import write_frames
from PIL import Image

from flowcut_napari.core import load_masks


@pytest.mark.parametrize("place", ["file", "file/below", "/proc/nope/out", "/dev/null/out", "x" * 300])
def test_an_output_folder_that_cannot_be_is_refused_before_anything_is_read(
    server: _Forkserver, tmp_path: Path, clip: Path, place: str
) -> None:
    (tmp_path / "file").write_text("in the way")
    server.run(["masks", clip, "-o", place, *CHEAP], folder=tmp_path).fails_with(place, "cannot write")
    assert (tmp_path / "file").read_text() == "in the way"


@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may write anywhere")
def test_an_output_folder_without_permission_is_refused(cheap: Callable[..., Result], out: Path, clip: Path) -> None:
    out.mkdir(mode=0o500)
    cheap(clip).fails_with(str(out), "permission")


def test_a_full_disk_leaves_no_masks_file(cheap: Callable[..., Result], out: Path, clip: Path) -> None:
    cheap(clip, "--no-cache", limits={"RLIMIT_FSIZE": 500}).fails_with("clip.masks.json", "cannot be written")
    assert written(out) == []


def test_a_full_disk_leaves_the_masks_that_were_there(cheap: Callable[..., Result], out: Path, clip: Path) -> None:
    assert cheap(clip).code == 0
    before = (out / "clip.masks.json").read_bytes()
    cheap(clip, "--no-cache", limits={"RLIMIT_FSIZE": 500}).fails_with("clip.masks.json", "cannot be written")
    assert written(out) == ["clip.masks.json"]
    assert (out / "clip.masks.json").read_bytes() == before


def test_a_full_disk_for_the_preview_leaves_no_half_picture(
    cheap: Callable[..., Result], out: Path, tmp_path: Path
) -> None:
    folder = write_frames(tmp_path / "big", 3, size=(240, 320))
    line = cheap(folder, "--preview", "--no-cache", limits={"RLIMIT_FSIZE": 30_000}).fails_with("preview")
    assert str(out) in line
    assert "big.masks.json" in written(out)
    for picture in out.rglob("*.png"):
        Image.open(picture).load()


def test_something_in_the_way_of_the_preview_is_named(cheap: Callable[..., Result], out: Path, clip: Path) -> None:
    out.mkdir()
    (out / "clip.preview").write_text("a file")
    cheap(clip, "--preview").fails_with("clip.preview")


@pytest.mark.parametrize(("trouble", "workers"), [("full", "1"), ("file", "1"), ("proc", "1"), ("file", "2")])
def test_a_cache_that_cannot_be_written_is_noted_and_does_no_harm(
    cheap: Callable[..., Result], server: _Forkserver, out: Path, clip: Path, trouble: str, workers: str
) -> None:
    cache = Path(os.environ["FLOWCUT_CACHE"])
    limits = {}
    if trouble == "full":
        limits = {"RLIMIT_FSIZE": 20_000}
    elif trouble == "file":
        cache.write_text("in the way")
    else:
        cache = Path("/proc/nope/cache")
    arguments = ["masks", str(clip), "-o", str(out), *CHEAP, "--workers", workers]
    environment = {"FLOWCUT_CACHE": str(cache)}
    if workers == "1":
        result = server.run(arguments, limits=limits, environment=environment)
    else:
        command = [sys.executable, "-m", "flowcut_napari.cli", *arguments]
        done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=60)
        result = Result(done.returncode, done.stdout, done.stderr)
    assert written(out) == ["clip.masks.json"]
    assert not [path for path in cache.rglob("*.part")]
    result.succeeds_with_note("cache", str(cache))


def test_a_damaged_cache_entry_is_made_anew(cheap: Callable[..., Result], out: Path, clip: Path) -> None:
    assert cheap(clip).code == 0
    first = json.loads((out / "clip.masks.json").read_text())["frames"]
    entries = sorted(Path(os.environ["FLOWCUT_CACHE"]).rglob("*.npy"))
    assert len(entries) > 3
    for place, entry in enumerate(entries):
        data = entry.read_bytes()
        entry.write_bytes((b"", data[:-10], b"garbage", data[:60])[place % 4])
    cheap(clip).succeeds_silently()
    assert json.loads((out / "clip.masks.json").read_text())["frames"] == first


@pytest.fixture
def decided(cheap: Callable[..., Result], out: Path, clip: Path) -> Path:
    """Return a masks file that holds a decision."""
    assert cheap(clip).code == 0
    path = out / "clip.masks.json"
    content = json.loads(path.read_text())
    basis = load_masks(path).basis
    verdict = {"kind": "instance", "instance": [0, 1], "verdict": "reject", "by": "me", "at": ""}
    content["decisions"] = {"basis": basis, "made": [verdict], "stale": []}
    path.write_text(json.dumps(content))
    return path


def test_decisions_survive_a_run_with_the_same_parameters_unless_told_otherwise(
    cheap: Callable[..., Result], decided: Path, out: Path, clip: Path
) -> None:
    before = json.loads(decided.read_text())["decisions"]
    cheap(clip).succeeds_silently()
    assert json.loads(decided.read_text())["decisions"] == before
    assert written(out) == ["clip.masks.json"]
    assert cheap(clip, "--overwrite").code == 0
    assert json.loads(decided.read_text())["decisions"] == {}


def test_decisions_are_stale_after_a_run_with_other_parameters_and_hold_again_after_the_first(
    cheap: Callable[..., Result], decided: Path, clip: Path
) -> None:
    before = json.loads(decided.read_text())["decisions"]
    cheap(clip, "--tau", "0.4").succeeds_with_note("clip.masks.json", "1 decision", "stale")
    after = json.loads(decided.read_text())["decisions"]
    assert after["made"] == []
    assert after["stale"] == [{"basis": before["basis"], **before["made"][0]}]
    cheap(clip).succeeds_silently()
    assert json.loads(decided.read_text())["decisions"] == before


@pytest.mark.parametrize("origin", ["edited", "drawn"])
def test_masks_made_by_hand_are_not_overwritten(
    cheap: Callable[..., Result], decided: Path, clip: Path, origin: str
) -> None:
    content = json.loads(decided.read_text())
    content["decisions"] = {}
    content["frames"][1]["instances"][0]["origin"] = origin
    decided.write_text(json.dumps(content))
    made = content["frames"][1]["instances"][0]
    cheap(clip).succeeds_silently()
    assert json.loads(decided.read_text())["frames"][1]["instances"][0] == made
    cheap(clip, "--tau", "0.4").succeeds_with_note("1 mask made by hand", "stale")
    assert json.loads(decided.read_text())["decisions"]["stale"][0]["instance"] == made


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"schema": "flowcut.masks/99"}',
        '{"schema": "flowcut.masks/1"}',
        '{"schema": "flowcut.masks/1", "video": null, "frames": 3}',
        "[" * 200_000,
    ],
    ids=lambda text: text[:30],
)
def test_a_masks_file_that_is_garbage_is_kept_unless_told(
    cheap: Callable[..., Result], out: Path, clip: Path, text: str
) -> None:
    out.mkdir()
    path = out / "clip.masks.json"
    path.write_text(text)
    cheap(clip).fails_with(str(path), "--overwrite")
    assert path.read_text() == text
    assert written(out) == ["clip.masks.json"]
    assert cheap(clip, "--overwrite").code == 0
    assert json.loads(path.read_text())["schema"] == "flowcut.masks/1"


def test_a_folder_in_place_of_the_masks_file_is_named(cheap: Callable[..., Result], out: Path, clip: Path) -> None:
    (out / "clip.masks.json").mkdir(parents=True)
    for more in ((), ("--overwrite",)):
        cheap(clip, *more).fails_with(str(out / "clip.masks.json"))
    assert written(out) == []


@pytest.mark.parametrize("length", [240, 250])
def test_a_video_with_a_very_long_name_works_or_is_refused_by_name(
    cheap: Callable[..., Result], out: Path, tmp_path: Path, length: int
) -> None:
    folder = write_frames(tmp_path / ("n" * length), 2)
    result = cheap(folder)
    if result.code:
        result.fails_with("nnn", "too long")
        assert written(out) == []
    else:
        assert len(written(out)) == 1


def test_a_full_standard_output_is_one_line(cheap: Callable[..., Result], out: Path, clip: Path) -> None:
    for more in ((), ("--json",)):
        result = cheap(clip, *more, stdout="/dev/full")
        assert "Traceback" not in result.err
        assert not result.strays, result.err
        assert len(result.errors) == 1
        assert result.code in (1, 2)
    assert written(out) == ["clip.masks.json"]


@pytest.mark.parametrize("more", [(), ("--json",)], ids=["text", "json"])
def test_a_reader_that_went_away_leaves_no_traceback(out: Path, clip: Path, more: tuple[str, ...]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "flowcut_napari.cli", "masks", str(clip), "-o", str(out), *CHEAP]
    done = subprocess.run([*command, *more], stdout=writer, stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(writer)
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert written(out) == ["clip.masks.json"]
