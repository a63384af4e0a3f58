from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_masks import of_letters

from flowcut_napari.core import CutParameters
from flowcut_napari.core.ncut import IterativeCut
from flowcut_napari.core.pseudo_masks import FrameMasks, Instance
from flowcut_napari.viewer import frame_results
from flowcut_napari.viewer.frame_results import FrameResults

NOW = CutParameters.preset("handmade")
BEFORE = NOW.with_changes(tau=0.2)
NOTHING = IterativeCut((), "max_instances")


def _masks(index: int) -> FrameMasks:
    return FrameMasks(index, None, "max_instances", (Instance.of_mask(1, np.ones((1, 2), dtype=bool), "cut"),))


@pytest.fixture
def results() -> FrameResults:
    return FrameResults(NOW)


def test_a_frame_is_complete_when_its_masks_are_there_and_of_now(results: FrameResults) -> None:
    assert not results.is_complete(3)
    results.put_cuts(3, NOW, NOTHING)
    assert not results.is_complete(3)
    results.put_masks(3, NOW, _masks(3))
    assert results.is_complete(3)
    results.parameters = BEFORE
    assert not results.is_complete(3)


def test_old_answers_are_given_for_the_frame_that_is_looked_at_and_no_other(results: FrameResults) -> None:
    for frame in (3, 4):
        results.put_cuts(frame, BEFORE, NOTHING)
        results.put_masks(frame, BEFORE, _masks(frame))
    results.frame = 3
    assert results.masks(3) == _masks(3)
    assert (results.answer(4), results.masks(4)) == (None, None)
    assert results.fresh_masks() == {}
    # No answer will come that takes its place.
    results.holds = False
    assert results.answer(3) is None


def test_going_back_to_earlier_parameters_finds_what_was_known(results: FrameResults) -> None:
    results.put_cuts(3, NOW, NOTHING)
    results.put_masks(3, NOW, _masks(3))
    results.parameters = BEFORE
    assert results.answer(3) is None
    results.parameters = NOW
    assert results.masks(3) == _masks(3)


def test_masks_of_other_cuts_than_the_last_are_not_put_beside_them(results: FrameResults) -> None:
    results.put_cuts(3, NOW, NOTHING)
    results.put_masks(3, BEFORE, _masks(3))
    results.put_masks(4, NOW, _masks(4))
    assert results.masks(3) is None
    assert results.answer(4) is None


def test_new_cuts_take_the_place_of_old_masks(results: FrameResults) -> None:
    results.put_cuts(3, BEFORE, NOTHING)
    results.put_masks(3, BEFORE, _masks(3))
    results.put_cuts(3, NOW, NOTHING)
    results.frame = 3
    assert results.masks(3) is None


def test_only_so_many_answers_are_kept_those_not_asked_for_go_first(
    results: FrameResults, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frame_results, "_FRAMES", 3)
    for frame in (0, 1, 2):
        results.put_cuts(frame, NOW, NOTHING)
    results.answer(0)
    results.put_cuts(3, NOW, NOTHING)
    assert [frame for frame in range(4) if results.answer(frame)] == [0, 2, 3]


def test_only_so_many_flow_pictures_are_kept(results: FrameResults, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame_results, "_FLOW_BYTES", 2 * np.full((2, 2, 3), 0).nbytes)
    for frame in (0, 1):
        results.put_flow(frame, NOW, np.full((2, 2, 3), frame))
    results.flow_picture(0)
    results.put_flow(2, NOW, np.full((2, 2, 3), 2))
    assert [frame for frame in range(3) if results.flow_picture(frame) is not None] == [0, 2]


def test_a_flow_picture_serves_all_parameters_that_have_the_same_flow(results: FrameResults) -> None:
    results.put_flow(0, NOW, np.zeros((2, 2, 3)))
    for changes, is_known in (({"tau": 0.9, "crf": False}, True), ({"gap": 2}, False), ({"min_flow": 0}, False)):
        results.parameters = NOW.with_changes(**changes)
        assert (results.flow_picture(0) is not None) == is_known


def test_what_was_made_with_other_weights_is_forgotten(results: FrameResults) -> None:
    results.use_weights({"dino": Path("a.pth")})
    results.put_cuts(3, NOW, NOTHING)
    results.put_masks(3, NOW, _masks(3))
    results.put_flow(3, NOW, np.zeros((2, 2, 3)))
    results.use_weights({"dino": Path("a.pth")})
    assert results.is_complete(3)
    results.use_weights({"dino": Path("b.pth")})
    assert not results.is_complete(3)
    assert results.flow_picture(3) is None


def test_saved_masks_are_shown_where_nothing_fresher_is_known(results: FrameResults) -> None:
    saved = of_letters("AA.", "A..")
    results.put_saved(saved)
    assert results.masks(1) == saved.frames[1]
    assert results.masks(2) is None
    results.put_cuts(1, NOW, NOTHING)
    # Its cuts are fresher, though its masks are still to come.
    assert results.masks(1) is None
    results.put_masks(1, NOW, _masks(1))
    assert results.masks(1) == _masks(1)
    assert results.masks(0) == saved.frames[0]
    results.put_saved(None)
    assert results.masks(0) is None


def test_frames_of_a_run_that_goes_on_are_shown_one_by_one(results: FrameResults) -> None:
    results.put_saved_frame(_masks(5))
    assert results.masks(5) == _masks(5)
    assert results.saved is None
    # A run that was cancelled takes its frames along.
    results.put_saved(results.saved)
    assert results.masks(5) is None
