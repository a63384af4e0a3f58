from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import write_frames

from flowcut_napari.core import (
    CutParameters,
    InputError,
    OutputError,
    load_masks,
    open_video,
    save_masks,
    segment_video,
)
from flowcut_napari.core.decisions import ClipVerdict
from flowcut_napari.core.files import check_writable, write_atomically
from flowcut_napari.core.store import SCHEMA, VideoMasks


@pytest.fixture
def masks(tmp_path: Path) -> VideoMasks:
    video = open_video(write_frames(tmp_path / "clip", 6, (96, 128)))
    parameters = CutParameters.preset("handmade").with_changes(height=96, width=128, crf=False)
    return segment_video(video, parameters)


def test_masks_survive_being_saved(tmp_path: Path, masks: VideoMasks) -> None:
    path = tmp_path / "out" / "clip.masks.json"
    save_masks(masks, path)
    assert load_masks(path) == masks
    assert sum(len(frame.instances) for frame in masks.frames) > 0


def test_the_file_is_what_the_contract_says(tmp_path: Path, masks: VideoMasks) -> None:
    path = tmp_path / "clip.masks.json"
    save_masks(masks, path)
    content = json.loads(path.read_text())
    assert content["schema"] == "flowcut.masks/1"
    assert set(content["video"]) == {"name", "path", "frames", "height", "width", "fingerprint"}
    assert content["parameters"]["alpha"] == masks.parameters.alpha
    frame = content["frames"][0]
    assert {"index", "file", "partner", "stop", "instances"} <= set(frame)
    assert frame["file"] == "00000.png"
    for instance in frame["instances"]:
        assert set(instance) == {
            "id", "iteration", "segmentation", "bbox", "area", "eigenvalue", "eigengap", "crf_iou", "seed", "origin",
        }  # fmt: skip
        assert instance["segmentation"]["size"] == [96, 128]
    assert content["decisions"] == {}


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    write_atomically(path, "old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OutputError, match=r"a\.json: cannot be written \(No space left on device\)"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]


def test_a_folder_that_cannot_be_written_is_found_out_before_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write into this folder"):
        check_writable(tmp_path / "file" / "out")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read as JSON"),
        ("[]", "its schema is None"),
        ('{"schema": "flowcut.masks/2"}', "its schema is 'flowcut.masks/2'; this version reads 'flowcut.masks/1'"),
        (json.dumps({"schema": SCHEMA, "video": {}}), "damaged"),
        (json.dumps({"schema": SCHEMA, "frames": 3}), "damaged"),
    ],
)
def test_files_that_are_not_known_are_refused_in_one_line(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "x.masks.json"
    path.write_text(content)
    with pytest.raises(InputError, match=message) as caught:
        load_masks(path)
    assert "\n" not in str(caught.value)


def test_hand_work_is_noticed(masks: VideoMasks) -> None:
    assert not masks.has_hand_work()
    assert masks.decide(ClipVerdict((0, 4), "reject")).has_hand_work()
    frame = next(frame for frame in masks.frames if frame.instances)
    drawn = replace(frame, instances=(replace(frame.instances[0], origin="drawn"),))
    assert replace(masks, frames=(drawn,)).has_hand_work()


def test_values_that_json_does_not_have_are_refused(tmp_path: Path, masks: VideoMasks) -> None:
    broken = replace(masks, provenance={"seconds": float(np.nan)})
    with pytest.raises(ValueError, match="not JSON compliant"):
        save_masks(broken, tmp_path / "x.masks.json")
    assert not (tmp_path / "x.masks.json").exists()
