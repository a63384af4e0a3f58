from __future__ import annotations

from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_masks import of_letters, of_masks
from test_tracklets import videos

from flowcut_napari.core.clips import (
    CLIP_REASONS,
    MASK_REASONS,
    Clip,
    CuratedVideo,
    curate_video,
    describe_idle_verdicts,
)
from flowcut_napari.core.decisions import (
    ClipVerdict,
    Decision,
    InstanceVerdict,
    Join,
    Relabel,
    Split,
    TrackletVerdict,
)
from flowcut_napari.core.masks import mask_iou
from flowcut_napari.core.parameters import CurationParameters
from flowcut_napari.core.store import VideoMasks


def _curate(masks: VideoMasks, *decisions: Decision, **parameters: object) -> CuratedVideo:
    return curate_video(masks.decide(*decisions), CurationParameters(**parameters))  # type: ignore[arg-type]


def _pairs(clips: tuple[Clip, ...]) -> dict[tuple[int, ...], list[tuple[int | None, ...]]]:
    return {clip.frames: [track.instances for track in clip.tracks] for clip in clips}


@settings(max_examples=60, deadline=None)
@given(masks=videos(), gaps=st.sets(st.integers(1, 4), min_size=1))
def test_clips_are_algorithm_1_over_all_pairs_of_frames(masks: VideoMasks, gaps: set[int]) -> None:
    curated = _curate(masks, gaps=tuple(gaps))
    expected = {}
    for first, second in combinations(masks.frames, 2):
        if second.index - first.index not in gaps:
            continue
        pairs = []
        for instance in first.instances:
            ious = [mask_iou(instance.mask, other.mask) for other in second.instances]
            if ious and max(ious) > 0.5:
                pairs.append((instance.id, second.instances[int(np.argmax(ious))].id))
        if pairs:
            expected[first.index, second.index] = pairs
    assert _pairs(curated.clips) == expected
    assert all(clip.gap == clip.frames[1] - clip.frames[0] for clip in curated.clips)


@settings(max_examples=80, deadline=None)
@given(masks=videos(), data=st.data(), length=st.sampled_from([2, 3, "all"]), only=st.booleans())
def test_every_clip_and_every_mask_in_it_is_kept_or_dropped_for_one_reason(
    masks: VideoMasks, data: st.DataObject, length: int | str, only: bool
) -> None:
    keys = [(frame.index, item.id) for frame in masks.frames for item in frame.instances]
    decisions: list[Decision] = []
    for _ in range(data.draw(st.integers(0, 6)) if keys else 0):
        key, other = sorted((data.draw(st.sampled_from(keys)), data.draw(st.sampled_from(keys))))
        verdict = data.draw(st.sampled_from(["accept", "reject"]))
        kinds: list[Decision] = [
            InstanceVerdict(key, verdict),
            TrackletVerdict(key, verdict),
            Split(key),
        ]
        if key[0] < other[0]:
            kinds += [Join(key, other), ClipVerdict((key[0], other[0]), verdict)]
        decisions.append(data.draw(st.sampled_from(kinds)))
    curated = _curate(masks, *decisions, gaps=(1, 2), clip_length=length, only_accepted=only)
    count = {frame.index: len(frame.instances) for frame in masks.frames}
    total = len(masks.frames)
    if length == "all":
        windows = {1: [tuple(range(total))]} if total > 1 else {}
    else:
        reach = length - 1
        windows = {
            gap: [tuple(range(start, start + reach * gap + 1, gap)) for start in range(total - reach * gap)]
            for gap in (1, 2)
        }
    assert set(curated.yields) == {gap for gap, found in windows.items() if found}
    for gap, figures in curated.yields.items():
        clips = [clip for clip in curated.clips if clip.gap == gap]
        assert figures.candidates == len(windows[gap]) == figures.clips + figures.dropped_clips.total()
        assert figures.clips == len(clips)
        assert figures.instances == sum(len(clip.tracks) for clip in clips)
        kept = sum(number is not None for clip in clips for track in clip.tracks for number in track.instances)
        assert figures.masks == kept
        looked_at = sum(count[index] for window in windows[gap] for index in window)
        assert looked_at == figures.masks + figures.dropped_masks.total()
        assert set(figures.dropped_clips) <= set(CLIP_REASONS)
        assert set(figures.dropped_masks) <= set(MASK_REASONS)
    for clip in curated.clips:
        for track in clip.tracks:
            assert sum(number is not None for number in track.instances) >= 2


