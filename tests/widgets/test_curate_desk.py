from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benches import SMALL
from conftest import write_frames
from desks import SIZE, box, look_at, masks_of, open_desk, said, step, two_objects, write_masked
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from napari_window import wait, wait_until

from flowcut_napari.core import CurationParameters, load_masks
from flowcut_napari.core.decisions import Join, Relabel
from flowcut_napari.core.masks import encode_rle
from flowcut_napari.core.masks_file import MasksFile
from flowcut_napari.core.recovery import list_recovery
from flowcut_napari.core.store import update_masks
from flowcut_napari.live.messages import MaskRefined
from flowcut_napari.widgets.curate import on_objects
from flowcut_napari.widgets.curate.actions import ACTIONS, BY_NAME
from flowcut_napari.widgets.curate.desk import CurationDesk, curation_of
from flowcut_napari.widgets.run.controller import run_of

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_masked(tmp_path, two_objects(8), 8)


@pytest.fixture
def desk(path: Path) -> Iterator[CurationDesk]:
    with open_desk(path) as opened:
        yield opened


def do(desk: CurationDesk, *names: str) -> None:
    for name in names:
        BY_NAME[name].do(desk)


def layer_of(desk: CurationDesk) -> Any:
    assert desk.layers is not None and desk.layers.objects is not None
    return desk.layers.objects


def seen(desk: CurationDesk) -> np.ndarray:
    """Return what the canvas has of the objects."""
    return np.array(layer_of(desk)._slice.image.raw)


def area(desk: CurationDesk, frame: int, identity: int) -> int:
    """Return how many pixels an object has in a frame, 0 if it is not there."""
    return sum(int(mask.sum()) for _, number, mask in desk.view.objects(frame) if number == identity)


# Every action everywhere.

VIDEOS = {
    "two objects": two_objects(5),
    "one frame": two_objects(1),
    "every fifth frame": two_objects(8, 5),
    "no instance anywhere": {index: {} for index in range(8)},
    "an instance now and then": {**{index: {} for index in range(8)}, 3: {1: box(4, 4, 9, 9)}},
    "overlapping": {index: {1: box(4, 4, 20, 20), 2: box(10, 10, 20, 20)} for index in (3, 4)},
}


@pytest.mark.parametrize("kind", VIDEOS)
def test_every_action_at_every_frame_leaves_what_undo_gives_back(tmp_path: Path, kind: str) -> None:
    with open_desk(write_masked(tmp_path, VIDEOS[kind], 8)) as desk:
        start = masks_of(desk)
        for frame in range(8):
            step(desk, frame)
            for action in ACTIONS:
                step(desk, frame)
                keys = desk.keys_in_sight()
                left = [key for key in keys if key[0] == frame]
                right = [key for key in keys if key[0] != frame]
                choices = [(), tuple(left[:1]), tuple(right[:1]), tuple(left[:2]), (*left[:1], *right[:1])]
                for chosen in dict.fromkeys(choices):
                    step(desk, frame)
                    desk.select(None)
                    for place, key in enumerate(chosen):
                        desk.select(key, add=place > 0)
                    action.do(desk)
                    while desk.document.history.count:
                        desk.undo()
                    assert desk.masks == start, (action.name, chosen)


def test_every_action_on_a_rejected_mask_can_be_taken_back(desk: CurationDesk) -> None:
    step(desk, 3)
    desk.select((3, 1))
    do(desk, "delete_mask")
    start = masks_of(desk)
    assert (3, 1) not in [key for key, _, _ in desk.view.objects(3)]
    for action in ACTIONS:
        step(desk, 3)
        desk.select((3, 1))
        if action.name not in ("undo", "redo"):
            action.do(desk)
        while desk.document.history.count > 1:
            desk.undo()
        assert desk.masks == start, action.name


def test_without_any_masks_every_action_only_says_so(tmp_path: Path) -> None:
    with open_desk() as desk:
        words = said(desk)
        for action in ACTIONS:
            assert action.scope(desk) is None, action.name
            action.do(desk)
        assert set(words) == {"there are no masks to curate yet; run on all frames, or open a .masks.json"}
        desk.fit()
        desk.hide()


