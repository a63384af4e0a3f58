from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from benches import SMALL
from conftest import write_frames
from numpy.testing import assert_allclose, assert_array_equal

from flowcut_napari.core import open_video, segment_video
from flowcut_napari.core.affinity import Cosines
from flowcut_napari.core.models import ModelPlan
from flowcut_napari.core.ncut import Cut, IterativeCut, cut_cosines
from flowcut_napari.core.preview import COLOURS
from flowcut_napari.core.pseudo_masks import FrameMasks, Instance, Rejected
from flowcut_napari.core.story import tell_mask, tell_stop
from flowcut_napari.viewer.frame_results import FrameAnswer
from flowcut_napari.viewer.layer_styles import COLD, WARM, affinity_picture, diverging_picture
from flowcut_napari.widgets.story.pictures import mark_patch, tell_story, thumbnail, upsample_patches

GRID = (4, 6)
GREY = np.full((40, 60, 3), 120, np.uint8)


def _cut(iteration: int, columns: slice) -> Cut:
    mask = np.zeros(GRID, dtype=bool)
    mask[:, columns] = True
    vector = np.where(mask, 0.5, -0.25)
    return Cut(iteration, mask, mask, vector, (1, columns.start), 0.1, 0.1, 0.0)


def _mask(columns: slice) -> np.ndarray:
    mask = np.zeros((80, 120), dtype=bool)
    mask[:, columns] = True
    return mask


@pytest.fixture
def answer() -> FrameAnswer:
    result = IterativeCut((_cut(1, slice(0, 2)), _cut(2, slice(3, 5))), "duplicate", _cut(3, slice(0, 1)))
    kept = replace(Instance.of_mask(1, _mask(slice(0, 40)), "cut"), iteration=1, crf_iou=0.9)
    masks = FrameMasks(0, None, "duplicate", (kept,), (Rejected(2, "crf_iou", 0.1, 0.2, 0.1, 0.1, (1, 3)),))
    return FrameAnswer(SMALL, result, masks)


def test_each_cut_is_a_row_and_the_end_is_told(answer: FrameAnswer) -> None:
    story = tell_story(answer, answer.masks, GREY, SMALL)
    assert [row.iteration for row in story.rows] == [1, 2, 3]
    assert [row.is_kept for row in story.rows] == [True, False, False]
    assert [row.mask is not None for row in story.rows] == [True, False, False]
    assert answer.masks is not None
    assert story.rows[0].verdict == tell_mask(answer.masks, 1, SMALL)
    assert story.rows[1].verdict.startswith("dropped: IoU 0.20")
    assert story.rows[2].verdict == "refused, see below"
    assert story.stop == tell_stop(answer.result, SMALL)
    for row in story.rows:
        for picture in (row.eigenvector, row.cut):
            assert (picture.shape, picture.dtype) == (GREY.shape, np.uint8)


def test_until_masks_are_there_it_says_that_they_are_refined(answer: FrameAnswer) -> None:
    story = tell_story(answer, None, GREY, SMALL)
    assert [(row.verdict, row.is_kept, row.mask) for row in story.rows] == [
        ("refining …", None, None),
        ("refining …", None, None),
        ("refused, see below", False, None),
    ]


def test_a_cut_shines_in_its_colour_and_the_rest_steps_back(answer: FrameAnswer) -> None:
    story = tell_story(answer, answer.masks, GREY, SMALL)
    picture = story.rows[1].cut
    inside = np.zeros((40, 60), dtype=bool)
    inside[:, 30:50] = True
    expected = 0.45 * 120 + 0.55 * np.array(COLOURS[1], float)
    assert np.abs(picture[inside].astype(float) - expected).max() <= 1
    assert (picture[~inside] == 80).all()
    # The mask of the video's own size, drawn small.
    mask = story.rows[0].mask
    assert mask is not None
    assert (mask[:, 20:] == 80).all()
    assert not (mask[:, :20] == 80).all(axis=-1).any()


