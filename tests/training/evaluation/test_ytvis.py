from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from conftest import data_path
from hypothesis import given, settings
from hypothesis import strategies as st
from made_results import box, ground_truth, results
from slow_metrics import DenseTube, dense_iou, slow_ytvis

from flowcut_napari.core.masks import decode_rle
from flowcut_training.evaluation import evaluate_ytvis, measure_ytvis
from flowcut_training.evaluation.tubes import read_tube, tube_ious

CASES = [f"{number:02d}" for number in range(1, 13)]
SHAPE = (2, 20, 30)
VIDEOS = {1: SHAPE}


def _case(number: str) -> tuple[dict[str, Any], list[Any], dict[str, Any], Any]:
    folder = data_path("evalrefs", "ytvis")
    found = sorted(folder.glob(f"{number}_*.expected.json"))
    if not found:
        pytest.skip(f"case {number} is not among the test data")
    name = found[0].name.partition(".")[0]
    gt, dt, expected = (json.loads((folder / f"{name}.{part}.json").read_text()) for part in ("gt", "dt", "expected"))
    arrays = folder / f"{name}.precision.npz"
    return gt, dt, expected, np.load(arrays) if arrays.exists() else None


@pytest.mark.parametrize("number", [number for number in CASES if number != "09"])
@pytest.mark.parametrize("use_categories", [False, True])
def test_all_numbers_are_those_of_the_reference_program(number: str, use_categories: bool) -> None:
    gt, dt, expected, arrays = _case(number)
    wanted = expected[f"useCats={int(use_categories)}"]
    result = evaluate_ytvis(gt, dt, use_categories)
    assert result.stats == pytest.approx(wanted["stats"], abs=1e-12)
    assert list(result.stats) == list(wanted["stats"])
    np.testing.assert_allclose(result.recall, wanted["recall_TKAM"], rtol=0, atol=1e-12)
    if not use_categories and arrays is not None:
        np.testing.assert_allclose(result.precision, arrays["precision_TRKAM"], rtol=0, atol=1e-12)
        np.testing.assert_allclose(result.scores, arrays["scores_TRKAM"], rtol=0, atol=1e-12)
        for video, ious in wanted["ious_by_video"].items():
            # The reference lists objects of several categories by category, we as in the file.
            ours = result.ious[int(video)]
            assert np.array_equal(np.sort(ours, axis=1), np.sort(np.reshape(ious, ours.shape), axis=1))


@pytest.mark.parametrize("number", ["01", "06", "10"])
def test_processes_change_nothing(number: str, monkeypatch: pytest.MonkeyPatch) -> None:
    gt, dt, _, _ = _case(number)
    seen: list[int] = []
    alone = evaluate_ytvis(gt, dt)
    monkeypatch.setattr("flowcut_training.evaluation.ytvis._FEW_MASKS", 0)
    together = evaluate_ytvis(gt, dt, workers=2, on_video=seen.append)
    assert together.stats == alone.stats
    assert together.per_object == alone.per_object
    assert seen == sorted(video["id"] for video in gt["videos"])


def _random_tubes(random: np.random.Generator) -> tuple[dict[int, tuple[int, int, int]], list[Any], list[Any]]:
    """Return videos, objects and detections: boxes that copy each other often, with few different scores."""
    big = random.random() < 0.3
    size = (290, 300) if big else (int(random.integers(3, 24)), int(random.integers(3, 24)))
    videos, objects, detections = {}, [], []
    for number in random.permutation(9)[: random.integers(1, 4)] + 1:
        shape = (int(random.integers(1, 4)), *size)
        videos[int(number)] = shape
        known: list[np.ndarray] = []
        for kind, most in ((objects, 5), (detections, 9)):
            for _ in range(int(random.integers(0, most))):
                masks = np.zeros(shape, dtype=bool)
                if known and random.random() < 0.6:
                    masks |= known[random.integers(len(known))]
                else:
                    top, left = random.integers(0, size[0]), random.integers(0, size[1])
                    masks[
                        :, top : top + random.integers(1, size[0] + 1), left : left + random.integers(1, size[1] + 1)
                    ] = True
                masks[random.random(shape[0]) < 0.2] = False
                known.append(masks)
                score = round(float(random.random()), 1)
                crowd = kind is objects and random.random() < 0.15
                kind.append(DenseTube(int(number), int(random.integers(1, 4)), masks, score, crowd))
    return videos, objects, detections


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), use_categories=st.booleans())
def test_random_videos_give_what_the_definitions_say(seed: int, use_categories: bool) -> None:
    videos, objects, detections = _random_tubes(np.random.default_rng(seed))
    result = evaluate_ytvis(ground_truth(objects, videos), results(detections), use_categories)
    assert result.stats == pytest.approx(slow_ytvis(objects, detections, use_categories), abs=1e-9)
    assert all(value == -1 or 0 <= value <= 1 for value in result.stats.values())


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_overlaps_of_runs_are_those_of_pixels_to_the_last_bit(seed: int) -> None:
    random = np.random.default_rng(seed)
    shape = tuple(random.integers(1, 12, 3).tolist())
    tubes = [DenseTube(1, 1, random.random(shape) < random.choice([0, 0.2, 0.9])) for _ in range(5)]
    coded = [read_tube(item["segmentations"], shape[1], shape[2], "") for item in results(tubes)]
    expected = [[dense_iou(first, second) for second in tubes[3:]] for first in tubes[:3]]
    assert tube_ious(coded[:3], coded[3:]).tolist() == expected


