from __future__ import annotations

import json
from functools import partial
from typing import Any

import numpy as np
import pytest
from conftest import data_path
from hypothesis import given, settings
from hypothesis import strategies as st
from slow_metrics import slow_boundary, slow_davis, slow_f

from flowcut_napari.core import InputError
from flowcut_training.evaluation import evaluate_davis
from flowcut_training.evaluation.boundaries import f_measure, find_contours, tolerance

CASES = [f"{number:02d}" for number in range(1, 13)]


def _case(number: str) -> tuple[Any, dict[str, Any]]:
    folder = data_path("evalrefs", "davis")
    found = sorted(folder.glob(f"{number}_*.expected.json"))
    if not found:
        pytest.skip(f"case {number} is not among the test data")
    arrays = np.load(folder / f"{found[0].name.partition('.')[0]}.npz")
    return arrays, json.loads(found[0].read_text())


@pytest.mark.parametrize("number", CASES)
def test_all_numbers_are_those_of_the_reference_program(number: str) -> None:
    arrays, expected = _case(number)
    sequences = {name: (arrays[f"{name}.gt"], arrays[f"{name}.res"]) for name in expected["sequences"]}
    result = evaluate_davis(sequences)
    assert result.stats == pytest.approx(expected["global"], abs=1e-12)
    assert list(result.stats) == list(expected["global"])
    for sequence in result.per_sequence:
        wanted = expected["per_sequence"][sequence.name]
        assert sequence.proposals == wanted["n_proposals_read"]
        np.testing.assert_allclose(sequence.j, wanted["J_prop_gt_frame"], rtol=0, atol=1e-12)
        np.testing.assert_allclose(sequence.f, wanted["F_prop_gt_frame"], rtol=0, atol=1e-12)
        if number != "09":  # a tie: which of two equal pairings is taken, nothing says
            pairs = list(zip(wanted["assign_proposal"], wanted["assign_gt_index0"], strict=True))
            assert list(sequence.assignment) == pairs


def _random_labels(random: np.random.Generator, shape: tuple[int, ...], most: int, void: bool) -> np.ndarray:
    labels = np.zeros(shape, dtype=np.uint8)
    for frame in labels:
        for _ in range(int(random.integers(0, 6))):
            top, left = random.integers(0, shape[1]), random.integers(0, shape[2])
            height, width = random.integers(1, shape[1] + 1), random.integers(1, shape[2] + 1)
            number = 255 if void and random.random() < 0.2 else random.integers(0, most + 1)
            frame[top : top + height, left : left + width] = number
    return labels


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_random_sequences_give_what_the_definitions_say(seed: int) -> None:
    random = np.random.default_rng(seed)
    shape = (int(random.integers(1, 7)), int(random.integers(1, 40)), int(random.integers(1, 40)))
    truth = _random_labels(random, shape, 3, void=True)
    found = _random_labels(random, shape, 5, void=False)
    like = random.random(shape[0]) < 0.5
    found[like] = np.where(truth[like] == 255, 0, truth[like])
    if not (truth[0] % 255).any():
        truth[0, 0, 0] = 1
    result = evaluate_davis({"s": (truth, found)})
    j, f, numbers = slow_davis(truth, found)
    np.testing.assert_allclose(result.per_sequence[0].j, j, rtol=0, atol=1e-12)
    np.testing.assert_allclose(result.per_sequence[0].f, f, rtol=0, atol=1e-12)
    assert {name: result.stats[name] for name in ("J&F-Mean",)} == pytest.approx({"J&F-Mean": numbers["J&F-Mean"]})


def test_recall_and_decay_are_those_of_the_definitions(random: np.random.Generator) -> None:
    for length in (1, 2, 3, 4, 5, 7, 9, 30):
        truth = np.ones((length, 12, 12), dtype=np.uint8)
        truth[:, 6:] = 0
        found = np.zeros_like(truth)
        for frame in found:
            frame[: random.integers(0, 12)] = 1
        _, _, numbers = slow_davis(truth, found)
        assert evaluate_davis({"s": (truth, found)}).stats == pytest.approx(numbers, abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), height=st.integers(1, 60), width=st.integers(1, 60))
