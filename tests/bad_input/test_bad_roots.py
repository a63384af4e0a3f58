"""Bad input: DAVIS roots and YouTube-VIS json. One clear line, the right exit code, nothing half-written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Result, cut_to_nothing, write_ytvis, written
from conftest import write_frames


def test_an_unknown_sequence_of_a_davis_root_lists_the_known_ones(
    cheap: Callable[..., Result], out: Path, tmp_path: Path
) -> None:
    write_frames(tmp_path / "root" / "JPEGImages" / "480p" / "camel", 2)
    for wanted in ("goat", "", "../480p/camel"):
        cheap(f"{tmp_path / 'root'}::{wanted}").fails_with(repr(wanted), "camel")
    cheap(f"{tmp_path / 'root' / 'JPEGImages' / '480p' / 'camel'}::goat").fails_with("goat")
    assert written(out) == []


def test_a_davis_root_without_sequences_is_refused(cheap: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "root" / "JPEGImages").mkdir(parents=True)
    cheap(tmp_path / "root").fails_with(str(tmp_path / "root"), "no sequences")


def test_one_bad_sequence_of_a_davis_root_does_not_stop_the_others(
    cheap: Callable[..., Result], out: Path, tmp_path: Path
) -> None:
    base = tmp_path / "root" / "JPEGImages" / "480p"
    for name in ("bad", "good"):
        write_frames(base / name, 2)
    cut_to_nothing(base / "bad" / "00001.png")
    result = cheap(tmp_path / "root")
    assert written(out) == ["good.masks.json"]
    assert result.code == 1
    assert not result.strays
    assert "00001.png" in result.err


@pytest.mark.parametrize(
    "file", ["../../etc/passwd", "/etc/passwd", "frames/../../secret.png", "..", "..\\secret.png", "C:\\secret.png"]
)
@pytest.mark.parametrize("place", [0, 1])
def test_a_json_that_points_outside_its_folder_is_refused(
    cheap: Callable[..., Result], out: Path, tmp_path: Path, file: str, place: int
) -> None:
    write_frames(tmp_path / "frames", 2)
    (tmp_path / "secret.png").write_bytes((tmp_path / "frames" / "00000.png").read_bytes())
    files = ["frames/00000.png", "frames/00001.png"]
    files.insert(place, file)
    cheap(write_ytvis(tmp_path / "set.json", files)).fails_with("set.json", "outside")
    assert written(out) == []


@pytest.mark.parametrize("file", ["v/9.png", "", "v/with\0nul.png", "v/" + "x" * 300 + ".png"])
@pytest.mark.parametrize("place", [0, 2])
def test_a_json_whose_frames_are_missing_names_the_frame(
    cheap: Callable[..., Result], out: Path, tmp_path: Path, file: str, place: int
) -> None:
    write_frames(tmp_path / "v", 2)
    files = ["v/00000.png", "v/00001.png"]
    files.insert(place, file)
    line = cheap(write_ytvis(tmp_path / "set.json", files)).fails_with()
    assert "set.json" in line or "v/" in line
    assert "\0" not in line
    assert written(out) == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "no json",
        "[]",
        "null",
        "7",
        "{}",
        '{"videos": []}',
        '{"videos": {}}',
        '{"videos": [1]}',
        '{"videos": [{}]}',
        '{"videos": [{"file_names": []}]}',
        '{"videos": [{"file_names": [1]}]}',
        '{"videos": [{"file_names": "v/00000.png"}]}',
        '{"schema": "flowcut.masks/1", "frames": []}',
        '{"videos": [{"id": "abc", "file_names": ["v/00000.png"]}]}',
        '{"videos": [{"id": null, "file_names": ["v/00000.png"]}]}',
        '{"videos": [{"id": 1e999, "file_names": ["v/00000.png"]}]}',
        "[" * 200_000,
        '{"videos": ' + "1" * 5000 + "}",
        "\ufeff{}",
    ],
    ids=lambda text: text[:44],
)
def test_a_json_of_another_kind_is_refused(cheap: Callable[..., Result], out: Path, tmp_path: Path, text: str) -> None:
    write_frames(tmp_path / "v", 1)
    path = tmp_path / "set.json"
    path.write_text(text)
    cheap(path).fails_with(str(path))
    assert written(out) == []


def test_a_json_in_no_known_encoding_is_refused(cheap: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "set.json").write_bytes(bytes(range(128, 256)))
    cheap(tmp_path / "set.json").fails_with("set.json", "json")


def test_no_video_of_a_json_is_lost_when_ids_repeat(cheap: Callable[..., Result], out: Path, tmp_path: Path) -> None:
    write_frames(tmp_path / "v", 3)
    videos = [{"id": 1, "file_names": [f"v/0000{index}.png"]} for index in range(3)]
    (tmp_path / "set.json").write_text(json.dumps({"videos": videos}))
    result = cheap(tmp_path / "set.json")
    if result.code:
        result.fails_with("set.json")
    else:
        assert len(written(out)) == 3
