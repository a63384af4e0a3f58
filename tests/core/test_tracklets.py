from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_masks import of_letters, of_masks

from flowcut_napari.core import InputError
from flowcut_napari.core.clips import curate_video
from flowcut_napari.core.decisions import Join, Relabel, Split
from flowcut_napari.core.masks import mask_iou
from flowcut_napari.core.matching import match_instances, match_video
from flowcut_napari.core.parameters import CurationParameters
from flowcut_napari.core.store import VideoMasks
from flowcut_napari.core.tracklets import Tracklet, chain_matches


@st.composite
def videos(draw: st.DrawFn) -> VideoMasks:
    """A short video of up to four blobs that move, change, vanish and are renumbered from frame to frame."""
    random = np.random.default_rng(draw(st.integers(0, 100_000)))
    labels = random.integers(0, 5, (5, 6))
    frames = []
    for _ in range(draw(st.integers(1, 7))):
        labels = np.where(random.random(labels.shape) < 0.15, random.integers(0, 5, labels.shape), labels)
        gone = random.random(5) < 0.25
        numbers = random.permutation(4) + 1
        shown = {int(numbers[k - 1]): labels == k for k in range(1, 5) if not gone[k] and (labels == k).any()}
        frames.append(shown)
    return of_masks(frames, size=(5, 6))


def _chains(masks: VideoMasks, span: int, *decisions: object) -> tuple[Tracklet, ...]:
    frames = [(frame.index, [instance.id for instance in frame.instances]) for frame in masks.frames]
    rles = [[instance.segmentation for instance in frame.instances] for frame in masks.frames]
    return chain_matches(frames, match_video(rles, span), span, decisions)  # type: ignore[arg-type]


def _members(tracklets: tuple[Tracklet, ...]) -> dict[int, list[tuple[int, int]]]:
    return {tracklet.identity: list(tracklet.members) for tracklet in tracklets}


@settings(max_examples=60, deadline=None)
@given(masks=videos(), span=st.integers(1, 4), method=st.sampled_from(["argmax", "hungarian"]))
def test_a_whole_video_is_matched_as_frame_by_frame(masks: VideoMasks, span: int, method: str) -> None:
    rles = [[instance.segmentation for instance in frame.instances] for frame in masks.frames]
    found = match_video(rles, span, 0.3, method)  # type: ignore[arg-type]
    count = len(masks.frames)
    assert set(found) == {(a, b) for a in range(count) for b in range(a + 1, count) if b - a <= span}
    for (a, b), matches in found.items():
        decoded = [[instance.mask for instance in masks.frames[place].instances] for place in (a, b)]
        expected = match_instances(*decoded, 0.3, method)  # type: ignore[arg-type]
        assert matches.pairs == expected.pairs
        assert matches.iou == pytest.approx(expected.iou)


@settings(max_examples=80, deadline=None)
@given(masks=videos(), span=st.integers(1, 4))
def test_every_instance_is_in_one_tracklet_and_every_link_is_a_match(masks: VideoMasks, span: int) -> None:
    tracklets = _chains(masks, span)
    instances = {(frame.index, item.id): item.mask for frame in masks.frames for item in frame.instances}
    assert sorted(key for tracklet in tracklets for key in tracklet.members) == sorted(instances)
    assert [tracklet.identity for tracklet in tracklets] == list(range(1, len(tracklets) + 1))
    ends, starts = set(), set()
    for tracklet in tracklets:
        ends.add(tracklet.members[-1])
        starts.add(tracklet.members[0])
        for first, second, iou in zip(tracklet.members, tracklet.members[1:], tracklet.ious, strict=False):
            assert 1 <= second[0] - first[0] <= span
            assert iou == pytest.approx(mask_iou(instances[first], instances[second]))
            assert iou is not None
            assert iou > 0.5
        weakest = min((iou for iou in tracklet.ious if iou is not None), default=None)
        assert tracklet.weakest == weakest
    # No chain stops where another starts that matches it: what matches is linked.
    for first in ends:
        for second in starts:
            if 1 <= second[0] - first[0] <= span:
                assert mask_iou(instances[first], instances[second]) <= 0.5


def test_a_chain_goes_on_over_frames_without_its_object_but_not_over_too_many() -> None:
    masks = of_letters("AAAA....", "........", "........", "AAAA....")
    assert _members(_chains(masks, 3)) == {1: [(0, 1), (3, 1)]}
    assert _members(_chains(masks, 2)) == {1: [(0, 1)], 2: [(3, 1)]}


def test_the_nearest_frame_comes_first() -> None:
    masks = of_letters("AAAA....", "AAA.....", "AAAA....")
    assert _members(_chains(masks, 2)) == {1: [(0, 1), (1, 1), (2, 1)]}


def test_the_weakest_link_of_a_chain_is_known() -> None:
    (tracklet,) = _chains(of_letters("AAAA....", "AAA.....", "AAAA...."), 1)
    assert tracklet.ious == (0.75, 0.75)
    assert tracklet.weakest == 0.75