def test_reasons_are_the_right_ones() -> None:
    masks = of_letters("AAAA.BBB", "AAAA....", "........", "....CCCC")
    figures = _curate(masks, gaps=(1,)).yields[1]
    assert (figures.candidates, figures.clips) == (3, 1)
    assert figures.dropped_clips == Counter(no_mask=2)
    assert figures.dropped_masks == Counter(unmatched=1, alone=2)
    figures = _curate(masks, gaps=(3,)).yields[3]
    assert (figures.candidates, figures.clips) == (1, 1)
    assert _pairs(_curate(masks, gaps=(3,)).clips) == {(0, 3): [(2, 3)]}
    assert _curate(masks, gaps=(2,)).yields[2].dropped_clips == Counter(no_mask=1, no_match=1)


def test_gaps_count_in_the_list_of_frames_with_masks() -> None:
    masks = of_letters(*["AAAA"] * 9)
    every_fourth = VideoMasks(masks.video, masks.parameters, masks.provenance, masks.frames[::4])
    assert list(_pairs(_curate(every_fourth, gaps=(1, 2)).clips)) == [(0, 4), (4, 8), (0, 8)]


def test_two_that_take_the_same_are_settled_and_counted() -> None:
    target = np.zeros((1, 10), bool)
    target[0, :8] = True
    near, nearer = target.copy(), target.copy()
    near[0, :2] = False
    nearer[0, 0] = False
    masks = of_masks([{1: near, 2: nearer}, {1: target}], size=(1, 10))
    curated = _curate(masks, gaps=(1,))
    assert _pairs(curated.clips) == {(0, 1): [(2, 1)]}
    assert curated.yields[1].dropped_masks == Counter(contested=1)


def test_a_rejected_instance_is_as_if_it_were_not_there() -> None:
    masks = of_letters("AAAA.BBB", "AAAA.BBB", "AAAA.BBB")
    curated = _curate(masks, InstanceVerdict((1, 1), "reject"), gaps=(1, 2))
    assert _pairs(curated.clips) == {(0, 1): [(2, 2)], (1, 2): [(2, 2)], (0, 2): [(1, 1), (2, 2)]}
    assert curated.yields[1].dropped_masks == Counter(rejected=2, unmatched=2)
    assert [tracklet.members for tracklet in curated.tracklets] == [((0, 1), (2, 1)), ((0, 2), (1, 2), (2, 2))]
    taken_back = _curate(masks, InstanceVerdict((1, 1), "reject"), InstanceVerdict((1, 1), "accept"), gaps=(1, 2))
    assert taken_back.clips == _curate(masks, gaps=(1, 2)).clips


def test_a_rejected_tracklet_is_left_out_everywhere_whatever_the_gaps() -> None:
    masks = of_letters("AAAA.BBB", "AAAA.BBB", "AAAA.BBB")
    for gaps in ((1,), (2,), (1, 2)):
        curated = _curate(masks, TrackletVerdict((1, 1), "reject"), gaps=gaps)
        assert {pair for pairs in _pairs(curated.clips).values() for pair in pairs} == {(2, 2)}
    alone = of_letters("AAAA", "AAAA")
    assert _curate(alone, TrackletVerdict((0, 1), "reject")).yields[1].dropped_clips == Counter(rejected=1)


def test_what_was_decided_about_a_tracklet_outlives_the_mask_that_stood_for_it() -> None:
    masks = of_letters("AAAA.BBB", "AAAA.BBB", "AAAA.BBB", "AAAA.BBB")
    gone = InstanceVerdict((1, 1), "reject")
    curated = _curate(masks, TrackletVerdict((1, 1), "reject"), gone, gaps=(1, 2))
    assert {pair for pairs in _pairs(curated.clips).values() for pair in pairs} == {(2, 2)}
    swap = (Join((1, 1), (2, 2)), Join((1, 2), (2, 1)))
    curated = _curate(masks, *swap, gone, gaps=(1, 2))
    assert _pairs(curated.clips) == {
        (0, 1): [(2, 2)],
        (1, 2): [(2, 1)],
        (2, 3): [(1, 1), (2, 2)],
        (0, 2): [(1, 2), (2, 1)],
        (1, 3): [(2, 1)],
    }
    named = _curate(masks, Relabel((1, 1), 9), gone, gaps=(1,))
    assert [tracklet.identity for tracklet in named.tracklets] == [9, 2]
    assert named.tracklets[0].members == ((0, 1), (2, 1), (3, 1))
    assert named.tracklets[0].ious == (None, 1.0)


def test_verdicts_on_clips_of_another_length_are_said_to_be_without_effect() -> None:
    masks = of_letters("AAAA", "AAAA", "AAAA").decide(ClipVerdict((0, 1), "reject"), ClipVerdict((1, 2), "accept"))
    assert describe_idle_verdicts(masks, CurationParameters()) is None
    for length in (3, "all"):
        said = describe_idle_verdicts(masks, CurationParameters(clip_length=length))
        assert said is not None and said.startswith("2 verdicts on clips of another length are without effect")


