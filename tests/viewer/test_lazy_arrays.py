from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import cut_to_nothing
from conftest import write_frames
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from flowcut_napari.core import CutParameters, open_video
from flowcut_napari.core.ncut import Cut, IterativeCut
from flowcut_napari.core.pseudo_masks import FrameMasks, Instance
from flowcut_napari.viewer.frame_results import FrameResults
from flowcut_napari.viewer.lazy_arrays import (
    Eigenvectors,
    FlowPictures,
    LazyFrames,
    MaskLabels,
    RawCuts,
    Seeds,
    TimeSeries,
    scaled,
)

SHAPE = (5, 4, 6)
WHOLE = np.random.default_rng(0).integers(0, 1000, SHAPE, dtype=np.int16)
PARAMETERS = CutParameters.preset("handmade").with_changes(max_instances=3, alpha=1.0)


class _Counted(TimeSeries):
    """An array that knows which of its frames were made."""

    def __init__(self) -> None:
        super().__init__(SHAPE, np.int16)
        self.made: list[int] = []

    def frame(self, index: int) -> np.ndarray:
        assert 0 <= index < 5
        self.made.append(index)
        return WHOLE[index]


def _axis(length: int) -> st.SearchStrategy[Any]:
    edge = st.one_of(st.none(), st.integers(-length - 2, length + 2))
    step = st.sampled_from([None, 1, 2, 3, -1, -2])
    return st.one_of(st.integers(-length, length - 1), st.builds(slice, edge, edge, step))


_KEYS = st.one_of(
    st.tuples(_axis(5)),
    st.tuples(_axis(5), _axis(4)),
    st.tuples(_axis(5), _axis(4), _axis(6)),
    st.tuples(st.just(Ellipsis), _axis(6)),
    st.tuples(st.just(Ellipsis), _axis(4), _axis(6)),
    st.tuples(_axis(5), st.just(Ellipsis)),
    st.tuples(_axis(5), st.just(Ellipsis), _axis(6)),
    st.just((Ellipsis,)),
    st.just(()),
)


@settings(deadline=None, max_examples=400)
@given(key=_KEYS)
def test_it_is_indexed_like_the_whole_array(key: tuple[Any, ...]) -> None:
    found, expected = _Counted()[key], WHOLE[key]
    assert np.asarray(found).dtype == expected.dtype
    assert_array_equal(found, expected)
    assert np.shape(found) == np.shape(expected)


@settings(deadline=None, max_examples=100)
@given(data=st.data(), count=st.integers(0, 8), negative=st.booleans())
def test_places_as_a_brush_gives_them_are_gathered(data: st.DataObject, count: int, negative: bool) -> None:
    def places(length: int) -> np.ndarray:
        least = -length if negative else 0
        return np.array(data.draw(st.lists(st.integers(least, length - 1), min_size=count, max_size=count)), int)

    frames, rows, columns = places(5), places(4), places(6)
    assert_array_equal(_Counted()[frames, rows, columns], WHOLE[frames, rows, columns])


@settings(deadline=None, max_examples=50)
@given(frame=st.integers(-5, 4), data=st.data())
def test_places_in_one_frame_are_found_in_it(frame: int, data: st.DataObject) -> None:
    rows = np.array(data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=6)))
    columns = rows % 3
    assert_array_equal(_Counted()[frame, rows, columns], WHOLE[frame, rows, columns])
    assert_array_equal(_Counted()[np.int64(frame), rows, columns], WHOLE[frame, rows, columns])


@pytest.mark.parametrize("frame", [5, -6, 1000])
def test_a_frame_beyond_the_end_is_an_index_error(frame: int) -> None:
    with pytest.raises(IndexError):
        _Counted()[frame]


def test_only_the_frames_that_take_part_are_made() -> None:
    series = _Counted()
    series[2]
    series[1:4:2, :, 0]
    series[np.array([4, 4, 0]), np.array([1, 2, 3]), np.array([0, 0, 0])]
    assert series.made == [2, 1, 3, 0, 4]


def test_it_looks_like_an_array() -> None:
    series = _Counted()
    assert (series.shape, series.ndim, series.dtype, series.size, len(series)) == (SHAPE, 3, WHOLE.dtype, 120, 5)
    assert_array_equal(np.asarray(series), WHOLE)
    assert np.asarray(series, dtype=float).dtype == float


def test_frames_are_those_of_the_video(tmp_path: Path) -> None:
    video = open_video(write_frames(tmp_path / "clip", 4))
    frames = LazyFrames(video)
    assert (frames.shape, frames.dtype) == ((4, 48, 64, 3), np.uint8)
    assert_array_equal(np.asarray(frames), np.stack([video[index] for index in range(4)]))
    assert_array_equal(frames[-1, 3:9, :, 1], video[3][3:9, :, 1])