def test_contours_in_boxes_are_those_of_the_whole_frame(seed: int, height: int, width: int) -> None:
    labels = _random_labels(np.random.default_rng(seed), (2, height, width), 3, void=False)
    margin = tolerance(height, width)
    first, second = (find_contours(frame, 3, margin) for frame in labels)
    for number in range(1, 4):
        boundary = np.zeros((height, width), dtype=bool)
        contour = first[number - 1]
        if contour is not None:
            rows, columns = np.nonzero(contour.pixels)
            boundary[rows + contour.top, columns + contour.left] = True
        assert np.array_equal(boundary, slow_boundary(labels[0] == number))
        for other in range(1, 4):
            expected = slow_f(labels[0] == number, labels[1] == other)
            assert f_measure(contour, second[other - 1]) == pytest.approx(expected, abs=1e-12)


def test_a_wide_tolerance_reaches_exactly_a_disk(random: np.random.Generator) -> None:
    for margin in (1, 2, 5, 8, 18, 35):
        labels = np.zeros((90, 110), dtype=np.uint8)
        labels[40:43, 50:54] = 1
        (contour,) = find_contours(labels, 1, margin)
        assert contour is not None
        rows, columns = np.mgrid[: contour.reach.shape[0], : contour.reach.shape[1]] - margin
        near = np.zeros(contour.reach.shape, dtype=bool)
        for row, column in np.argwhere(contour.pixels):
            near |= (rows - row) ** 2 + (columns - column) ** 2 <= margin**2
        assert np.array_equal(contour.reach.astype(bool), near)


def _squares(length: int = 4) -> np.ndarray:
    labels = np.zeros((length, 40, 60), dtype=np.uint8)
    labels[:, 5:15, 5:15] = 1
    labels[:, 20:35, 30:50] = 2
    return labels


def test_the_truth_itself_under_other_numbers_is_perfect() -> None:
    gt = _squares()
    pred = np.where(gt == 1, 7, np.where(gt == 2, 3, 0)).astype(np.uint8)
    result = evaluate_davis({"s": (gt, pred)})
    assert result.stats == {name: 0.0 if name.endswith("Decay") else 1.0 for name in result.stats}
    assert {item.object: item.proposal for item in result.per_object} == {1: 7, 2: 3}


def test_more_proposals_than_objects_cost_nothing_and_fewer_leave_objects_unfound() -> None:
    gt = _squares()
    more = gt.copy()
    more[:, 0:3, 50:58] = 3
    assert evaluate_davis({"s": (gt, more)}).stats["J&F-Mean"] == 1
    fewer = np.where(gt == 1, 1, 0).astype(np.uint8)
    result = evaluate_davis({"s": (gt, fewer)})
    assert result.stats["J&F-Mean"] == 0.5
    assert [(item.object, item.proposal, item.mean) for item in result.per_object] == [(2, None, 0.0), (1, 1, 1.0)]
    nothing = evaluate_davis({"s": (gt, np.zeros_like(gt))})
    assert nothing.stats["J&F-Mean"] == 0
    assert {item.proposal for item in nothing.per_object} == {None}


def test_where_neither_has_anything_a_frame_is_perfect() -> None:
    gt = _squares()
    gt[2:] = 0
    result = evaluate_davis({"s": (gt, np.zeros_like(gt))})
    assert result.stats["J-Mean"] == result.stats["F-Mean"] == 0.5
    assert result.per_object[0].j_frames.tolist() == [0, 0, 1, 1]


def test_what_is_predicted_on_void_does_not_count() -> None:
    gt = _squares()
    pred = gt.copy()
    pred[:, 16:19, :] = 1
    gt[:, 16:19, :] = 255
    assert evaluate_davis({"s": (gt, pred)}).stats["J&F-Mean"] == 1


def test_an_object_that_is_not_in_the_first_frame_does_not_count() -> None:
    gt = _squares()
    gt[1:, 0:4, 40:60] = 3
    result = evaluate_davis({"s": (gt, _squares())})
    assert result.stats["J&F-Mean"] == 1
    assert len(result.per_object) == 2