def test_counts_of_large_masks_are_exact(random: np.random.Generator) -> None:
    shape = (1, 2160, 3840)
    tubes = [DenseTube(1, 1, random.random(shape) < density) for density in (0.4999, 0.7)]
    first, second = (read_tube(item["segmentations"], *shape[1:], "") for item in results(tubes))
    assert tube_ious([first], [second])[0, 0] == dense_iou(*tubes)


def test_plain_runs_as_youtube_vis_has_them_are_read() -> None:
    masks = box(SHAPE, 3, 4, 9, 11)
    gt = ground_truth([DenseTube(1, 1, masks)], VIDEOS)
    plain = [_plain(segmentation) for segmentation in gt["annotations"][0]["segmentations"]]
    gt["annotations"][0]["segmentations"] = plain
    found = results([DenseTube(1, 1, masks, 0.5)])
    assert evaluate_ytvis(gt, found).stats["AP"] == pytest.approx(1)
    found[0]["segmentations"] = plain
    assert evaluate_ytvis(gt, found).stats["AP"] == pytest.approx(1)


def _plain(segmentation: dict[str, Any]) -> dict[str, Any]:
    flat = decode_rle(segmentation).ravel(order="F")
    changes = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff(np.concatenate(([0], changes, [flat.size]))).tolist()
    return {"size": segmentation["size"], "counts": ([0] if flat[0] else []) + runs}


def test_no_predictions_are_nothing_where_there_are_objects_and_undefined_where_there_are_none() -> None:
    stats = evaluate_ytvis(ground_truth([DenseTube(1, 1, box(SHAPE, 0, 0, 5, 5))], VIDEOS), []).stats
    assert {name for name, value in stats.items() if value == 0} == {
        *("AP", "AP50", "AP75", "APs"),
        *("AR1", "AR10", "AR100", "ARs"),
    }
    assert {value for name, value in stats.items() if name[-1] in "ml"} == {-1}
    nothing = evaluate_ytvis(ground_truth([], VIDEOS), results([DenseTube(1, 1, box(SHAPE, 0, 0, 5, 5), 0.5)]))
    assert set(nothing.stats.values()) == {-1}


def test_a_crowd_takes_several_detections_and_none_counts() -> None:
    crowd = DenseTube(1, 1, box(SHAPE, 0, 0, 10, 10), is_crowd=True)
    thing = DenseTube(1, 1, box(SHAPE, 12, 0, 6, 6))
    found = [DenseTube(1, 1, crowd.masks, score) for score in (0.9, 0.8, 0.7)] + [DenseTube(1, 1, thing.masks, 0.6)]
    result = evaluate_ytvis(ground_truth([crowd, thing], VIDEOS), results(found))
    assert result.stats["AP"] == pytest.approx(1)
    assert result.stats["AR1"] == 0  # the one with the highest score is on the crowd
    assert [(item.annotation, item.best_iou) for item in result.per_object] == [(2, 1.0)]
    (video,) = result.per_video
    assert (video.objects, video.detections, video.recall_50, video.false_positives) == (1, 4, 1.0, 0)


def test_the_second_detection_of_an_object_is_wrong() -> None:
    thing = DenseTube(1, 1, box(SHAPE, 0, 0, 10, 10))
    other = DenseTube(1, 1, box(SHAPE, 12, 12, 4, 4))
    found = [DenseTube(1, 1, thing.masks, 0.9), DenseTube(1, 1, thing.masks, 0.8), DenseTube(1, 1, other.masks, 0.7)]
    result = evaluate_ytvis(ground_truth([thing, other], VIDEOS), results(found))
    assert result.stats["AP"] == pytest.approx((51 * 1 + 50 * 2 / 3) / 101)
    assert result.per_video[0].false_positives == 1


@pytest.mark.parametrize(("side", "sizes"), [(128, "sm"), (256, "ml"), (127, "s"), (129, "m"), (257, "l")])
def test_an_area_on_a_bound_counts_on_both_sides(side: int, sizes: str) -> None:
    shape = (1, 260, 260)
    thing = DenseTube(1, 1, box(shape, 0, 0, side, side))
    stats = evaluate_ytvis(ground_truth([thing], {1: shape}), results([DenseTube(1, 1, thing.masks, 1.0)])).stats
    assert {size for size in "sml" if stats[f"AP{size}"] == pytest.approx(1)} == set(sizes)
    assert {size for size in "sml" if stats[f"AR{size}"] == -1} == set("sml") - set(sizes)


