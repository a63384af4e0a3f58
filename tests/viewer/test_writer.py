from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import write_frames
from napari.components import ViewerModel
from napari.utils.notifications import Notification, NotificationSeverity, notification_manager
from npe2 import PluginManager

from flowcut_napari.core import CutParameters, load_masks, open_video, segment_video
from flowcut_napari.core.ncut import IterativeCut
from flowcut_napari.core.store import VideoMasks
from flowcut_napari.viewer.frame_results import FrameResults
from flowcut_napari.viewer.lazy_arrays import MaskLabels
from flowcut_napari.viewer.preferences import Preferences
from flowcut_napari.viewer.writer import made_with, write_masks

PARAMETERS = CutParameters.preset("handmade").with_changes(height=64, width=96, gap=1, crf=False)


@pytest.fixture
def run(tmp_path: Path) -> VideoMasks:
    return segment_video(open_video(write_frames(tmp_path / "clip", 4)), PARAMETERS)


@pytest.fixture
def labels(tmp_path: Path, run: VideoMasks) -> MaskLabels:
    return MaskLabels(FrameResults(PARAMETERS), open_video(tmp_path / "clip"))


@pytest.fixture
def told() -> Iterator[list[Notification]]:
    """All that is notified meanwhile."""
    heard: list[Notification] = []
    notification_manager.notification_ready.connect(heard.append)
    yield heard
    notification_manager.notification_ready.disconnect(heard.append)


def _error(told: list[Notification]) -> str:
    (notification,) = told
    assert notification.severity == NotificationSeverity.ERROR
    assert "\n" not in notification.message
    return notification.message


def _look_at(labels: MaskLabels, run: VideoMasks, *frames: int, parameters: CutParameters = PARAMETERS) -> None:
    for index in frames:
        labels.results.put_cuts(index, parameters, IterativeCut((), "max_instances"))
        labels.results.put_masks(index, parameters, run.frames[index])


def _without_time(masks: VideoMasks) -> dict[str, Any]:
    return {name: value for name, value in masks.provenance.items() if name not in ("created", "seconds", "notes")}


def test_frames_that_were_looked_at_are_written_as_a_run_writes_them(
    labels: MaskLabels, run: VideoMasks, tmp_path: Path
) -> None:
    _look_at(labels, run, 3, 1)
    assert write_masks(str(tmp_path / "a.masks.json"), labels, {}) == [str(tmp_path / "a.masks.json")]
    written = load_masks(tmp_path / "a.masks.json")
    expected = segment_video(labels.video, PARAMETERS, indices=[1, 3])
    assert written.frames == expected.frames
    assert any(frame.instances for frame in written.frames)
    assert (written.video, written.parameters, written.files) == (expected.video, PARAMETERS, expected.files)
    assert _without_time(written) == _without_time(expected)
    assert written.basis == expected.basis


def test_masks_of_other_parameters_are_left_out(labels: MaskLabels, run: VideoMasks, tmp_path: Path) -> None:
    _look_at(labels, run, 0, 1)
    _look_at(labels, run, 2, parameters=PARAMETERS.with_changes(tau=0.9))
    (path,) = write_masks(str(tmp_path / "a.masks.json"), labels, {})
    assert [frame.index for frame in load_masks(Path(path)).frames] == [0, 1]


def test_a_run_is_written_whole_and_as_it_is(labels: MaskLabels, run: VideoMasks, tmp_path: Path) -> None:
    decided = replace(run, provenance={**run.provenance, "seconds": 12.5})
    labels.results.put_saved(decided)
    _look_at(labels, run, 1)
    (path,) = write_masks(str(tmp_path / "a.masks.json"), labels, {})
    assert load_masks(Path(path)) == decided


def test_frames_that_were_looked_at_join_those_of_a_run_and_what_a_person_did_stays(
    labels: MaskLabels, run: VideoMasks, tmp_path: Path, told: list[Notification]
) -> None:
    first = replace(run, frames=run.frames[:2], files={index: run.files[index] for index in (0, 1)})
    mask = np.zeros((run.video.height, run.video.width), bool)
    mask[2:9, 3:7] = True
    saved = first.with_mask(1, mask)
    labels.results.put_saved(saved)
    _look_at(labels, run, 1, 3)
    (path,) = write_masks(str(tmp_path / "a.masks.json"), labels, {})
    written = load_masks(Path(path))
    assert written.frames == (*saved.frames, run.frames[3])
    assert written.files == {index: run.files[index] for index in (0, 1, 3)}
    assert (written.hand_masks(), written.provenance) == (saved.hand_masks(), saved.provenance)
    assert told == []


