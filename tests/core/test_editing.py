from __future__ import annotations

import tracemalloc
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_masks import of_letters

from flowcut_napari.core import InputError, load_masks, save_masks
from flowcut_napari.core import editing as edit
from flowcut_napari.core.clips import Curation, curate_video
from flowcut_napari.core.decisions import ClipVerdict, Key
from flowcut_napari.core.history import History
from flowcut_napari.core.matching import Matcher
from flowcut_napari.core.parameters import CurationParameters
from flowcut_napari.core.review import Review
from flowcut_napari.core.store import VideoMasks

PARAMETERS = CurationParameters(gaps=(1, 2))
TWO = ("AAAA.BBB", "AAAA.BBB", "AAAA.BBB", "AAAA.BBB", "AAAA.BBB")


def curate(masks: VideoMasks) -> Curation:
    return Curation(masks, PARAMETERS)


def members(masks: VideoMasks) -> dict[int, list[Key]]:
    return {chain.identity: list(chain.members) for chain in curate(masks).chains}


def strip(letters: str) -> np.ndarray:
    return np.array([[letter != "." for letter in letters]])


# What single actions do.


def test_a_swap_exchanges_two_objects_from_a_frame_on_and_keeps_their_numbers() -> None:
    masks = of_letters(*TWO)
    swapped = edit.swap_from(masks, curate(masks), (2, 1), (2, 2))
    assert members(swapped) == {
        1: [(0, 1), (1, 1), (2, 2), (3, 2), (4, 2)],
        2: [(0, 2), (1, 2), (2, 1), (3, 1), (4, 1)],
    }
    back = edit.swap_from(swapped, curate(swapped), (2, 1), (2, 2))
    assert members(back) == members(masks)


def test_a_swap_at_the_frame_where_one_object_begins_gives_it_the_past_of_the_other() -> None:
    masks = of_letters("AAAA....", "AAAA....", "AAAA.BBB", "AAAA.BBB")
    swapped = edit.swap_from(masks, curate(masks), (2, 1), (2, 2))
    assert members(swapped) == {1: [(0, 1), (1, 1), (2, 2), (3, 2)], 2: [(2, 1), (3, 1)]}


def test_a_swap_in_the_first_frame_exchanges_names() -> None:
    masks = of_letters(*TWO)
    swapped = edit.swap_from(masks, curate(masks), (0, 1), (0, 2))
    assert members(swapped) == {2: members(masks)[1], 1: members(masks)[2]}


def test_a_split_gives_the_rest_a_new_number_and_joining_gives_it_back() -> None:
    masks = of_letters(*TWO)
    split = edit.split_from(masks, curate, (2, 1))
    assert {name: keys[0] for name, keys in members(split).items()} == {1: (0, 1), 2: (0, 2), 3: (2, 1)}
    assert members(edit.join(split, (2, 1), (1, 1))) == members(masks)
    with pytest.raises(InputError, match="object 3 begins in frame 2 already"):
        edit.split_from(split, curate, (2, 1))


def test_naming_a_tracklet_like_another_makes_one_of_both_and_a_split_parts_them_again() -> None:
    masks = of_letters("AAAA....", "AAAA....", "....BBBB", "....BBBB")
    merged = edit.name_tracklet(masks, curate(masks), (2, 2), 1)
    assert members(merged) == {1: [(0, 1), (1, 1), (2, 2), (3, 2)]}
    renamed = edit.name_tracklet(merged, curate(merged), (0, 1), 5)
    assert list(members(renamed)) == [5]
    parted = edit.split_from(renamed, curate, (2, 2))
    assert sorted(map(len, members(parted).values())) == [2, 2]


def test_two_objects_of_one_frame_are_not_merged() -> None:
    masks = of_letters(*TWO)
    with pytest.raises(InputError, match="objects 1 and 2 are both in frame 0, so they are not one"):
        edit.name_tracklet(masks, curate(masks), (0, 1), 2)


