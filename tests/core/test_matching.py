from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowcut_napari.core import InputError, match_instances
from flowcut_napari.core.masks import mask_iou
from flowcut_napari.core.matching import match_iou


def _masks(labels: np.ndarray, count: int) -> np.ndarray:
    return (
        np.stack([labels == number for number in range(1, count + 1)]) if count else np.zeros((0, *labels.shape), bool)
    )


@st.composite
def frames(draw: st.DrawFn, *, disjoint: bool) -> tuple[np.ndarray, np.ndarray]:
    """Two frames of a few masks, the second a disturbed and shuffled first."""
    random = np.random.default_rng(draw(st.integers(0, 10_000)))
    count_a, count_b = draw(st.integers(0, 4)), draw(st.integers(0, 4))
    labels = random.integers(0, 5, (6, 7))
    moved = np.where(
        random.random(labels.shape) < draw(st.sampled_from([0.0, 0.1, 0.3])),
        random.integers(0, 5, labels.shape),
        labels,
    )
    first, second = _masks(labels, count_a), _masks(random.permutation(5)[moved], count_b)
    if not disjoint:
        first = first | (random.random(first.shape) < 0.3)
        second = second | (random.random(second.shape) < 0.3)
    return first, second


@settings(max_examples=80, deadline=None)
@given(masks=frames(disjoint=False), threshold=st.sampled_from([0.0, 0.3, 0.5]))
def test_argmax_is_algorithm_1_with_shared_partners_settled_by_iou(
    masks: tuple[np.ndarray, np.ndarray], threshold: float
) -> None:
    first, second = masks
    matches = match_instances(first, second, threshold)
    assert matches.iou.shape == (len(first), len(second))
    chosen: dict[int, list[tuple[float, int]]] = {}
    for i, mask in enumerate(first):
        ious = [mask_iou(mask, other) for other in second]
        assert matches.iou[i] == pytest.approx(ious)
        if ious and max(ious) > threshold:
            chosen.setdefault(int(np.argmax(ious)), []).append((-max(ious), i))
    expected = sorted((min(takers)[1], j) for j, takers in chosen.items())
    assert list(matches.pairs) == expected
    given_up = sorted((i, j) for j, takers in chosen.items() for _, i in takers if (i, j) not in expected)
    assert list(matches.contested) == given_up


@settings(max_examples=80, deadline=None)
@given(masks=frames(disjoint=False), threshold=st.sampled_from([0.0, 0.2, 0.3, 0.5]))
def test_hungarian_has_the_largest_sum_of_all_assignments_above_the_threshold(
    masks: tuple[np.ndarray, np.ndarray], threshold: float
) -> None:
    first, second = masks
    matches = match_instances(first, second, threshold, method="hungarian")
    iou = matches.iou if len(first) <= len(second) else matches.iou.T
    allowed = np.where(iou > threshold, iou, 0)
    best = max(
        (sum(allowed[i, j] for i, j in enumerate(order)) for order in permutations(range(iou.shape[1]), iou.shape[0])),
        default=0.0,
    )
    assert all(matches.iou[i, j] > threshold for i, j in matches.pairs)
    assert sum(matches.iou[i, j] for i, j in matches.pairs) == pytest.approx(best)
    for side in zip(*matches.pairs, strict=True):
        assert len(set(side)) == len(side)


def test_what_may_not_match_does_not_keep_others_from_it() -> None:
    # The two weak pairs have the larger sum, but only the strong one is above the threshold.
    first = np.array([list("AAAAAAA.BB")])
    second = np.array([list("AAAAABBBB.")])
    masks = [np.stack([row == letter for letter in "AB"]) for row in (first, second)]
    for method in ("argmax", "hungarian"):
        assert match_instances(*masks, 0.5, method).pairs == ((0, 0),)  # type: ignore[arg-type]
    iou = np.array([[0.556, 0.286], [0.286, 0.0]])
    for method in ("argmax", "hungarian"):
        assert match_iou(iou, 0.5, method).pairs == ((0, 0),)  # type: ignore[arg-type]


@settings(max_examples=60, deadline=None)
@given(masks=frames(disjoint=True))
def test_disjoint_masks_match_one_to_one_and_alike_by_both_methods(masks: tuple[np.ndarray, np.ndarray]) -> None:
    first, second = masks
    matches = match_instances(first, second)
    assert matches.contested == ()
    assert len({i for i, _ in matches.pairs}) == len({j for _, j in matches.pairs}) == len(matches.pairs)
    assert matches.pairs == match_instances(first, second, method="hungarian").pairs


def test_two_that_overlap_and_take_the_same_are_settled_and_said() -> None:
    target = np.zeros((1, 10), bool)
    target[0, :8] = True
    near, nearer = target.copy(), target.copy()
    near[0, :2] = False
    nearer[0, 0] = False
    matches = match_instances([near, nearer], [target])
    assert matches.pairs == ((1, 0),)
    assert matches.contested == ((0, 0),)


def test_the_threshold_is_strict() -> None:
    whole, half = np.ones((1, 4), bool), np.array([[True, True, False, False]])
    assert match_instances([whole], [half]).pairs == ()
    assert match_instances([whole], [half], 0.49).pairs == ((0, 0),)


def test_a_frame_without_instances_matches_nothing() -> None:
    masks = np.ones((2, 3, 3), bool)
    for first, second in (([], masks), (masks, []), ([], [])):
        for method in ("argmax", "hungarian"):
            matches = match_instances(first, second, method=method)  # type: ignore[arg-type]
            assert matches.pairs == ()
            assert matches.iou.shape == (len(first), len(second))


def test_what_cannot_be_matched_is_refused() -> None:
    masks = np.ones((1, 3, 3), bool)
    with pytest.raises(InputError, match="of one size"):
        match_instances(masks, np.ones((1, 3, 4), bool))
    with pytest.raises(InputError, match="between 0 and 1"):
        match_instances(masks, masks, 1.5)
    with pytest.raises(InputError, match="choose argmax or hungarian"):
        match_instances(masks, masks, method="nearest")  # type: ignore[arg-type]
