from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import made_masks
import numpy as np
import pytest
from PIL import Image

from flowcut_napari.core.scoring import union_mask
from flowcut_napari.core.store import VideoMasks


@pytest.fixture
def masks(tmp_path: Path) -> VideoMasks:
    return made_masks.write_clip(tmp_path, tmp_path / "out", 4)


@pytest.fixture
def truth(tmp_path: Path, masks: VideoMasks) -> Path:
    folder = tmp_path / "truth" / "Annotations" / "480p" / "clip"
    folder.mkdir(parents=True)
    for frame in masks.frames:
        Image.fromarray(union_mask(frame, 48, 64).astype(np.uint8) * 255).save(folder / f"{frame.index:05d}.png")
    return folder


def _score(server: Any, tmp_path: Path, *more: Any) -> Any:
    return server.run(["score", tmp_path / "out", "--ground-truth", tmp_path / "truth", *more], folder=tmp_path)


def test_perfect_masks_score_one_in_json_table_csv_and_picture(server: Any, tmp_path: Path, truth: Path) -> None:
    run = _score(server, tmp_path, "--json", "--csv", "frames.csv", "--sheet", "worst.png")
    run.succeeds_silently()
    stats = json.loads(run.out)["stats"]
    assert (stats["J-Mean"], stats["F-Mean"], stats["frames"], stats["sequences"]) == (1, 1, 4, 1)
    rows = list(csv.DictReader((tmp_path / "frames.csv").open()))
    assert [row["frame"] for row in rows] == ["0", "1", "2", "3"]
    with Image.open(tmp_path / "worst.png") as picture:
        assert picture.width > 800
    assert "100.0" in _score(server, tmp_path).out


def test_without_ground_truth_there_are_proxies_and_a_word_about_them(
    server: Any, tmp_path: Path, masks: VideoMasks
) -> None:
    run = server.run(["score", tmp_path / "out"])
    run.succeeds_with_note("proxies")
    assert "consist" in run.out


@pytest.mark.usefixtures("truth")
@pytest.mark.parametrize("wrong", ["size", "count", "name", "missing sequence", "damaged", "nothing", "no folder"])
def test_ground_truth_that_does_not_fit_is_one_line(server: Any, tmp_path: Path, truth: Path, wrong: str) -> None:
    first, last = truth / "00000.png", truth / "00003.png"
    needles = {
        "size": ("clip", "frame 00000", "32x48", "64x48"),
        "count": ("clip", "4 frames", "3", "--annotated-only"),
        "name": ("no annotation of frame 00003", "--annotated-only"),
        "missing sequence": ("no ground truth of 'clip'", "other"),
        "damaged": ("00000.png", "cannot be read"),
        "nothing": ("no annotations",),
        "no folder": ("no ground truth",),
    }
    if wrong == "size":
        Image.new("L", (32, 48)).save(first)
    elif wrong == "count":
        last.unlink()
    elif wrong == "name":
        last.rename(truth / "00009.png")
    elif wrong == "missing sequence":
        truth.rename(truth.with_name("other"))
    elif wrong == "damaged":
        first.write_bytes(first.read_bytes()[:60])
    elif wrong == "nothing":
        for file in truth.iterdir():
            file.unlink()
    else:
        (tmp_path / "truth").rename(tmp_path / "elsewhere")
    _score(server, tmp_path).fails_with(*needles[wrong])


def test_frames_without_annotation_can_be_left_out(server: Any, tmp_path: Path, truth: Path) -> None:
    (truth / "00001.png").unlink()
    run = _score(server, tmp_path, "--annotated-only", "--json")
    assert run.code == 0
    assert json.loads(run.out)["stats"]["frames"] == 3


@pytest.mark.usefixtures("truth")
def test_a_video_that_is_gone_is_needed_for_the_picture_only(server: Any, tmp_path: Path) -> None:
    (tmp_path / "clip").rename(tmp_path / "moved")
    assert _score(server, tmp_path).code == 0
    run = _score(server, tmp_path, "--sheet", "worst.png")
    run.fails_with("--sheet", "not at", "--videos ROOT")
    assert "J" in run.out, "the numbers are said all the same"


def test_a_json_that_is_none_or_has_too_few_masks_is_one_line(server: Any, tmp_path: Path, masks: VideoMasks) -> None:
    file = tmp_path / "truth"
    for content, needle in (
        ("{", "cannot be read as JSON"),
        ("{}", "lists no videos"),
        (
            json.dumps(
                {
                    "videos": [{"id": 1, "height": 48, "width": 64, "file_names": ["clip/00000.jpg"] * 4}],
                    "annotations": [{"video_id": 1, "segmentations": [None]}],
                }
            ),
            "has 1 masks",
        ),
        *(
            (
                json.dumps(
                    {
                        "videos": [{"id": 1, "height": 48, "width": 64, "file_names": ["clip/00000.jpg"] * 4}],
                        "annotations": [{"video_id": number, "segmentations": [None] * 4}],
                    }
                ),
                "annotation 0 is of no video",
            )
            for number in ([1], "1", None, 2)
        ),
    ):
        file.write_text(content)
        _score(server, tmp_path).fails_with(needle)


@pytest.mark.usefixtures("truth")
def test_a_table_that_cannot_be_written_is_said_before_the_work(server: Any, tmp_path: Path) -> None:
    _score(server, tmp_path, "--csv", tmp_path).fails_with("--csv", "no file")
    server.run(["score", tmp_path / "out", "--sheet", "a.png"]).fails_with("--ground-truth")