def test_a_verdict_takes_the_place_of_the_one_before_and_can_be_taken_back() -> None:
    masks = of_letters(*TWO)
    (first, *_) = curate(masks).chains
    once = edit.judge_tracklet(masks, first, "reject")
    again = edit.judge_tracklet(once, first, "accept")
    assert len(again.decisions.made) == 1
    assert edit.judge_tracklet(again, first, None) == masks
    assert edit.judge_clip(edit.judge_clip(masks, (0, 1), "reject"), (0, 1), None) == masks
    assert edit.judge_instance(edit.judge_instance(masks, (3, 1), "reject"), (3, 1), None) == masks


def test_accepting_above_a_score_leaves_decided_clips_and_weaker_ones_alone() -> None:
    masks = of_letters("AAAA", "AAAA", "AAA.", "AAA.")
    masks = edit.judge_clip(masks, (2, 3), "reject")
    outcomes = [pair.outcome for pair in Review(curate(masks)).pairs.values()]
    accepted = edit.accept_above(masks, outcomes, 0.9)
    assert accepted.decisions.clips() == {(2, 3): "reject", (0, 1): "accept"}
    assert edit.accept_above(masks, outcomes, 0.75).decisions.clips().keys() == {(2, 3), (0, 1), (1, 2), (0, 2), (1, 3)}


def test_links_made_by_hand_are_not_accepted_for_an_iou_that_they_do_not_have() -> None:
    masks = of_letters("AAAA....", "....BBBB", "....BBBB")
    masks = edit.join(masks, (0, 1), (1, 2))
    review = Review(curate(masks))
    pair = review.pairs[1, 0]
    assert (pair.weakest, review.iou(pair, pair.outcome.tracks[0])) == (None, 0.0)
    outcomes = [pair.outcome for pair in review.pairs.values()]
    assert edit.clips_above(masks, outcomes, 0.0) == [(1, 2)]


def test_a_drawn_mask_becomes_part_of_the_object_it_is_drawn_as_although_nothing_overlaps() -> None:
    masks = of_letters("AAAA......", "..........", "AAAA......")
    drawn = edit.draw_as(masks, 1, strip(".......XXX"), 1, curate)
    (name,) = members(drawn)
    assert [frame for frame, _ in members(drawn)[name]] == [0, 1, 2]
    key = members(drawn)[name][1]
    assert edit.remove(drawn, key) == masks


def test_a_cut_that_is_removed_is_rejected_and_a_drawn_one_is_gone() -> None:
    masks = of_letters(*TWO)
    assert edit.remove(masks, (0, 1)).decisions.instances() == {(0, 1): "reject"}
    drawn, key = edit.draw(masks, 0, strip("....X..."))
    assert edit.remove(drawn, key) == masks


def test_a_brush_edits_draws_and_erases_in_one_go() -> None:
    masks = of_letters(*TWO)
    painted = edit.repaint(masks, 1, {1: strip("AAAAA..."), 9: strip("......XX")}, curate)
    # Numbers that cuts may ever have are not given to what is drawn.
    assert [(item.id, item.origin) for item in edit.frame_of(painted, 1)] == [(1, "edited"), (2, "cut"), (3, "drawn")]
    assert painted.decisions.instances() == {(1, 2): "reject"}
    assert edit.repaint(masks, 1, {1: strip("AAAA...."), 2: strip(".....BBB")}, curate) == masks


# Whatever is done, it can be undone.


@st.composite
def actions(draw: st.DrawFn) -> list[tuple[str, int, int]]:
    names = ["clip", "instance", "tracklet", "above", "split", "swap", "join", "name", "draw", "paint", "remove"]
    return draw(st.lists(st.tuples(st.sampled_from(names), st.integers(0, 99), st.integers(0, 99)), max_size=12))