def test_two_joins_swap_two_identities_from_a_frame_on() -> None:
    masks = of_letters("AAAA.BBB", "AAAA.BBB", "AAAA.BBB", "AAAA.BBB")
    swapped = _chains(masks, 2, Join((1, 1), (2, 2)), Join((1, 2), (2, 1)))
    assert _members(swapped) == {
        1: [(0, 1), (1, 1), (2, 2), (3, 2)],
        2: [(0, 2), (1, 2), (2, 1), (3, 1)],
    }
    assert [tracklet.ious[1] for tracklet in swapped] == [None, None]
    assert [tracklet.weakest for tracklet in swapped] == [1.0, 1.0]


def test_a_join_leads_over_any_distance_and_leaves_what_was_linked() -> None:
    masks = of_letters("AAAA....", "AAAA....", "....BBBB", "....BBBB")
    joined = _chains(masks, 1, Join((0, 1), (3, 2)))
    assert _members(joined) == {1: [(0, 1), (3, 2)], 2: [(2, 2)], 3: [(1, 1)]}


def test_a_split_starts_a_tracklet_and_a_later_join_undoes_it() -> None:
    masks = of_letters("AAAA", "AAAA", "AAAA")
    for span in (1, 2):
        assert _members(_chains(masks, span, Split((1, 1)))) == {1: [(0, 1)], 2: [(1, 1), (2, 1)]}
    assert _members(_chains(masks, 1, Split((1, 1)), Join((0, 1), (1, 1)))) == {1: [(0, 1), (1, 1), (2, 1)]}


def test_the_last_of_contradicting_joins_counts() -> None:
    masks = of_letters("AA.BB", "AA.BB")
    joined = _chains(masks, 1, Join((0, 1), (1, 2)), Join((0, 2), (1, 2)))
    assert _members(joined) == {1: [(0, 1), (1, 1)], 2: [(0, 2), (1, 2)]}


def test_a_name_is_kept_others_take_numbers_that_are_free_and_one_name_is_one_tracklet() -> None:
    masks = of_letters("AAAA.BBB", "AAAA.BBB", "......BB", "CCCC....")
    named = _chains(masks, 1, Relabel((1, 1), 2))
    assert _members(named)[2] == [(0, 1), (1, 1)]
    assert {name: members[0] for name, members in _members(named).items()} == {2: (0, 1), 3: (3, 3), 4: (0, 2)}
    merged = _chains(masks, 1, Relabel((1, 1), 7), Relabel((3, 3), 7))
    assert _members(merged)[7] == [(0, 1), (1, 1), (3, 3)]
    (seven,) = [tracklet for tracklet in merged if tracklet.identity == 7]
    assert seven.ious == (1.0, None)


def test_a_decision_changes_the_number_of_nothing_that_it_does_not_touch() -> None:
    masks = of_letters("AAAA.BBB", "AAAA.BBB", "AAAA.BBB", "CCCC....")
    assert _members(_chains(masks, 1)) == {1: [(0, 1), (1, 1), (2, 1), (3, 3)], 2: [(0, 2), (1, 2), (2, 2)]}
    split = _members(_chains(masks, 1, Split((1, 1))))
    assert split == {1: [(0, 1)], 2: [(0, 2), (1, 2), (2, 2)], 3: [(1, 1), (2, 1), (3, 3)]}


def test_what_is_drawn_by_hand_is_numbered_after_what_was_cut() -> None:
    masks = of_letters("AAAA......", "AAAA...BBB", "AAAA..BBBB")
    mask = np.zeros((1, 10), bool)
    mask[0, 5] = True
    masks = masks.with_mask(0, mask)
    tracklets = curate_video(masks, CurationParameters(gaps=(1,))).tracklets
    assert {item.identity: len(item.members) for item in tracklets} == {1: 3, 2: 2, 3: 1}


def test_one_name_for_two_instances_of_a_frame_is_refused() -> None:
    masks = of_letters("AAAA.BBB", "AAAA.BBB")
    with pytest.raises(InputError, match="instances 1 and 2 of frame 0 were both given the identity 5"):
        _chains(masks, 1, Relabel((0, 1), 5), Relabel((1, 2), 5))


def test_a_join_backwards_is_no_decision() -> None:
    for first, second in (((2, 1), (1, 1)), ((1, 1), (1, 2))):
        with pytest.raises(InputError, match="is not before frame"):
            Join(first, second)


@settings(max_examples=40, deadline=None)
@given(masks=videos(), data=st.data())
def test_whatever_is_joined_and_split_an_instance_is_in_one_tracklet_once_a_frame(
    masks: VideoMasks, data: st.DataObject
) -> None:
    keys = [(frame.index, item.id) for frame in masks.frames for item in frame.instances]
    decisions: list[object] = []
    if keys:
        for _ in range(data.draw(st.integers(0, 5))):
            first, second = sorted((data.draw(st.sampled_from(keys)), data.draw(st.sampled_from(keys))))
            decisions.append(Join(first, second) if first[0] < second[0] else Split(second))
    tracklets = _chains(masks, 3, *decisions)
    assert sorted(key for tracklet in tracklets for key in tracklet.members) == sorted(keys)
    for tracklet in tracklets:
        assert all(first[0] < second[0] for first, second in pairwise(tracklet.members))