def test_a_key_with_nothing_to_do_says_what_is_missing(desk: CurationDesk) -> None:
    words = said(desk)
    do(desk, "swap", "join", "accept_object", "delete_mask", "undo")
    step(desk, 7)
    do(desk, "accept_clip")
    assert len(words) == 6 and "Shift" in words[0] and "press Down" in words[2]
    assert words[-1] == "this frame has no partner at this gap"


def test_the_same_verdict_again_is_no_action(desk: CurationDesk) -> None:
    desk.select((0, 1))
    do(desk, "accept_clip", "accept_clip", "accept_object", "accept_object", "accept_mask", "accept_mask")
    assert desk.document.history.count == 3
    desk.select(None)
    do(desk, "clear_clip", "clear_clip")
    assert desk.document.history.count == 4


STEPS = st.lists(st.tuples(st.integers(0, 7), st.integers(0, 9), st.sampled_from([item.name for item in ACTIONS])))


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_whatever_is_done_is_in_the_file_and_undone_to_the_start(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, int, str]]
) -> None:
    path = write_masked(tmp_path_factory.mktemp("desk"), two_objects(8), 8)
    with open_desk(path) as desk:
        start, states = masks_of(desk), [masks_of(desk)]
        for frame, chosen, name in steps:
            if name in ("undo", "redo"):
                continue
            step(desk, frame)
            keys = desk.keys_in_sight()
            desk.select(keys[chosen % len(keys)] if keys and chosen else None)
            if chosen > 4 and keys:
                desk.select(keys[chosen // 2 % len(keys)], add=True)
            before = desk.document.history.count
            do(desk, name)
            if desk.document.history.count > before:
                states.append(masks_of(desk))
        assert desk.flush() and load_masks(path) == desk.masks
        for state in reversed(states):
            assert desk.masks == state
            desk.undo()
        assert desk.masks == start
        for state in states[1:]:
            desk.redo()
            assert desk.masks == state
        assert desk.flush() and load_masks(path) == states[-1]


# The brush.


def test_painting_over_another_object_takes_only_what_was_painted(desk: CurationDesk) -> None:
    before = {number: area(desk, 2, number) for number in (1, 2)}
    step(desk, 2)
    layer = layer_of(desk)
    layer.selected_label, layer.brush_size = 1, 6
    layer.paint((2, 36, 36), 1)
    gained = area(desk, 2, 1) - before[1]
    assert gained > 20 and area(desk, 2, 2) == before[2] - gained
    np.testing.assert_array_equal(seen(desk), layer.data[2])
    do(desk, "undo")
    assert {number: area(desk, 2, number) for number in (1, 2)} == before
    assert not layer._undo_history and not layer._redo_history


def test_an_erased_object_is_rejected_and_comes_back_by_undo(desk: CurationDesk) -> None:
    layer = layer_of(desk)
    layer.fill((0, 8, 8), 0)
    assert masks_of(desk).decisions.instances() == {(0, 1): "reject"} and 1 not in seen(desk)
    assert desk.document.history.count == 1
    desk.undo()
    assert 1 in seen(desk) and not masks_of(desk).decisions.made


def test_a_deleted_mask_that_is_painted_anew_is_one_of_the_same_object(desk: CurationDesk) -> None:
    desk.select((2, 1))
    step(desk, 2)
    desk.select((2, 1))
    do(desk, "delete_mask")
    layer_of(desk).paint((2, 10, 40), 1)
    item = next(item for item in masks_of(desk).frames[2].instances if item.id == 1)
    assert item.origin == "edited" and desk.identity((2, 1)) == 1 and not masks_of(desk).decisions.instances()
    assert len(masks_of(desk).frames[2].instances) == 2


def test_a_deleted_mask_can_be_copied_from_the_frame_before(desk: CurationDesk) -> None:
    step(desk, 2)
    desk.select((2, 1))
    do(desk, "delete_mask", "copy_mask")
    assert area(desk, 2, 1) == area(desk, 1, 1) and desk.chosen == (2, 1)


@pytest.mark.parametrize("number", [3, 300, 17_000, 70_000, 2**31 - 2])
def test_a_number_of_any_height_is_seen_painted_and_saved(desk: CurationDesk, path: Path, number: int) -> None:
    layer = layer_of(desk)
    desk.select((0, 1))
    on_objects.name_object(desk, number)
    assert layer.selected_label == number and number in seen(desk) and layer.get_color(number)[3] == 1
    before = area(desk, 0, number)
    layer.paint((0, 24, 50), number)
    assert area(desk, 0, number) > before
    assert desk.flush() and load_masks(path) == desk.masks
    do(desk, "new_object")
    layer.paint((0, 40, 4), number + 1)
    assert area(desk, 0, number + 1) > 0 and layer.get_color(number + 1)[3] == 1
    for _ in range(3):
        desk.undo()
    assert set(np.unique(seen(desk))) == {0, 1, 2}


@pytest.mark.parametrize("label", [5, 300, 2**31 - 1])
def test_a_number_that_was_not_asked_for_is_refused_and_nothing_stays_painted(desk: CurationDesk, label: int) -> None:
    start, words, shown = desk.masks, said(desk), seen(desk)
    layer_of(desk).paint((0, 24, 50), label)
    assert f"object {label}" in words[-1] and "press M" in words[-1]
    assert desk.masks is start
    np.testing.assert_array_equal(seen(desk), shown)


def test_nothing_stays_painted_on_a_frame_without_masks(tmp_path: Path) -> None:
    with open_desk(write_masked(tmp_path, two_objects(8, 5), 8)) as desk:
        desk.select((0, 1))
        step(desk, 3)
        start, words, layer = masks_of(desk), said(desk), layer_of(desk)
        layer.paint((3, 20, 20), 1)
        assert words == ["clip: frame 3 has no masks to change"]
        assert not seen(desk).any() and not layer.data[3].any() and desk.masks == start
        do(desk, "new_object")
        assert "frame 3 has no masks" in words[-1]


@pytest.mark.parametrize("mode", ["brush in 3D", "fill", "polygon", "erase"])
def test_every_tool_is_one_action_that_can_be_undone(desk: CurationDesk, mode: str) -> None:
    step(desk, 2)
    start, layer = masks_of(desk), layer_of(desk)
    layer.brush_size = 5
    if mode == "brush in 3D":
        layer.n_edit_dimensions = 3
        layer.paint((2, 8, 8), 2)
    elif mode == "fill":
        layer.fill((2, 8, 8), 2)
    elif mode == "polygon":
        layer.paint_polygon([[2, 2, 2], [2, 2, 40], [2, 40, 40]], 1)
    else:
        layer.paint((2, 8, 8), 0)
    assert desk.document.history.count == 1
    changed = {frame.index for frame, old in zip(masks_of(desk).frames, start.frames, strict=True) if frame != old}
    assert changed == ({0, 1, 2, 3, 4} if mode == "brush in 3D" else {2})
    np.testing.assert_array_equal(seen(desk), layer.data[2])
    desk.undo()
    assert desk.masks == start


def test_a_stroke_over_two_frames_keeps_the_numbers_that_were_painted(tmp_path: Path) -> None:
    # To erase the first object of frame 0 would give all that come after it other numbers.
    frames = {index: {1: box(2, 2, 9, 9), 2: box(20, 20, 9, 9), 3: box(36, 40, 9, 9)} for index in range(4)}
    with open_desk(write_masked(tmp_path, frames, 4)) as desk:
        layer = layer_of(desk)
        with layer.block_history():
            layer.data_setitem(tuple(np.array([[frame, 6, 6] for frame in (0, 1)]).T), 2)
            layer.data_setitem(tuple(np.array([[0, y, x] for y in range(20, 29) for x in range(20, 29)]).T), 3)
        for frame in (0, 1):
            assert {key[1]: number for key, number, _ in desk.view.objects(frame) if key[1] < 4}.items() <= {
                1: 1,
                2: 2,
                3: 3,
            }.items()
        assert area(desk, 1, 2) == 82


def test_a_frame_that_is_left_in_the_middle_of_a_stroke_keeps_its_part(desk: CurationDesk) -> None:
    layer = layer_of(desk)
    layer.brush_size = 4
    with layer.block_history():
        layer.paint((0, 24, 40), 1)
        step(desk, 1)
        layer.paint((1, 24, 40), 1)
    assert desk.document.history.count == 1 and area(desk, 0, 1) > 168 and area(desk, 1, 1) > 168
    desk.undo()
    assert area(desk, 0, 1) == area(desk, 1, 1) == 168


def test_an_action_in_the_middle_of_a_stroke_is_not_painted_over(desk: CurationDesk) -> None:
    layer = layer_of(desk)
    layer.brush_size = 4
    desk.select((0, 2))
    with layer.block_history():
        layer.paint((0, 24, 50), 1)
        do(desk, "delete_mask")
    assert masks_of(desk).decisions.instances() == {(0, 2): "reject"}
    assert area(desk, 0, 1) > 168 and area(desk, 0, 2) == 0
    assert [len(frame.instances) for frame in masks_of(desk).frames] == [2] * 8


def test_a_stroke_leaves_what_lies_under_another_mask_alone(tmp_path: Path) -> None:
    frames = {index: {1: box(4, 4, 20, 20), 2: box(2, 2, 30, 30)} for index in range(3)}
    with open_desk(write_masked(tmp_path, frames, 3)) as desk:
        layer = layer_of(desk)
        assert 1 not in seen(desk), "the first object is under the second"
        layer.paint((0, 44, 60), 2)
        assert [item.origin for item in masks_of(desk).frames[0].instances] == ["cut", "edited"]
        assert not masks_of(desk).decisions.made


def test_a_layer_deleted_in_the_middle_of_a_stroke_forgets_it(desk: CurationDesk) -> None:
    layer, viewer = layer_of(desk), desk.parent().viewer
    start = np.array(layer.data[0])
    layer.data[0, 40:44, 2:6] = 1  # a stroke that never ends
    viewer.layers.remove(layer)
    desk.show()
    np.testing.assert_array_equal(seen(desk), start)


def test_the_brush_has_the_number_of_what_is_chosen_after_a_swap(desk: CurationDesk) -> None:
    desk.select((0, 1))
    do(desk, "swap")
    assert desk.identity((0, 1)) == 2 and layer_of(desk).selected_label == 2


def test_a_chosen_object_is_outlined_in_the_next_frame(desk: CurationDesk) -> None:
    desk.select((0, 1))
    step(desk, 1)
    assert desk.selection == ((1, 1),)
    drawn = np.array(desk.layers["matches"]._slice.image.raw)
    desk.layers._data["matches"]._known = None
    np.testing.assert_array_equal(drawn, desk.layers._data["matches"][1])


def test_what_is_said_of_a_missing_partner_is_of_the_gap_in_sight(desk: CurationDesk) -> None:
    step(desk, 7)
    first = np.array(desk.layers["matches"]._slice.image.raw)
    desk.set_gap(4)
    assert (np.array(desk.layers["matches"]._slice.image.raw) != first).any()


# Where we are, and what is chosen.


def test_what_is_not_in_sight_any_more_is_not_chosen_any_more(desk: CurationDesk) -> None:
    desk.select((0, 1))
    desk.select((1, 2), add=True)
    desk.set_gap(3)
    assert desk.selection == ((0, 1),) and BY_NAME["join"].scope(desk) is None
    desk.select((3, 2))
    desk.set_parameters(CurationParameters(gaps=(1, 2)))
    assert desk.selection == () and desk.view.gap == 1


def test_each_object_that_is_lost_in_one_frame_is_come_to(tmp_path: Path) -> None:
    frames = {**two_objects(3), 3: {}, 4: {}}
    with open_desk(write_masked(tmp_path, frames, 5)) as desk:
        came: list[Any] = []
        for _ in range(3):
            do(desk, "next_broken")
            came.append(desk.chosen)
        assert came == [(2, 1), (2, 2), (2, 1)]
        do(desk, "last_broken")
        assert desk.chosen == (2, 2)


@pytest.mark.parametrize("gap", [7, 8, 500])
def test_a_gap_longer_than_the_video_is_survived(desk: CurationDesk, gap: int) -> None:
    desk.set_parameters(CurationParameters(gaps=(1, gap)))
    desk.set_gap(gap)
    for name in ("accept_clip", "next_open", "next_uncertain", "last_uncertain", "next_gap"):
        do(desk, name)
    assert desk.review.pair(0, gap) is None if gap > 7 else desk.review.pair(0, gap).frames == (0, 7)


@pytest.mark.parametrize(
    "parameters",
    [
        CurationParameters(iou=0),
        CurationParameters(iou=0.99),
        CurationParameters(method="hungarian"),
        CurationParameters(gaps=(3,)),
        CurationParameters(clip_length="all", only_accepted=True),
    ],
)
def test_parameters_may_change_at_any_moment(desk: CurationDesk, parameters: CurationParameters) -> None:
    step(desk, 2)
    desk.select((2, 1))
    do(desk, "swap", "split", "reject_clip")
    states = [desk.masks]
    before = desk.parameters
    for chosen in (parameters, before, parameters):
        desk.set_parameters(chosen)
        assert desk.parameters == chosen and desk.review.gaps == chosen.gaps
        assert desk.masks is states[0]
        assert set(desk.selection) <= set(desk.keys_in_sight())
        do(desk, "next_uncertain", "next_gap")
    while desk.document.history.count:
        desk.undo()
    assert not masks_of(desk).decisions.made


def test_what_contradicts_itself_with_other_parameters_is_neither_done_again_nor_lost(tmp_path: Path) -> None:
    # At an IoU of 0.9 there are two objects one after the other; at 0.1 one of each pair goes on.
    wide, other = box(4, 4, 12, 20), box(30, 4, 12, 20)
    frames = {
        0: {1: wide},
        1: {1: wide},
        2: {1: box(4, 4, 12, 12), 2: other},
        3: {1: box(4, 4, 12, 12), 2: other},
    }
    with open_desk(write_masked(tmp_path, frames, 4)) as desk:
        desk.set_parameters(CurationParameters(iou=0.9))
        step(desk, 2)
        assert desk.identity((2, 2)) not in (1, desk.identity((2, 1)))
        desk.select((2, 2))
        on_objects.name_object(desk, 1)
        named = masks_of(desk)
        assert desk.identity((2, 2)) == 1
        words = said(desk)
        before = desk.parameters
        desk.set_parameters(CurationParameters(iou=0.1))
        assert desk.parameters == before and "were both given the identity 1" in words[-1]
        desk.undo()
        desk.set_parameters(CurationParameters(iou=0.1))
        desk.redo()
        assert "cannot be done again" in words[-1] and desk.document.history.next_redo is not None
        assert desk.masks == load_masks(desk.path) or desk.flush()
        desk.set_parameters(before)
        desk.redo()
        assert desk.masks == named


# Videos and files.


def test_each_video_keeps_its_own_history(desk: CurationDesk, tmp_path: Path, path: Path) -> None:
    do(desk, "accept_clip")
    first, second = desk.document, write_masked(tmp_path, two_objects(5), 5, name="other")
    desk.set_parameters(CurationParameters(gaps=(1, 2)))
    look_at(desk, second)
    do(desk, "reject_clip")
    desk.set_parameters(CurationParameters(gaps=(2, 3)))
    desk.parent().open(str(tmp_path / "videos" / "clip"))
    assert desk.document is first and desk.document.history.next_undo == "accept clip 0 → 1"
    assert desk.review.gaps == (2, 3) and desk.view.gap == 2
    desk.undo()
    assert desk.flush() and not load_masks(path).decisions.made
    assert [item.verdict for item in load_masks(second).decisions.made] == ["reject"]


def test_a_file_that_was_being_read_goes_to_no_other_video(
    desk: CurationDesk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, first = desk.parent(), desk.document
    second = write_masked(tmp_path, two_objects(5), 5, name="other")
    go_on = threading.Event()
    read = MasksFile.open.__func__

    def slow(cls: Any, path: Path, on_state: Any = None) -> Any:
        go_on.wait(10)
        return read(cls, path, on_state)

    monkeypatch.setattr(MasksFile, "open", classmethod(slow))
    bench.open(str(tmp_path / "videos" / "other"))
    bench.take_saved(load_masks(second), second)
    bench.open(str(tmp_path / "videos" / "clip"))
    go_on.set()
    wait(300)
    assert desk.document is first and bench.results.saved is first.masks


def test_decisions_made_while_a_run_writes_are_not_lost(
    desk: CurationDesk, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = desk.parent()
    do(desk, "accept_clip")
    assert desk.flush()
    # As a run does: it reads what is there, keeps the decisions, and the window takes up what it wrote.
    made = update_masks(path, lambda masks: load_masks(path))
    go_on = threading.Event()
    read = MasksFile.open.__func__

    def slow(cls: Any, where: Path, on_state: Any = None) -> Any:
        found = read(cls, where, on_state)
        go_on.wait(10)
        return found

    monkeypatch.setattr(MasksFile, "open", classmethod(slow))
    bench.take_saved(made, path)
    step(desk, 2)
    do(desk, "reject_clip")
    assert desk.flush()
    go_on.set()
    wait(400)
    assert [item.verdict for item in masks_of(desk).decisions.made] == ["accept", "reject"]
    step(desk, 4)
    do(desk, "accept_clip")
    assert desk.flush(), desk.save_state
    assert len(load_masks(path).decisions.made) == 3


def test_a_run_over_unsaved_work_asks_which_of_both_is_right(desk: CurationDesk, path: Path) -> None:
    theirs = update_masks(path, lambda masks: masks.decide(Join((0, 1), (1, 2))))
    do(desk, "accept_clip")
    desk.flush()
    assert desk.save_state.kind == "conflict"
    desk.parent().take_saved(theirs, path)
    wait(300)
    assert desk.save_state.kind == "conflict" and desk.document.history.count == 1
    desk.take_theirs()
    wait_until(lambda: desk.masks == theirs, "theirs")
    assert desk.save_state.kind == "saved"
    assert list_recovery()


def test_masks_of_a_run_on_a_video_that_was_left_are_there_when_it_is_looked_at_again(
    desk: CurationDesk, tmp_path: Path, path: Path
) -> None:
    bench = desk.parent()
    results = bench.results
    look_at(desk, write_masked(tmp_path, two_objects(5), 5, name="other"))
    made = update_masks(path, lambda masks: masks.decide(Join((0, 1), (1, 2))))
    results.put_saved(made, path)  # what a run does for a video that is not in sight
    bench.open(str(tmp_path / "videos" / "clip"))
    wait_until(lambda: desk.masks == made, "the masks of the run")
    do(desk, "accept_clip")
    assert desk.flush()


def test_a_run_while_its_video_is_curated_keeps_the_decisions_and_makes_no_conflict(tmp_path: Path) -> None:
    with open_desk() as desk:
        bench = desk.parent()
        bench.set_parameters(SMALL.with_changes(crf=False, max_instances=1, alpha=1.0))
        bench.open(str(write_frames(tmp_path / "clip", 8, (96, 128))))
        run = run_of(bench)
        for frame in (0, 2):
            job = run.job(tmp_path / "out", slice(None), 1)
            run.start(job)
            if desk.document is not None:
                step(desk, frame)
                do(desk, "accept_clip")
            wait_until(lambda: run.progress.state == "done", "the end of the run", 60)
            wait_until(lambda: desk.document is not None, "the document")
            wait(300)
            step(desk, frame)
            do(desk, "reject_clip")
            assert desk.flush(), desk.save_state
        assert masks_of(desk).decisions.clips() == {(0, 1): "reject", (2, 3): "reject"}
        assert load_masks(desk.path) == desk.masks


@pytest.mark.parametrize("way", ["mine", "theirs"])
def test_a_file_that_another_program_changed_is_kept_or_taken(desk: CurationDesk, path: Path, way: str) -> None:
    theirs = update_masks(path, lambda masks: masks.decide(Join((0, 1), (1, 2))))
    do(desk, "reject_clip")
    desk.flush()
    assert desk.save_state.kind == "conflict" and load_masks(path) == theirs
    mine = masks_of(desk)
    if way == "mine":
        desk.document.file.overwrite()
    else:
        desk.take_theirs()
        wait_until(lambda: desk.masks == theirs, "theirs")
    assert desk.flush()
    assert load_masks(path) == desk.masks == (mine if way == "mine" else theirs)
    do(desk, "accept_clip")
    assert desk.flush() and load_masks(path) == desk.masks


@pytest.mark.parametrize("nonsense", ["", "{", "[]", '{"schema": "flowcut.masks/9"}', "contradiction"])
def test_nonsense_in_the_file_is_not_taken_and_nothing_is_lost(desk: CurationDesk, path: Path, nonsense: str) -> None:
    if nonsense == "contradiction":
        content = json.loads(path.read_text())
        names = [{"kind": "identity", "instance": [0, number], "identity": 7, "by": "", "at": ""} for number in (1, 2)]
        content["decisions"] = {"basis": masks_of(desk).basis, "made": names, "stale": []}
        nonsense = json.dumps(content)
    path.write_text(nonsense)
    do(desk, "accept_clip")
    desk.flush()
    assert desk.save_state.kind == "conflict"
    words, mine = said(desk), masks_of(desk)
    desk.take_theirs()
    wait_until(lambda: words, "why not")
    assert len(words) == 1 and desk.masks is mine and desk.save_state.kind == "conflict"
    assert path.read_text() == nonsense
    do(desk, "reject_clip")
    desk.flush()
    assert desk.save_state.kind == "conflict"
    desk.document.file.overwrite()
    assert desk.flush() and load_masks(path) == desk.masks


def test_a_file_that_was_deleted_is_written_again(desk: CurationDesk, path: Path) -> None:
    path.unlink()
    do(desk, "accept_clip")
    assert desk.flush() and load_masks(path) == desk.masks
    path.unlink()
    words = said(desk)
    desk.take_theirs()
    wait_until(lambda: words, "why not")
    assert "no such file" in words[-1] and desk.masks is not None


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_read_only_folder_is_said_and_the_work_is_kept(desk: CurationDesk, path: Path) -> None:
    path.parent.chmod(0o500)
    try:
        do(desk, "accept_clip")
        desk.flush()
        assert desk.save_state.kind == "failed" and desk.save_state.kept_at is not None
    finally:
        path.parent.chmod(0o700)
    desk.document.file.retry()
    assert desk.flush() and load_masks(path) == desk.masks


def test_decisions_that_contradict_each_other_open_once_the_threshold_parts_them(tmp_path: Path) -> None:
    wide = box(4, 4, 12, 20)
    frames = {0: {1: wide}, 1: {1: box(4, 4, 12, 12), 2: box(30, 4, 12, 12)}}
    path = write_masked(tmp_path, frames, 2)
    names = Relabel((0, 1), 5), Relabel((1, 2), 5)
    update_masks(path, lambda masks: masks.decide(*names))
    with open_desk() as desk:
        words, bench = said(desk), desk.parent()
        bench.open(str(tmp_path / "videos" / "clip"))
        bench.take_saved(load_masks(path), path)
        wait_until(lambda: words, "what is wrong")
        assert "were both given the identity 5" in words[-1] and desk.document is None
        desk.set_parameters(CurationParameters(iou=0.9))
        wait_until(lambda: desk.document is not None, "the document")
        assert desk.identity((1, 2)) == 5


# The CRF of a mask made by hand.


def ask(desk: CurationDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask for the CRF of mask 1 of frame 0; nobody answers."""
    monkeypatch.setattr(desk.parent().live, "refine", lambda *_: 77)
    desk.select((0, 1))
    do(desk, "refine_mask")


def answer(desk: CurationDesk, mask: np.ndarray | None) -> None:
    found = None if mask is None else encode_rle(mask)
    desk.parent().live.mask_refined.emit(MaskRefined(77, 0, found))


def test_a_refined_mask_is_taken_up_once_and_covers_no_other(
    desk: CurationDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(desk, monkeypatch)
    answer(desk, box(4, 4, 44, 56))
    answer(desk, box(0, 0, 2, 2))
    assert area(desk, 0, 1) == 44 * 56 - 168 and area(desk, 0, 2) == 168
    assert desk.document.history.count == 1
    ask(desk, monkeypatch)
    answer(desk, box(31, 31, 5, 5))
    answer(desk, None)
    assert desk.document.history.count == 1


@pytest.mark.parametrize("meanwhile", ["grow_mask", "delete", "other video", "undo"])
def test_the_answer_about_a_mask_that_is_another_by_then_is_dropped(
    desk: CurationDesk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, meanwhile: str
) -> None:
    desk.select((0, 1))
    do(desk, "grow_mask")
    ask(desk, monkeypatch)
    if meanwhile == "delete":
        layer_of(desk).paint((0, 60, 60), 9)
        desk.undo()
        desk.undo()
    elif meanwhile == "other video":
        look_at(desk, write_masked(tmp_path, two_objects(5), 5, name="other"))
    else:
        do(desk, meanwhile)
    before, words = desk.masks, said(desk)
    answer(desk, box(0, 0, 30, 30))
    assert desk.masks is before and words == ["the mask was changed meanwhile; it stays as it is"]


def test_without_pydensecrf_that_is_what_is_said(desk: CurationDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    ask(desk, monkeypatch)
    before, words = desk.masks, said(desk)
    desk.parent().live.mask_refined.emit(MaskRefined(77, 0, None, "pydensecrf is not installed"))
    assert words == ["pydensecrf is not installed"] and desk.masks is before


# Sizes.


@pytest.mark.parametrize("size", [(1, 9), (5, 3), (1, 400), (90, 40), (2160, 3840)])
def test_videos_of_any_size_are_shown_chosen_and_painted(tmp_path: Path, size: tuple[int, int]) -> None:
    height, width = size
    top, left = max(1, height // 3), max(1, width // 3)
    frames = {index: {1: box(0, 0, top, left, size)} for index in range(2)}
    with open_desk(write_masked(tmp_path, frames, 2, size)) as desk:
        assert desk.key_at(0, 0) == (0, 1)
        down, right = desk.layers.arrangement.offset
        assert desk.key_at(down, right) == (1, 1)
        assert desk.key_at(height + 9.0, width - 1.0) != (0, 1)
        do(desk, "new_object")
        layer_of(desk).paint((0, height - 1, width - 1), 2)
        assert area(desk, 0, 2) > 0
        desk.layers.draw_for(1e6)
        desk.layers.draw_for(1e-6)
        assert max(desk.layers["matches"].data.shape) <= 8192
        desk.undo()


def test_a_video_file_is_curated_as_a_folder_is(tmp_path: Path) -> None:
    from command_line import write_video

    video = write_video(tmp_path / "film.mp4", 8)
    with open_desk(write_masked(tmp_path, two_objects(8), 8, SIZE, video=video)) as desk:
        for frame in (0, 6, 2):
            step(desk, frame)
            partner = np.array(desk.layers["partner frame"]._slice.image.raw)
            np.testing.assert_array_equal(partner, desk.parent().video[frame + 1])
        do(desk, "accept_clip", "next_uncertain", "undo")


def test_two_viewers_share_nothing(desk: CurationDesk, tmp_path: Path) -> None:
    with open_desk(write_masked(tmp_path, two_objects(3), 3, name="other")) as other:
        assert other is not desk and curation_of(desk.parent()) is desk
        do(other, "accept_clip")
        other.set_parameters(CurationParameters(gaps=(2,)))
        other.select((0, 1))
        assert desk.document.history.count == 0 and desk.view.gap == 1 and desk.selection == ()
    do(desk, "accept_clip")
    assert desk.flush()


def test_an_identity_that_no_label_can_have_is_refused_in_words(desk: CurationDesk) -> None:
    words = said(desk)
    desk.select((0, 1))
    for number in (2**31, 10**60):
        on_objects.name_object(desk, number)
        assert "cannot be shown" in words[-1] and desk.document.history.count == 0