def test_a_rejected_clip_is_left_out_and_no_other() -> None:
    masks = of_letters("AAAA", "AAAA", "AAAA")
    curated = _curate(masks, ClipVerdict((0, 1), "reject"), gaps=(1, 2))
    assert list(_pairs(curated.clips)) == [(1, 2), (0, 2)]
    assert curated.yields[1].dropped_clips == Counter(rejected=1)
    assert curated.yields[1].dropped_masks == Counter(rejected=2)


def test_pairs_follow_a_swap_of_identities_only_where_they_lead_over_it() -> None:
    masks = of_letters("AAAA.BBB", "AAAA.BBB", "AAAA.BBB", "AAAA.BBB")
    swap = (Join((1, 1), (2, 2)), Join((1, 2), (2, 1)))
    straight, crossed = [(1, 1), (2, 2)], [(1, 2), (2, 1)]
    curated = _curate(masks, *swap, gaps=(1, 2))
    assert _pairs(curated.clips) == {
        (0, 1): straight,
        (1, 2): crossed,
        (2, 3): straight,
        (0, 2): crossed,
        (1, 3): crossed,
    }
    (clip,) = [clip for clip in curated.clips if clip.frames == (1, 2)]
    assert [track.iou for track in clip.tracks] == [None, None]


def test_a_split_parts_a_pair_and_a_name_makes_one() -> None:
    masks = of_letters("AAAA", "AAAA", "AAAA")
    assert _pairs(_curate(masks, Split((1, 1)), gaps=(1,)).clips) == {(1, 2): [(1, 1)]}
    apart = of_letters("AAAA....", "....BBBB")
    assert _curate(apart, gaps=(1,)).clips == ()
    named = _curate(apart, Relabel((0, 1), 3), Relabel((1, 2), 3), gaps=(1,))
    assert _pairs(named.clips) == {(0, 1): [(1, 2)]}
    assert named.clips[0].tracks[0].identity == 3


def test_longer_clips_are_windows_of_tracklets() -> None:
    masks = of_letters("AAAA.BBB", "AAAA....", "AAA..BBB", "AAAA....")
    curated = _curate(masks, gaps=(1, 2), clip_length=3)
    assert _pairs(curated.clips) == {(0, 1, 2): [(1, 1, 1), (2, None, 2)], (1, 2, 3): [(1, 1, 1)]}
    assert [track.iou for track in curated.clips[0].tracks] == [0.75, 1.0]
    whole = _curate(masks, gaps=(1, 2), clip_length="all")
    assert _pairs(whole.clips) == {(0, 1, 2, 3): [(1, 1, 1, 1), (2, None, 2, None)]}


def test_only_what_was_accepted_is_kept_on_request() -> None:
    masks = of_letters("AAAA.BBB", "AAAA.BBB", "AAAA.BBB")
    assert _curate(masks, only_accepted=True).clips == ()
    assert _curate(masks, only_accepted=True).yields[1].dropped_clips == Counter(not_accepted=2)
    by_clip = _curate(masks, ClipVerdict((0, 1), "accept"), only_accepted=True)
    assert _pairs(by_clip.clips) == {(0, 1): [(1, 1), (2, 2)]}
    by_tracklet = _curate(masks, TrackletVerdict((2, 2), "accept"), only_accepted=True, gaps=(2,))
    assert _pairs(by_tracklet.clips) == {(0, 2): [(2, 2)]}
    both = (InstanceVerdict((0, 1), "accept"), InstanceVerdict((1, 1), "accept"))
    assert _pairs(_curate(masks, *both, only_accepted=True).clips) == {(0, 1): [(1, 1)]}
    # One mask by itself, the other with its tracklet.
    apart = of_letters("AAAA", "....", "BBBB")
    first, second = InstanceVerdict((0, 1), "accept"), TrackletVerdict((2, 2), "accept")
    assert _pairs(_curate(apart, first, second, only_accepted=True, gaps=(2,)).clips) == {(0, 2): [(1, 2)]}
    assert _curate(apart, second, Split((2, 2)), only_accepted=True, gaps=(2,)).clips == ()
    refused = _curate(masks, ClipVerdict((0, 1), "accept"), InstanceVerdict((0, 1), "reject"), only_accepted=True)
    assert _pairs(refused.clips) == {(0, 1): [(2, 2)]}


def test_a_video_of_one_frame_has_no_clips() -> None:
    for length in (2, "all"):
        curated = _curate(of_letters("AAAA"), clip_length=length)
        assert (curated.clips, curated.yields) == ((), {})


def test_the_threshold_is_strict() -> None:
    masks = of_letters("AAAA", "AA..")
    assert _curate(masks).clips == ()
    assert _pairs(_curate(masks, iou=0.49).clips) == {(0, 1): [(1, 1)]}


@pytest.mark.parametrize("gaps", [(), (0,), (1, -2)])
def test_gaps_that_lead_nowhere_are_refused(gaps: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="gaps"):
        CurationParameters(gaps=gaps)