def act(masks: VideoMasks, name: str, a: int, b: int) -> VideoMasks:
    """Do one action on what the numbers happen to choose; one that is refused changes nothing."""
    curation = curate(masks)
    keys = sorted(curation.identity)
    if not keys:
        return masks
    key, other = keys[a % len(keys)], keys[b % len(keys)]
    verdict = ("accept", "reject", None)[b % 3]
    chain = edit.chain_of(curation, key)
    outcomes = [pair.outcome for pair in Review(curation).pairs.values()]
    mask = np.zeros((1, 8), bool)
    mask[0, a % 8 : a % 8 + 1 + b % 4] = True
    doing = {
        "clip": partial(edit.judge_clip, masks, outcomes[a % len(outcomes)].frames, verdict),
        "instance": partial(edit.judge_instance, masks, key, verdict),
        "tracklet": partial(edit.judge_tracklet, masks, chain, verdict),
        "above": partial(edit.accept_above, masks, outcomes, a / 100),
        "split": partial(edit.split_from, masks, curate, key),
        "swap": partial(edit.swap_from, masks, curation, key, other),
        "join": partial(edit.join, masks, key, other),
        "name": partial(edit.name_tracklet, masks, curation, key, 1 + b % 5),
        "draw": partial(edit.draw_as, masks, a % 5, mask, 1 + b % 5, curate),
        "paint": partial(edit.repaint, masks, a % 5, {1 + b % 4: mask}, curate),
        "remove": partial(edit.remove, masks, key),
    }
    try:
        after = edit.keep_numbers(curation, doing[name](), curate)
        curate(after)
    except InputError:
        return masks
    return after


@settings(max_examples=60, deadline=None)
@given(steps=actions())
def test_undoing_everything_is_the_start_and_doing_it_again_is_the_end(steps: list[tuple[str, int, int]]) -> None:
    start = of_letters("AAAA.BBB", "AAAA.BBB", "CCCC....", "AAAA.BBB", "..AA.BBB")
    history = History(start)
    states = [start]
    for name, a, b in steps:
        if history.do(name, act(history.masks, name, a, b)):
            states.append(history.masks)
    assert history.count == len(states) - 1
    for state in reversed(states[:-1]):
        history.undo()
        assert history.masks == state
    assert history.undo() is None
    for state in states[1:]:
        history.redo()
        assert history.masks == state
    assert history.redo() is None


@settings(max_examples=30, deadline=None)
@given(steps=actions())
def test_whatever_is_done_can_be_saved_read_and_curated(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int, int]]
) -> None:
    path: Path = tmp_path_factory.mktemp("masks") / "clip.masks.json"
    masks = of_letters("AAAA.BBB", "AAAA.BBB", "CCCC....", "AAAA.BBB", "..AA.BBB")
    matcher = Matcher()
    review = None
    for name, a, b in steps:
        masks = act(masks, name, a, b)
        review = Review(Curation(masks, PARAMETERS, matcher, review and review.curation), review)
        assert review.pairs == Review(curate(masks)).pairs
        # What is remembered of the IoU is what would be found anew.
        again = Curation(masks, PARAMETERS, matcher).curated()
        assert again == curate_video(masks, PARAMETERS)
    save_masks(masks, path)
    assert load_masks(path) == masks


def test_another_action_after_an_undo_forgets_what_was_undone() -> None:
    masks = of_letters(*TWO)
    history = History(masks)
    assert not history.do("nothing", masks)
    history.do("reject", edit.judge_instance(masks, (0, 1), "reject"))
    assert (history.next_undo, history.next_redo, history.frames_of_last()) == ("reject", None, (0,))
    history.undo()
    assert history.next_redo == "reject"
    history.do("accept", edit.judge_instance(history.masks, (1, 1), "accept"))
    assert (history.next_redo, history.count) == (None, 1)


def test_numbers_stay_whatever_is_split_and_drawn_around_them() -> None:
    masks = of_letters("....BBB...", "....BBB...", "CCC.BBB...", "CCC.BBB...")
    history = History(masks)

    def do(after: VideoMasks) -> None:
        history.do("", edit.keep_numbers(curate(history.masks), after, curate))

    do(edit.split_from(history.masks, curate, (3, 2)))
    assert {name: keys[0] for name, keys in members(history.masks).items()} == {1: (0, 2), 2: (2, 3), 3: (3, 2)}
    do(edit.split_from(history.masks, curate, (1, 2)))
    after = {name: keys[0] for name, keys in members(history.masks).items()}
    assert (after[1], after[2], after[3]) == ((0, 2), (2, 3), (3, 2))
    do(edit.draw_as(history.masks, 0, strip(".........X"), 9, curate))
    assert {name: keys[0] for name, keys in members(history.masks).items()} == {**after, 9: (0, 3)}


