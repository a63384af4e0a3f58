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
from flowcut_napari.viewer.match_layers import MatchDrawings, ObjectLabels, PartnerObjects
from flowcut_napari.viewer.pair_view import Arrangement, PairView, arrangement_for, draw_pair, drawing_scale


class Frames:
    """As much of a video as pictures of labels ask for."""

    def __init__(self, count: int, height: int, width: int) -> None:
        self.count, self.height, self.width = count, height, width

    def __len__(self) -> int:
        return self.count


def view_of(masks: VideoMasks, gap: int = 1, gaps: tuple[int, ...] = (1, 2, 3)) -> PairView:
    return PairView(Review(Curation(masks, CurationParameters(gaps=gaps))), gap)


def boxes(count: int, size: tuple[int, int] = (40, 60)) -> VideoMasks:
    """Return masks of two objects on every frame."""
    first, second = np.zeros((2, *size), bool)
    first[2 : size[0] // 2, 2 : size[1] // 2] = True
    second[size[0] // 2 :, size[1] // 2 :] = True
    return of_masks([{1: first, 2: second}] * count, size=size)


# How frames lie.


@settings(max_examples=200, deadline=None)
@given(
    size=st.tuples(st.integers(1, 65536), st.integers(1, 65536)),
    canvas=st.tuples(st.integers(1, 4000), st.integers(1, 4000)),
    zoom=st.floats(1e-6, 1e6),
)
def test_drawings_of_any_video_fit_a_graphics_card_and_hold_both_frames(
    size: tuple[int, int], canvas: tuple[int, int], zoom: float
) -> None:
    fitting = arrangement_for(size, canvas)
    for arrangement in (fitting, replace(fitting, scale=drawing_scale(fitting, zoom))):
        height, width, _ = arrangement.shape
        assert 1 <= height <= 8193 and 1 <= width <= 8193
        picture = np.broadcast_to(np.uint8(0), arrangement.shape)
        parts = [arrangement.part(picture, side).shape for side in (0, 1)]
        assert parts[0] == parts[1] and min(parts[0][:2]) >= 1
        down, right = arrangement.offset
        assert arrangement.side_of(0, 0)[0] == 0 and arrangement.side_of(down, right) == (1, 0, 0)
        assert arrangement.side_of(size[0] - 1, size[1] - 1)[0] == 0


def test_a_wide_video_lies_above_its_partner_and_a_high_one_beside_it() -> None:
    assert arrangement_for((100, 400), (600, 800)).stacked
    assert not arrangement_for((400, 100), (600, 800)).stacked


# What is drawn.


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (5, 3), (3, 500), (40, 60), (2160, 3840)])
@pytest.mark.parametrize("canvas", [(1, 1), (700, 900)])
def test_pairs_of_any_size_are_drawn(size: tuple[int, int], canvas: tuple[int, int]) -> None:
    dot = np.zeros(size, bool)
    dot[-1, -1] = True
    view = view_of(of_masks([{1: dot}, {1: dot}, {}], size=size))
    arrangement = arrangement_for(size, canvas)
    for frame in range(3):
        picture = draw_pair(view, frame, arrangement)
        assert picture.shape == arrangement.shape and picture[..., 3].any()


def test_a_mask_too_small_to_be_drawn_has_its_number_where_it_is() -> None:
    size = (2000, 3000)
    dot = np.zeros(size, bool)
    dot[1000, 201] = True
    view = view_of(of_masks([{1: dot}], size=size))
    arrangement = Arrangement(size, scale=0.1)
    drawn = draw_pair(view, 0, arrangement)[40:, :, 3] > 0  # below the headline
    rows, columns = np.nonzero(drawn)
    assert abs(rows.mean() + 40 - 100) < 10 and abs(columns.mean() - 20) < 10


def test_a_frame_without_masks_says_so_and_nothing_else() -> None:
    masks = boxes(6)
    view = view_of(replace(masks, frames=masks.frames[::5]))
    drawn = draw_pair(view, 3, Arrangement((40, 60), scale=4))
    assert drawn[:30, :, 3].any() and not drawn[30:].any()
    assert view.objects(3) == view.rejected(3) == view.instances(3) == []
    assert view.about(3) is None and view.partner(3) is None
    assert (drawn != draw_pair(view, 5, Arrangement((40, 60), scale=4))).any()


def test_without_a_document_nothing_is_drawn() -> None:
    assert not draw_pair(PairView(), 0, Arrangement((40, 60))).any()
    assert PairView().selection_in(3) == () and PairView().masks is None