def test_a_damaged_frame_is_grey_and_told_once(tmp_path: Path) -> None:
    video = open_video(write_frames(tmp_path / "clip", 4))
    cut_to_nothing(tmp_path / "clip" / "00002.png")
    frames, told = LazyFrames(video), []
    frames.on_damage = told.append
    for index in (1, 2, 3, 2, 0, 2, 2):
        picture = frames[index]
        assert (np.unique(picture).tolist() == [96]) == (index == 2)
    (text,) = told
    assert "00002.png" in text
    assert "\n" not in text


def test_a_damaged_frame_with_nobody_to_tell_is_grey_all_the_same(tmp_path: Path) -> None:
    video = open_video(write_frames(tmp_path / "clip", 2))
    cut_to_nothing(tmp_path / "clip" / "00001.png")
    assert (LazyFrames(video)[1] == 96).all()


# What is shown of answers.


def _cut(iteration: int, columns: slice, seed: tuple[int, int]) -> Cut:
    mask = np.zeros((4, 6), dtype=bool)
    mask[:, columns] = True
    return Cut(iteration, mask, mask, np.where(mask, 0.5, -0.25) * iteration, seed, 0.1, 0.1, 0.0)


@pytest.fixture
def results() -> FrameResults:
    known = FrameResults(PARAMETERS)
    cuts = (_cut(1, slice(0, 2), (0, 1)), _cut(2, slice(3, 4), (2, 3)))
    known.put_cuts(2, PARAMETERS, IterativeCut(cuts, "duplicate", _cut(3, slice(0, 1), (0, 1))))
    return known


def test_eigenvectors_and_cuts_are_given_frame_by_frame_a_refused_one_included(results: FrameResults) -> None:
    for iteration, columns in ((1, slice(0, 2)), (2, slice(3, 4)), (3, slice(0, 1))):
        vectors, cuts = Eigenvectors(results, iteration, 5, (4, 6)), RawCuts(results, iteration, 5, (4, 6))
        assert np.abs(vectors[2]).max() == 1
        assert (vectors[2][:, columns] == 1).all()
        assert (cuts[2] == iteration).sum() == 4 * (columns.stop - columns.start)
        assert not vectors[1].any()
        assert not cuts[1].any()
    assert not Eigenvectors(results, 4, 5, (4, 6))[2].any()
    assert not RawCuts(results, 4, 5, (4, 6))[2].any()


def test_answers_of_another_grid_are_not_shown_in_this_one(results: FrameResults) -> None:
    for series in (Eigenvectors(results, 1, 5, (8, 12)), RawCuts(results, 1, 5, (8, 12)), Seeds(results, 5, (8, 12))):
        assert series[2].shape == (8, 12)
        assert not series[2].any()


def test_seeds_are_the_iterations_at_their_patches_the_earlier_one_on_top(results: FrameResults) -> None:
    expected = np.zeros((4, 6), np.uint8)
    expected[0, 1], expected[2, 3] = 1, 2
    assert_array_equal(Seeds(results, 5, (4, 6))[2], expected)
    assert not Seeds(results, 5, (4, 6))[0].any()


def test_flow_pictures_are_dark_where_none_is_known(results: FrameResults) -> None:
    picture = np.full((8, 12, 3), 200, np.uint8)
    results.put_flow(1, PARAMETERS, picture)
    series = FlowPictures(results, 5, (8, 12))
    assert_array_equal(series[1], picture)
    assert np.unique(series[0]).tolist() == [40]
    assert np.unique(FlowPictures(results, 5, (10, 10))[1]).tolist() == [40]


def test_cuts_stand_for_masks_until_these_are_there(results: FrameResults, tmp_path: Path) -> None:
    video = open_video(write_frames(tmp_path / "clip", 5, (40, 60)))
    labels = MaskLabels(results, video)
    assert (labels.shape, labels.dtype) == ((5, 40, 60), np.uint16)
    coarse = labels[2]
    assert (coarse[:, :20] == 1).all()
    assert (coarse[:, 30:40] == 2).all()
    fine = np.zeros((40, 60), dtype=bool)
    fine[5:35, 3:17] = True
    masks = FrameMasks(2, None, "duplicate", (Instance.of_mask(1, fine, "cut"),))
    results.put_masks(2, PARAMETERS, masks)
    assert_array_equal(labels[2], fine.astype(np.uint16))
    assert not labels[3].any()
    assert_array_equal(labels[2, 4:8, 2:5], fine[4:8, 2:5])


def test_an_eigenvector_of_zeros_stays_one() -> None:
    assert_array_equal(scaled(np.zeros((2, 3))), np.zeros((2, 3), np.float32))


def test_an_eigenvector_is_scaled_so_that_a_patch_far_out_leaves_the_others_visible() -> None:
    values = np.linspace(-0.5, 0.25, 100).reshape(10, 10)
    values[0, 0] = 40
    shown = scaled(values)
    assert np.array_equal(np.sign(shown), np.sign(values))
    assert 0.9 < -shown.min() <= 1.1
    assert shown[0, 0] > 1
