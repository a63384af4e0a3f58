"""Bad input: several videos. One clear line, the right exit code, nothing half-written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Result, cut_jpeg, written
from conftest import write_frames


def test_two_videos_of_one_name_are_refused_before_work_starts(
    cheap: Callable[..., Result], out: Path, tmp_path: Path
) -> None:
    first, second = (write_frames(tmp_path / parent / "same", 2) for parent in ("a", "b"))
    cheap(first, second).fails_with(str(first), str(second), "same")
    assert written(out) == []


def test_one_video_given_twice_is_refused(cheap: Callable[..., Result], out: Path, clip: Path) -> None:
    cheap(clip, clip).fails_with(str(clip), "twice")
    assert written(out) == []


def test_names_that_become_equal_as_file_names_are_refused(
    cheap: Callable[..., Result], out: Path, tmp_path: Path
) -> None:
    first, second = (write_frames(tmp_path / name, 2) for name in ("a b", "a_b"))
    cheap(first, second).fails_with(str(first), str(second), "a_b")
    assert written(out) == []


@pytest.mark.parametrize("how", ["missing", "truncated"])
@pytest.mark.parametrize("order", ["first", "last"])
def test_one_bad_video_of_several_leaves_the_others(
    cheap: Callable[..., Result], out: Path, clip: Path, tmp_path: Path, how: str, order: str
) -> None:
    bad = tmp_path / "bad"
    if how == "truncated":
        write_frames(bad, 3, suffix=".jpg")
        cut_jpeg(bad / "00001.jpg")
    videos = [bad, clip] if order == "first" else [clip, bad]
    result = cheap(*videos)
    assert result.code == 1
    assert not result.strays
    assert not result.notes
    about, summary = result.errors
    assert ("00001.jpg" if how == "truncated" else "no such file") in about
    assert "1 of 2" in summary
    assert "bad" in summary
    assert "clip" not in summary.replace(str(tmp_path), "")
    assert written(out) == ["clip.masks.json"]
    assert "clip" in result.out
    as_json = cheap(*videos, "--json")
    assert as_json.code == 1
    document = json.loads(as_json.out)
    assert [video["video"] for video in document["videos"]] == ["clip"]
    assert [("bad" in failure["video"]) for failure in document["failed"]] == [True]


def test_when_all_videos_fail_the_code_is_two(cheap: Callable[..., Result], out: Path, tmp_path: Path) -> None:
    result = cheap(tmp_path / "one", tmp_path / "two")
    assert result.code == 2
    assert not result.strays
    assert len(result.errors) == 2
    assert written(out) == []
    as_json = cheap(tmp_path / "one", tmp_path / "two", "--json")
    assert as_json.code == 2
    assert json.loads(as_json.out)["videos"] == []
    assert len(json.loads(as_json.out)["failed"]) == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ("nope",),
        ("--alpha", "2"),
        ("--colour",),
        ("--weights", "dino"),
        ("--frames", "abc"),
        ("--device", "cuda"),
    ],
    ids=" ".join,
)
def test_with_json_stdout_is_one_document_or_nothing_when_things_fail(
    cheap: Callable[..., Result], clip: Path, arguments: tuple[str, ...]
) -> None:
    result = cheap(*(() if arguments == ("nope",) else (clip,)), *arguments, "--json")
    result.fails_with()
    if result.out:
        assert json.loads(result.out)["videos"] == []


def test_with_json_stdout_is_one_document_when_notes_are_given(cheap: Callable[..., Result], tmp_path: Path) -> None:
    result = cheap(write_frames(tmp_path / "one", 1), "--json")
    result.succeeds_with_note("single frame")
    document = json.loads(result.out)
    assert [video["video"] for video in document["videos"]] == ["one"]
    assert document["failed"] == []