def test_the_size_of_an_object_is_that_of_the_frames_in_which_it_is() -> None:
    masks = box((4, 130, 130), 0, 0, 130, 130)
    masks[1:] = False
    result = evaluate_ytvis(
        ground_truth([DenseTube(1, 1, masks)], {1: masks.shape}), results([DenseTube(1, 1, masks, 0.5)])
    )
    assert result.stats["APm"] == pytest.approx(1)
    assert result.stats["APs"] == -1
    assert result.per_object[0].length == 1


def test_of_equal_scores_the_earlier_in_the_file_comes_first() -> None:
    thing = DenseTube(1, 1, box(SHAPE, 0, 0, 10, 10))
    right, wrong = DenseTube(1, 1, thing.masks, 0.5), DenseTube(1, 1, box(SHAPE, 12, 12, 4, 4), 0.5)
    gt = ground_truth([thing], VIDEOS)
    assert evaluate_ytvis(gt, results([right, wrong])).stats["AP"] == pytest.approx(1)
    assert evaluate_ytvis(gt, results([wrong, right])).stats["AP"] == pytest.approx(0.5)


def test_only_the_hundred_best_detections_of_a_video_count() -> None:
    thing = DenseTube(1, 1, box(SHAPE, 0, 0, 10, 10))
    wrong = [DenseTube(1, 1, box(SHAPE, 12, 12, 4, 4), 0.5)] * 100
    gt = ground_truth([thing], VIDEOS)
    assert evaluate_ytvis(gt, results([*wrong, DenseTube(1, 1, thing.masks, 0.4)])).stats["AR100"] == 0
    result = evaluate_ytvis(gt, results([*wrong[1:], DenseTube(1, 1, thing.masks, 0.4)]))
    assert result.stats["AR100"] == pytest.approx(1)
    assert result.stats["AR10"] == 0
    assert result.ious[1].shape == (100, 1)


def test_another_category_is_a_miss_only_where_categories_are_told_apart() -> None:
    thing, found = DenseTube(1, 2, box(SHAPE, 0, 0, 9, 9)), DenseTube(1, 1, box(SHAPE, 0, 0, 9, 9), 0.5)
    gt, dt = ground_truth([thing], VIDEOS), results([found])
    assert evaluate_ytvis(gt, dt).stats["AP"] == pytest.approx(1)
    result = evaluate_ytvis(gt, dt, use_categories=True)
    assert result.stats["AP"] == 0
    assert result.precision.shape == (10, 101, 3, 4, 3)
    assert set(result.ious) == {(1, 1), (1, 2)}
    assert (result.per_object[0].best_iou, result.per_object[0].score) == (0, None)


def test_overlaps_have_detections_by_score_and_objects_as_in_the_file() -> None:
    boxes = [box(SHAPE, 0, 0, 10, width) for width in (10, 5, 2)]
    objects = [DenseTube(1, category, masks) for category, masks in zip((3, 1, 2), boxes, strict=True)]
    found = [DenseTube(1, 1, boxes[0], 0.2), DenseTube(1, 1, boxes[1], 0.9)]
    result = evaluate_ytvis(ground_truth(objects, VIDEOS), results(found))
    assert result.ious[1].tolist() == [[0.5, 1, 0.4], [1, 0.5, 0.2]]


def test_videos_and_objects_come_with_the_worst_first() -> None:
    videos = {number: SHAPE for number in (1, 2, 3)}
    whole, half = box(SHAPE, 0, 0, 10, 10), box(SHAPE, 0, 0, 10, 6)
    objects = [DenseTube(1, 1, whole), DenseTube(2, 1, whole), DenseTube(2, 1, box(SHAPE, 12, 12, 4, 4))]
    found = [DenseTube(1, 1, whole, 0.9), DenseTube(2, 1, half, 0.8), DenseTube(3, 1, half, 0.7)]
    result = evaluate_ytvis(ground_truth(objects, videos), results(found))
    assert [(item.annotation, item.best_iou, item.score) for item in result.per_object] == [
        (3, 0.0, None),
        (2, 0.6, 0.8),
        (1, 1.0, 0.9),
    ]
    assert [(item.video, item.best_iou, item.recall_50) for item in result.per_video] == [
        (2, 0.3, 0.5),
        (1, 1.0, 1.0),
        (3, None, None),
    ]
    assert result.per_video[0].name == "clip2"


def test_a_threshold_leaves_out_what_is_below_it_as_if_it_were_not_there(random: np.random.Generator) -> None:
    for _ in range(10):
        videos, objects, detections = _random_tubes(random)
        gt = ground_truth(objects, videos)
        above = measure_ytvis(gt, results(detections)).score(0.5)
        alone = evaluate_ytvis(gt, results([item for item in detections if item.score >= 0.5]))
        assert above.stats == alone.stats
        assert above.per_object == alone.per_object
        assert above.per_video == alone.per_video


def test_what_is_given_is_left_as_it_was() -> None:
    gt = ground_truth([DenseTube(1, 1, box(SHAPE, 0, 0, 9, 9))], VIDEOS)
    dt = results([DenseTube(1, 1, box(SHAPE, 0, 0, 9, 9), 0.5)])
    before = json.dumps([gt, dt])
    evaluate_ytvis(gt, dt)
    assert json.dumps([gt, dt]) == before
