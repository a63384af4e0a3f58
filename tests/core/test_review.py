from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_masks import of_letters, of_masks

from flowcut_napari.core import CurationParameters, InputError
from flowcut_napari.core import editing as edit
from flowcut_napari.core.clips import Curation
from flowcut_napari.core.review import Review
from flowcut_napari.core.store import VideoMasks


def review_of(masks: VideoMasks, gaps: tuple[int, ...] = (1, 2), iou: float = 0.5) -> Review:
    return Review(Curation(masks, CurationParameters(gaps=gaps, iou=iou)))


def curate(masks: VideoMasks) -> Curation:
    return Curation(masks, CurationParameters(gaps=(1, 2)))


@pytest.mark.parametrize(
    "frames", [(), ("AAAA",), ("....",), ("....", "...."), ("AAAA", "...."), ("....", "AAAA", "....")]
)
def test_videos_with_hardly_anything_in_them_have_nothing_to_look_at_but_can_be_looked_at(
    frames: tuple[str, ...],
) -> None:
    masks = of_letters(*frames) if frames else replace(of_letters("A"), frames=())
    review = review_of(masks, gaps=(1, 2, 9))
    assert len(review.pairs) == max(0, len(frames) - 1) + max(0, len(frames) - 2)
    assert review.uncertain == () and review.count_open == 0
    assert review.next_uncertain(None) is None and review.next_open(None) is None
    assert review.pair(0, 9) is None and review.pair(99, 1) is None and review.place_of(-1) is None
    for back in (False, True):
        assert review.next_break(0, back) == (review.breaks[0] if review.breaks else None)


def test_pairs_are_of_frames_with_masks_however_far_apart_these_are() -> None:
    masks = of_letters(*["AAAA"] * 11)
    review = review_of(replace(masks, frames=masks.frames[::5]))
    assert [pair.frames for pair in review.pairs.values()] == [(0, 5), (5, 10), (0, 10)]
    assert review.pair(3, 1) is None


def test_all_objects_that_are_lost_in_one_frame_are_come_to_one_after_the_other_and_back() -> None:
    review = review_of(of_letters("AABBCC", "AABBCC", "......", "......"))
    here, came = None, []
    for _ in range(4):
        found = review.next_break(here[0] if here else 0, here=here)
        here = found.last
        came.append(here)
    assert came == [(1, 1), (1, 2), (1, 3), (1, 1)]
    assert review.next_break(1, back=True, here=(1, 3)).last == (1, 2)
    assert review.next_break(1, back=True, here=(1, 1)).last == (1, 3)
    # What is chosen in another frame says nothing.
    assert review.next_break(0, here=(5, 1)).last == (1, 1)


def test_a_review_after_an_action_is_that_of_the_masks_alone_at_300_objects_a_frame() -> None:
    size = (30, 40)
    place = np.arange(30 * 40).reshape(size) // 4
    frames = [{number + 1: place == number for number in range(300)} for _ in range(3)]
    masks = of_masks(frames, size=size)
    before = review_of(masks)
    after = edit.judge_instance(masks, (1, 17), "reject")
    again = Review(Curation(after, before.curation.parameters), before)
    assert again.pairs == review_of(after).pairs
    assert len(again.pairs[1, 0].outcome.tracks) == 299


def test_at_a_threshold_of_nothing_and_of_nearly_everything_each_pair_has_its_place() -> None:
    masks = of_letters("AAAA..", "..AAAA", "AAAA..")
    assert [pair.weakest for pair in review_of(masks, iou=0).pairs.values()] == pytest.approx([1 / 3, 1 / 3, 1.0])
    strict = review_of(masks, iou=0.99)
    assert [len(pair.outcome.tracks) for pair in strict.pairs.values()] == [0, 0, 1]
    assert strict.uncertain[0].frames == (0, 2)


@settings(max_examples=60, deadline=None)
@given(
    before=st.lists(st.sampled_from("AB."), min_size=8, max_size=8).map("".join),
    after=st.lists(st.sampled_from("AB."), min_size=8, max_size=8).map("".join),
)
def test_a_brush_leaves_of_a_frame_what_was_painted_and_nothing_else(before: str, after: str) -> None:
    masks = of_letters(before, "AAAABBBB")
    curation = curate(masks)
    shown = np.zeros((1, 8), int)
    for item in masks.frames[0].instances:
        shown[item.mask] = curation.identity[0, item.id]
    wanted = np.array([[{"A": 1, "B": 2, ".": 0}[letter] for letter in after]])
    try:
        painted = edit.repaint(
            masks, 0, {number: wanted == number for number in np.unique(wanted).tolist() if number}, curate
        )
    except InputError:
        return  # the other object of that number cannot be here
    left = np.zeros((1, 8), bool)
    for item in edit.seen_in(painted, 0):
        assert not (left & item.mask).any()
        left |= item.mask
    np.testing.assert_array_equal(left, wanted > 0)
    assert painted.frames[1] is masks.frames[1]
    assert (painted is masks) == np.array_equal(shown, wanted)


def test_a_brush_keeps_what_is_under_another_mask() -> None:
    hidden, over = np.zeros((2, 1, 8), bool)
    hidden[0, :3], over[0, :6] = True, True
    masks = of_masks([{1: hidden, 2: over}] * 2, size=(1, 8))
    curation = curate(masks)
    first, second = (curation.identity[0, number] for number in (1, 2))
    more = over.copy()
    more[0, 7] = True
    painted = edit.repaint(masks, 0, {second: more}, curate)
    assert painted.frames[0].instances[0] is masks.frames[0].instances[0]
    # To erase where both are takes it from both.
    erased = edit.repaint(masks, 0, {second: over & ~hidden}, curate)
    assert {key for key, verdict in erased.decisions.instances().items() if verdict == "reject"} == {(0, 1)}
    assert first != second


def test_a_mask_that_is_painted_elsewhere_stays_the_same_object() -> None:
    masks = of_letters("AAA.....BB", "AAA.....BB", "AAA.....BB")
    moved = np.zeros((1, 10), bool)
    moved[0, 4:6] = True
    still = masks.frames[1].instances[1].mask
    painted = edit.repaint(masks, 1, {1: moved, 2: still}, curate)
    chain = next(chain for chain in curate(painted).chains if chain.identity == 1)
    assert chain.members == ((0, 1), (1, 1), (2, 1))


def test_a_rejected_mask_is_drawn_anew_in_its_place() -> None:
    masks = of_letters("AAA.", "AAA.", "AAA.")
    rejected = edit.remove(masks, (1, 1))
    drawn = edit.draw_as(rejected, 1, np.array([[False, False, False, True]]), 1, curate)
    assert not drawn.decisions.instances() and len(drawn.frames[1].instances) == 1
    assert {chain.identity for chain in curate(drawn).chains} == {1}
    with pytest.raises(InputError, match="object 1 has a mask in frame 1 already"):
        edit.draw_as(drawn, 1, np.array([[True, False, False, False]]), 1, curate)