def test_masks_of_another_video_content_are_not_mixed(
    labels: MaskLabels, run: VideoMasks, tmp_path: Path, told: list[Notification]
) -> None:
    saved = replace(run, frames=run.frames[:2], video=replace(run.video, fingerprint="0" * 32))
    labels.results.put_saved(saved)
    _look_at(labels, run, 3)
    (path,) = write_masks(str(tmp_path / "a.masks.json"), labels, {})
    assert [frame.index for frame in load_masks(Path(path)).frames] == [0, 1]
    assert "left out 1 frame(s) that were looked at since" in told[0].message


def test_after_a_run_with_other_parameters_what_was_looked_at_since_is_written(
    labels: MaskLabels, run: VideoMasks, tmp_path: Path, told: list[Notification]
) -> None:
    labels.results.put_saved(run)
    labels.results.parameters = PARAMETERS.with_changes(tau=0.9)
    (path,) = write_masks(str(tmp_path / "a.masks.json"), labels, {})
    assert load_masks(Path(path)) == run
    _look_at(labels, run, 2, parameters=labels.results.parameters)
    (path,) = write_masks(str(tmp_path / "a.masks.json"), labels, {})
    written = load_masks(Path(path))
    assert (written.parameters.tau, [frame.index for frame in written.frames]) == (0.9, [2])
    (notification,) = told
    assert "left out 4 frame(s) of before" in notification.message


@pytest.mark.parametrize("given", ["a", "a.json", "a.masks.json"])
def test_the_file_is_named_as_masks_files_are(given: str, labels: MaskLabels, run: VideoMasks, tmp_path: Path) -> None:
    _look_at(labels, run, 0)
    assert write_masks(str(tmp_path / given), labels, {}) == [str(tmp_path / "a.masks.json")]
    assert json.loads((tmp_path / "a.masks.json").read_text())["schema"] == "flowcut.masks/1"


def test_labels_of_others_are_refused_by_name(tmp_path: Path, told: list[Notification]) -> None:
    assert write_masks(str(tmp_path / "a.masks.json"), np.zeros((3, 4), int), {"name": "my cells"}) == []
    assert "my cells: only layers with masks of FlowCut" in _error(told)
    assert list(tmp_path.iterdir()) == []


def test_where_nothing_was_masked_nothing_is_written(
    labels: MaskLabels, tmp_path: Path, told: list[Notification]
) -> None:
    assert write_masks(str(tmp_path / "a.masks.json"), labels, {}) == []
    assert _error(told) == "clip: no frame has masks yet"
    assert not (tmp_path / "a.masks.json").exists()


def test_a_place_that_cannot_be_written_is_said(
    labels: MaskLabels, run: VideoMasks, tmp_path: Path, told: list[Notification]
) -> None:
    _look_at(labels, run, 0)
    (tmp_path / "file").write_text("in the way")
    assert write_masks(str(tmp_path / "file" / "a.masks.json"), labels, {}) == []
    assert "cannot be written" in _error(told)


def test_weights_are_found_where_the_preferences_say_and_torch_stays_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FLOWCUT_WEIGHTS", raising=False)
    monkeypatch.setenv("FLOWCUT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "dino.pth").write_bytes(b"weights")
    preferences = Preferences(device="auto", weights_folder=str(tmp_path))
    # The flow of DIS needs none; dino is looked for by its other names, too.
    parameters = PARAMETERS.with_changes(features="dino", flow="dis")
    provenance = made_with(parameters, {}, "cuda:1", preferences)
    assert provenance["features"] == {
        "name": "dino",
        "weights": "dino.pth",
        "sha256": hashlib.sha256(b"weights").hexdigest(),
    }
    assert (provenance["device"], provenance["notes"]) == ("cuda:1", [])
    assert "FLOWCUT_WEIGHTS" not in os.environ
    (tmp_path / "dino.pth").unlink()
    provenance = made_with(parameters, {}, "cuda:1", preferences)
    assert provenance["features"]["sha256"] is None
    assert provenance["notes"] == ["the weights of dino were gone when this was saved"]
    code = (
        "import sys; from flowcut_napari.viewer.writer import *; "
        "made_with(CutParameters.preset('flowcut'), {}, 'auto', Preferences()); sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_napari_saves_the_layer_by_its_ending(labels: MaskLabels, run: VideoMasks, tmp_path: Path) -> None:
    PluginManager.instance().discover()
    labels.results.put_saved(run)
    viewer = ViewerModel()
    viewer.add_labels(labels, name="masks")
    assert viewer.layers.save(str(tmp_path / "a.masks.json"), selected=False, plugin="flowcut-napari") == [
        str(tmp_path / "a.masks.json")
    ]
    assert load_masks(tmp_path / "a.masks.json") == run