def test_300_objects_are_drawn_each_with_its_number() -> None:
    size = (150, 200)
    place = np.arange(150)[:, None] // 10 * 20 + np.arange(200)[None] // 10
    masks = of_masks([{number + 1: place == number for number in range(300)}] * 2, size=size)
    drawn = draw_pair(view_of(masks), 0, Arrangement(size, scale=4))
    assert (drawn[..., 3] > 0).mean() > 0.2


def test_a_selection_is_drawn_where_it_is_and_its_object_in_other_frames() -> None:
    view = view_of(boxes(4))
    plain = [draw_pair(view, frame, Arrangement((40, 60), scale=4)) for frame in range(4)]
    view.selection, view.frame, view.followed = ((0, 1),), 0, 1
    drawn = [draw_pair(view, frame, Arrangement((40, 60), scale=4)) for frame in range(4)]
    assert all((old != new).any() for old, new in zip(plain, drawn, strict=True))
    assert view.selection_in(2) == ((2, 1),)
    view.followed = None
    assert view.selection_in(2) == ()


def test_a_drawing_is_made_anew_when_what_it_shows_changes_and_only_then() -> None:
    view = view_of(boxes(4))
    drawings = MatchDrawings(view, Frames(4, 40, 60), Arrangement((40, 60), scale=3))
    first = drawings.frame(3)
    assert drawings.frame(3) is first
    view.gap = 2
    assert (drawings.frame(3) != first).any(), "it says which gap has no partner"
    before = drawings.frame(0)
    masks = edit.judge_clip(view.masks, (0, 2), "reject")
    view.review = Review(Curation(masks, view.review.curation.parameters), view.review)
    assert (drawings.frame(0) != before).any()


# What a brush does to labels.


def labels(masks: VideoMasks) -> tuple[PairView, ObjectLabels]:
    view = view_of(masks)
    return view, ObjectLabels(view, Frames(len(masks.frames), masks.video.height, masks.video.width))


def test_what_is_painted_is_there_until_it_is_taken() -> None:
    _, data = labels(of_letters("AAA.BB", "AAA.BB"))
    made = data.frame(0).copy()
    data[np.array([0, 0, 1]), np.array([0, 0, 0]), np.array([3, 4, 3])] = 2
    data[1:2, 0:1, 0:2] = 0
    data[-1, 0, 5] = 7
    assert data[0, 0].tolist() == [1, 1, 1, 2, 2, 2] and data[1, 0].tolist() == [0, 0, 1, 2, 2, 7]
    painted = data.take_painted()
    assert {frame: part[0].tolist() for frame, part in painted.items()} == {
        0: [1, 1, 1, 2, 2, 2],
        1: [0, 0, 1, 2, 2, 7],
    }
    np.testing.assert_array_equal(data.frame(0), made)
    assert data.take_painted() == {}


def test_a_stroke_lies_on_the_masks_as_they_are_when_it_ends() -> None:
    view, data = labels(of_letters("AAA.BB", "AAA.BB"))
    shown = data[0]
    shown[0, 3] = 2  # napari writes into what it shows, a bucket before it says so
    data[0, 0, 3] = 2
    masks = edit.judge_instance(view.masks, (0, 1), "reject")
    view.review = Review(Curation(masks, view.review.curation.parameters))
    data.take_changes()
    assert data[0, 0].tolist() == [0, 0, 0, 2, 2, 2]
    assert data.take_painted()[0][0].tolist() == [0, 0, 0, 2, 2, 2]


def test_a_stroke_that_was_given_up_leaves_nothing_behind() -> None:
    view, data = labels(of_letters("AAA.BB", "AAA.BB"))
    data[0, 0, 3] = 2
    data[0, 0, 3] = 0
    data.take_changes()
    masks = edit.judge_instance(view.masks, (0, 1), "reject")
    view.review = Review(Curation(masks, view.review.curation.parameters))
    assert data[0, 0].tolist() == [0, 0, 0, 0, 2, 2]


def test_the_other_frame_cannot_be_painted_on() -> None:
    view, _ = labels(of_letters("AAA.BB", "AAA.BB"))
    with pytest.raises(InputError):
        PartnerObjects(view, Frames(2, 1, 6))[0, 0, 0] = 1


def test_a_number_as_high_as_any_is_a_label() -> None:
    masks = of_letters("AAA.BB", "AAA.BB")
    view, data = labels(edit.name_tracklet(masks, Curation(masks, CurationParameters()), (0, 1), 2**31 - 1))
    assert data[0, 0].tolist() == [2**31 - 1] * 3 + [0, 2, 2]
    assert draw_pair(view, 0, Arrangement((1, 6), scale=60)).any()