@settings(max_examples=40, deadline=None)
@given(steps=actions())
def test_an_object_that_begins_where_it_began_keeps_its_number_unless_it_is_given_another(
    steps: list[tuple[str, int, int]],
) -> None:
    masks = of_letters("AAAA.BBB", "AAAA.BBB", "CCCC....", "AAAA.BBB", "..AA.BBB")
    for name, a, b in steps:
        before, masks = curate(masks), act(masks, name, a, b)
        number_of = {chain.members[0]: chain.identity for chain in before.chains}
        if name not in ("name", "swap"):
            for chain in curate(masks).chains:
                assert number_of.get(chain.members[0], chain.identity) == chain.identity


def test_a_step_remembers_what_it_changed_and_not_all_that_was_decided_before() -> None:
    masks = of_letters(*["A"] * 200)
    frames = [(first, second) for first in range(200) for second in range(first + 1, 200)]
    masks = masks.decide(*(ClipVerdict(clip, "accept") for clip in frames[:10_000]))
    history = History(masks)
    for clip in frames[:100]:
        history.do("reject", edit.judge_clip(history.masks, clip, "reject"))
    tracemalloc.start()
    for clip in frames[100:200]:
        history.do("reject", edit.judge_clip(history.masks, clip, "reject"))
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # The masks as they are now have a list of 10,000 pointers, 80 kB; a hundred of those would be 8 MB.
    assert taken < 1_000_000
    for _ in range(200):
        history.undo()
    assert history.masks == masks


# What is to be looked at first.


def test_the_pair_whose_iou_is_closest_to_the_threshold_comes_first() -> None:
    masks = of_letters("AAAAAAAAAA", "AAAAAAAAA.", "AAAAAAAAAA", "AAAAAA....")
    review = Review(Curation(masks, CurationParameters(gaps=(1,))))
    order = [pair.frames for pair in review.uncertain]
    assert order == [(2, 3), (0, 1), (1, 2)]
    first = review.next_uncertain(None)
    assert first is not None and first.weakest == pytest.approx(0.6) and first.margin == pytest.approx(0.1)
    second = review.next_uncertain(first)
    assert second is not None and second.frames == (0, 1)
    assert review.next_uncertain(first, back=True) is review.uncertain[-1]
    decided = edit.judge_clip(masks, (2, 3), "accept")
    assert Review(Curation(decided, CurationParameters(gaps=(1,)))).uncertain[0].frames == (0, 1)


def test_a_lost_object_is_found_where_it_was_seen_last() -> None:
    masks = of_letters("AAAA.BBB", "AAAA.BBB", "AAAA....", "AAAA.BBB", "AAAA....")
    review = Review(curate(masks))
    assert [item.describe() for item in review.breaks] == [
        "object 2 is missing after frame 1, back in frame 3",
        "object 2 is lost after frame 3",
    ]
    assert review.next_break(1).last == (3, 2)
    assert review.next_break(3).last == (1, 2)
    assert review.next_break(3, back=True).last == (1, 2)
    (_, second) = curate(masks).chains
    rejected = edit.judge_tracklet(masks, second, "reject")
    assert Review(curate(rejected)).breaks == ()


def test_next_open_goes_through_time_and_then_to_the_next_gap() -> None:
    masks = of_letters("AAAA", "AAAA", "AAAA")
    review = Review(curate(masks))
    pair, seen = None, []
    for _ in range(4):
        pair = review.next_open(pair)
        seen.append((pair.gap, pair.frames))
    assert seen == [(1, (0, 1)), (1, (1, 2)), (2, (0, 2)), (1, (0, 1))]
    for frames in ((0, 1), (1, 2), (0, 2)):
        masks = edit.judge_clip(masks, frames, "accept")
    assert Review(curate(masks)).next_open(None) is None
