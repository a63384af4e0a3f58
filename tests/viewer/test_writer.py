from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import write_frames
from napari.components import ViewerModel
from npe2 import PluginManager

from flowcut_napari.core import CutParameters, InputError, OutputError, load_masks, open_video, segment_video
from flowcut_napari.core.ncut import IterativeCut
from flowcut_napari.core.store import VideoMasks
from flowcut_napari.viewer.frame_results import FrameResults
from flowcut_napari.viewer.lazy_arrays import MaskLabels
from flowcut_napari.viewer.writer import write_masks

PARAMETERS = CutParameters.preset("handmade").with_changes(height=64, width=96, gap=1, crf=False)


@pytest.fixture
def run(tmp_path: Path) -> VideoMasks:
    return segment_video(open_video(write_frames(tmp_path / "clip", 4)), PARAMETERS)


@pytest.fixture
def labels(tmp_path: Path, run: VideoMasks) -> MaskLabels:
    return MaskLabels(FrameResults(PARAMETERS), open_video(tmp_path / "clip"))


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


def test_after_a_run_with_other_parameters_what_was_looked_at_since_is_written(
    labels: MaskLabels, run: VideoMasks, tmp_path: Path
) -> None:
    labels.results.put_saved(run)
    labels.results.parameters = PARAMETERS.with_changes(tau=0.9)
    (path,) = write_masks(str(tmp_path / "a.masks.json"), labels, {})
    assert load_masks(Path(path)) == run
    _look_at(labels, run, 2, parameters=labels.results.parameters)
    (path,) = write_masks(str(tmp_path / "a.masks.json"), labels, {})
    written = load_masks(Path(path))
    assert (written.parameters.tau, [frame.index for frame in written.frames]) == (0.9, [2])


@pytest.mark.parametrize("given", ["a", "a.json", "a.masks.json"])
def test_the_file_is_named_as_masks_files_are(given: str, labels: MaskLabels, run: VideoMasks, tmp_path: Path) -> None:
    _look_at(labels, run, 0)
    assert write_masks(str(tmp_path / given), labels, {}) == [str(tmp_path / "a.masks.json")]
    assert json.loads((tmp_path / "a.masks.json").read_text())["schema"] == "flowcut.masks/1"


def test_labels_of_others_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="my cells: only layers with masks of FlowCut"):
        write_masks(str(tmp_path / "a.masks.json"), np.zeros((3, 4), int), {"name": "my cells"})
    assert list(tmp_path.iterdir()) == []


def test_where_nothing_was_masked_nothing_is_written(labels: MaskLabels, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="clip: no frame has masks yet"):
        write_masks(str(tmp_path / "a.masks.json"), labels, {})
    assert not (tmp_path / "a.masks.json").exists()


def test_a_place_that_cannot_be_written_is_an_error(labels: MaskLabels, run: VideoMasks, tmp_path: Path) -> None:
    _look_at(labels, run, 0)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot be written"):
        write_masks(str(tmp_path / "file" / "a.masks.json"), labels, {})


def test_napari_saves_the_layer_by_its_ending(labels: MaskLabels, run: VideoMasks, tmp_path: Path) -> None:
    PluginManager.instance().discover()
    labels.results.put_saved(run)
    viewer = ViewerModel()
    viewer.add_labels(labels, name="masks")
    assert viewer.layers.save(str(tmp_path / "a.masks.json"), selected=False, plugin="flowcut-napari") == [
        str(tmp_path / "a.masks.json")
    ]
    assert load_masks(tmp_path / "a.masks.json") == run