def test_a_number_that_the_first_frame_passes_over_is_an_object_all_the_same() -> None:
    gt = np.where(_squares() == 2, 3, _squares()).astype(np.uint8)
    result = evaluate_davis({"s": (gt, gt)})
    # Number 2 is nowhere, and so is the proposal that it gets.
    assert [(item.object, item.proposal) for item in result.per_object] == [(1, 1), (2, None), (3, 3)]
    assert result.stats["J-Mean"] == 1


def test_the_mean_is_over_objects_and_not_over_sequences() -> None:
    two, one = _squares(), np.where(_squares() == 1, 1, 0).astype(np.uint8)
    result = evaluate_davis({"two": (two, two), "one": (one, np.zeros_like(one))})
    assert result.stats["J-Mean"] == pytest.approx(2 / 3)
    assert [(item.name, item.mean) for item in result.per_sequence] == [("one", 0.0), ("two", 1.0)]
    assert result.per_object[0].sequence == "one"


def test_decay_does_not_overflow_in_long_sequences() -> None:
    gt = np.zeros((300, 12, 12), dtype=np.uint8)
    gt[:, 3:8, 3:8] = 1
    pred = gt.copy()
    pred[150:] = 0
    assert evaluate_davis({"s": (gt, pred)}).stats["J-Decay"] == 1


def _read(value: int) -> tuple[np.ndarray, np.ndarray]:
    return _squares(), (_squares() * value).astype(np.uint8)


def test_sequences_can_be_read_when_their_turn_comes_and_in_processes() -> None:
    sequences = {name: partial(_read, value) for name, value in (("a", 1), ("b", 0), ("c", 2))}
    seen: list[str] = []
    alone, together = evaluate_davis(sequences), evaluate_davis(sequences, workers=2, on_sequence=seen.append)
    assert alone.stats == together.stats
    assert seen == ["a", "b", "c"]
    assert alone.stats["J-Mean"] == pytest.approx(2 / 3)


def test_a_sequence_without_objects_is_listed_and_counts_for_nothing() -> None:
    gt = _squares()
    result = evaluate_davis({"empty": (np.zeros_like(gt), gt), "s": (gt, gt)})
    assert result.stats["J&F-Mean"] == 1
    assert [(item.name, item.objects, item.mean) for item in result.per_sequence] == [("s", 2, 1.0), ("empty", 0, None)]
    with pytest.raises(InputError, match="nothing to evaluate"):
        evaluate_davis({"empty": (np.zeros_like(gt), gt)})
    with pytest.raises(InputError, match="nothing to evaluate"):
        evaluate_davis({})


@pytest.mark.parametrize(
    ("gt", "pred", "needle"),
    [
        (_squares(), _squares()[:3], r"dog: the predictions have the shape \(3, 40, 60\)"),
        (_squares()[0], _squares()[0], "dog: the annotations are uint8 with the shape"),
        (_squares().astype(float), _squares(), "dog: the annotations are float64"),
        (_squares(), _squares() > 0, "dog: the predictions are bool"),
        (_squares().astype(int) * 1000, _squares(), "numbers from 0 to 2000"),
        (_squares(), -_squares().astype(int), "numbers from -2 to 0"),
        (_squares()[:0], _squares()[:0], "with the shape"),
        (_squares(), (_squares() * 11).astype(np.uint8), "dog: proposals are numbered up to 22; .* 20 at most"),
        (_squares(), np.full_like(_squares(), 255), "255 is void"),
        (None, _squares(), "dog: the annotations are object"),
    ],
)
def test_arrays_that_make_no_sense_are_refused(gt: Any, pred: Any, needle: str) -> None:
    with pytest.raises(InputError, match=needle):
        evaluate_davis({"dog": (gt, pred)})


def test_twenty_proposals_are_taken(random: np.random.Generator) -> None:
    gt = _squares()
    pred = gt.copy()
    pred[:, :3, :3] = 20
    assert evaluate_davis({"s": (gt, pred)}).per_sequence[0].proposals == 20