def test_the_eigenvector_is_warm_at_the_object_with_its_seed_framed(answer: FrameAnswer) -> None:
    picture = tell_story(answer, answer.masks, GREY, SMALL).rows[0].eigenvector
    warm, cold = (np.array(colour) * 255 for colour in (WARM, COLD))
    at = picture[35, 15].astype(float)
    assert np.abs(at - warm).sum() < np.abs(at - cold).sum()
    assert picture[35, 55, 2] > picture[35, 55, 0]
    # Patch (1, 0) takes rows 10 to 19, columns 0 to 9.
    assert (picture[9, :11] == 255).all()
    assert (picture[20, :11] == 255).all()
    assert (picture[10:20, 10] == 255).all()
    assert_array_equal(picture[10:20, 0:10], np.broadcast_to(picture[35, 5], (10, 10, 3)))


@pytest.mark.parametrize("size", [(40, 60), (41, 63), (3, 5), (160, 240)])
def test_patches_become_pixels_by_nearest_neighbour(size: tuple[int, int]) -> None:
    patches = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    picture = upsample_patches(patches, *size)
    assert picture.shape == (*size, 3)
    for row in range(size[0]):
        for col in range(size[1]):
            assert_array_equal(picture[row, col], patches[row * 4 // size[0], col * 6 // size[1]])


@pytest.mark.parametrize("patch", [(0, 0), (3, 5), (0, 5), (3, 0), (2, 2)])
def test_a_frame_stays_in_the_picture_and_does_not_cover_its_patch(patch: tuple[int, int]) -> None:
    picture = np.zeros((40, 60, 3), np.uint8)
    mark_patch(picture, patch, GRID)
    inner = picture[10 * patch[0] : 10 * patch[0] + 10, 10 * patch[1] : 10 * patch[1] + 10]
    assert not inner.any()
    assert (picture == 255).any()
    assert set(np.unique(picture)) == {0, 255}


@pytest.mark.parametrize(("shape", "small"), [((360, 640), (56, 100)), ((640, 360), (178, 100)), ((2, 4000), (1, 100))])
def test_a_small_picture_keeps_its_shape(shape: tuple[int, int], small: tuple[int, int]) -> None:
    picture = thumbnail(np.full((*shape, 3), 7, np.uint8), 100)
    assert picture.shape == (*small, 3)
    assert (picture == 7).all()


def test_colours_say_sign_and_size() -> None:
    ends = diverging_picture(np.array([[-1.0, 0.0, 1.0, 5.0]]))[0]
    assert_allclose(ends[0], 255 * np.array(COLD), atol=1)
    assert_allclose(ends[2], 255 * np.array(WARM), atol=1)
    assert_array_equal(ends[3], ends[2])
    assert ends[1].max() < 30
    row = affinity_picture(np.array([[-0.5, 0.0, 0.5, 1.0]]))[0].astype(int)
    assert_array_equal(row[0], row[1])
    assert row[1].sum() < row[2].sum() < row[3].sum()


def test_the_story_of_a_real_frame_agrees_with_its_masks(tmp_path: Path) -> None:
    video = open_video(write_frames(tmp_path / "clip", 4, (96, 128)))
    parameters = SMALL.with_changes(max_instances=4, min_area=0.0)
    (masks,) = segment_video(video, parameters, indices=[0]).frames
    (description,) = ModelPlan.make(parameters, {}, "cpu", fetch=False).build().describe(video, [0])
    result = cut_cosines(Cosines.of(description.rgb, description.motion), description.grid, parameters)
    story = tell_story(FrameAnswer(parameters, result, masks), masks, thumbnail(video[0], 100), parameters)
    kept = {instance.iteration for instance in masks.instances}
    assert {row.iteration for row in story.rows if row.is_kept} == kept
    assert len(story.rows) == len(result.cuts) + (result.rejected is not None)
    assert kept


def test_pictures_need_no_qt() -> None:
    code = "import sys, flowcut_napari.widgets.story.pictures\n"
    code += "print(any('Qt' in name or name == 'qtpy' for name in sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"
