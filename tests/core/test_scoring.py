from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import made_masks
import numpy as np
import pytest
from conftest import data_path
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from flowcut_napari.core import InputError
from flowcut_napari.core.ground_truth import FrameTruth, open_ground_truth
from flowcut_napari.core.masks import encode_rle
from flowcut_napari.core.proxies import measure_proxies
from flowcut_napari.core.pseudo_masks import FrameMasks, Instance, Rejected
from flowcut_napari.core.scoring import (
    FrameScore,
    ObjectScore,
    VideoScore,
    score_frame,
    score_stats,
    score_video,
    union_mask,
)
from flowcut_napari.core.store import VideoMasks
from flowcut_training.evaluation import evaluate_davis


def _labels(random: np.random.Generator, size: tuple[int, int], most: int, void: bool) -> np.ndarray:
    labels = np.zeros(size, dtype=np.uint8)
    for _ in range(int(random.integers(1, 6))):
        top, left = random.integers(0, size[0]), random.integers(0, size[1])
        height, width = random.integers(1, size[0] + 1), random.integers(1, size[1] + 1)
        number = 255 if void and random.random() < 0.2 else random.integers(0, most + 1)
        labels[top : top + height, left : left + width] = number
    return labels


def _masks(labels: np.ndarray, index: int = 0) -> FrameMasks:
    numbers = [int(number) for number in np.unique(labels) if number]
    instances = tuple(Instance.of_mask(number, labels == number, "cut") for number in numbers)
    return FrameMasks(index, None, "max_instances", instances)


def _write_labels(folder: Path, frames: list[np.ndarray]) -> Path:
    folder.mkdir(parents=True)
    for index, labels in enumerate(frames):
        picture = Image.fromarray(labels)
        picture.putpalette([value for number in range(256) for value in (number, 0, 0)])
        picture.save(folder / f"{index:05d}.png")
    return folder


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_instances_of_a_frame_have_the_numbers_that_the_evaluation_of_predictions_gives_them(seed: int) -> None:
    random = np.random.default_rng(seed)
    size = (int(random.integers(4, 40)), int(random.integers(4, 40)))
    truth, found = _labels(random, size, 3, void=True), _labels(random, size, 4, void=False)
    truth[0, 0] = 1
    numbers = [number for number in np.unique(truth) if 0 < number < 255]
    truth = np.select([truth == number for number in [*numbers, 255]], [*range(1, len(numbers) + 1), 255], 0)
    truth = truth.astype(np.uint8)
    ours = score_frame(_masks(found), FrameTruth.of_labels(truth))
    theirs = evaluate_davis({"s": (truth[None], found[None])})
    assert {item.object for item in ours.objects} == {item.object for item in theirs.per_object}
    # Of several pairings of one value either may be taken; their sums are equal to the bit or not equal.
    total = sum(item.j + item.f for item in ours.objects)
    assert total == pytest.approx(sum(item.j.mean + item.f.mean for item in theirs.per_object), abs=1e-12)
    if len(numbers) == 1:
        assert (ours.objects[0].j, ours.objects[0].f) == (theirs.per_object[0].j.mean, theirs.per_object[0].f.mean)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_foreground_of_a_video_has_the_numbers_of_davis_to_the_bit(seed: int) -> None:
    random = np.random.default_rng(seed)
    size, count = (int(random.integers(4, 40)), int(random.integers(4, 40))), int(random.integers(1, 9))
    truth = [_labels(random, size, 1, void=True) for _ in range(count)]
    truth[0][0, 0] = 1
    found = [_labels(random, size, 3, void=False) for _ in range(count)]
    frames = [
        score_frame(_masks(labels, index), FrameTruth.of_labels(wanted))
        for index, (labels, wanted) in enumerate(zip(found, truth, strict=True))
    ]
    stats = score_stats([VideoScore("s", tuple(frames))])
    foreground = np.stack([(labels > 0).astype(np.uint8) for labels in found])
    expected = evaluate_davis({"s": (np.stack(truth), foreground)}).stats
    assert {name: stats[name] for name in expected} == expected


def test_real_masks_have_the_j_and_f_of_the_evaluation(tmp_path: Path) -> None:
    folder = data_path("data", "davis16", "Annotations", "480p", "dog")
    truth = open_ground_truth(folder.parent).video("dog")
    frames, labels, wanted = [], [], []
    for place in range(0, 60, 20):
        read = truth.frame(place, (480, 854))
        shifted = np.roll(read.foreground, 9, axis=1).astype(np.uint8)
        frames.append(score_frame(_masks(shifted, place), read))
        labels.append(shifted)
        wanted.append(read.foreground.astype(np.uint8))
    (object_,) = evaluate_davis({"dog": (np.stack(wanted), np.stack(labels))}).per_object
    assert [frame.j for frame in frames] == object_.j_frames.tolist()
    assert [frame.f for frame in frames] == object_.f_frames.tolist()
    assert 0.3 < frames[0].j < 1


def test_found_missed_and_spurious_are_counted_one_to_one() -> None:
    truth = np.zeros((20, 60), dtype=np.uint8)
    truth[2:12, 2:12], truth[2:12, 22:32], truth[2:12, 42:52] = 1, 2, 3
    found = np.zeros_like(truth)
    found[2:12, 2:12] = 1  # all of 1
    found[2:12, 22:26] = 2  # four tenths of 2
    found[2:12, 26:32] = 3  # the other six tenths of 2
    found[15:19, 2:6] = 4  # nothing
    score = score_frame(_masks(found), FrameTruth.of_labels(truth))
    assert (score.found(0.5), score.found(0.75), score.missed, score.spurious) == (2, 1, 1, 2)
    assert [item.instance for item in score.objects][:2] == [1, 3]
    assert score.objects[1].j == 0.6


def test_an_object_is_found_by_its_mask_though_that_was_given_to_another_for_the_mean() -> None:
    truth = np.zeros((20, 100), dtype=np.uint8)
    truth[:, 10:50], truth[:, 50:60] = 1, 2
    found = np.zeros_like(truth)
    found[:, 28:56] = 1  # J 0.48 with 1, 0.19 with 2
    found[:, 8:28] = 2  # J 0.43 with 1, nothing of 2
    found_by_mean = score_frame(_masks(found), FrameTruth.of_labels(truth))
    assert [item.instance for item in found_by_mean.objects] == [2, 1]
    assert (found_by_mean.found(0.4), found_by_mean.found(0.45), found_by_mean.found(0.1)) == (1, 1, 2)


def test_a_mask_that_lies_in_void_for_the_most_part_is_neither_right_nor_wrong() -> None:
    truth = np.zeros((20, 60), dtype=np.uint8)
    truth[5:15, 5:15], truth[:, 40:] = 1, 255
    for left, spurious in ((31, 0), (29, 1)):  # of twenty columns eleven or nine in void
        found = np.zeros_like(truth)
        found[5:15, 5:15], found[3:9, left : left + 20] = 1, 2
        score = score_frame(_masks(found), FrameTruth.of_labels(truth))
        assert (score.found(), score.spurious, score.masks) == (1, spurious, 1 + spurious)
    # One that fits an object is right, however much of it lies in void.
    truth[:, 15:40] = 255
    found = np.zeros_like(truth)
    found[5:15, 5:40] = 1
    score = score_frame(_masks(found), FrameTruth.of_labels(truth))
    assert (score.j, score.found(), score.spurious, score.masks) == (1.0, 1, 0, 1)


def test_recall_of_no_objects_is_nothing_at_all() -> None:
    empty = np.zeros((10, 10), dtype=np.uint8)
    stats = score_stats([VideoScore("s", (score_frame(_masks(empty), FrameTruth.of_labels(empty)),))])
    assert [stats[name] for name in ("Recall@50", "J-Mean (objects)", "found")] == [None, None, 0]


def test_a_grey_sequence_has_ids_in_all_of_its_frames_or_in_none(tmp_path: Path) -> None:
    def write(name: str, *frames: np.ndarray) -> None:
        (tmp_path / name).mkdir()
        for index, labels in enumerate(frames):
            Image.fromarray(labels).save(tmp_path / name / f"{index:05d}.png")

    void = np.zeros((10, 20), dtype=np.uint8)
    void[:, 15:] = 255
    seen = void.copy()
    seen[2:8, 2:8] = 1
    write("ids", seen, void)
    write("black-and-white", void, void)
    truth = open_ground_truth(tmp_path)
    with_ids, without = truth.video("ids"), truth.video("black-and-white")
    assert [list(with_ids.frame(place, (10, 20)).objects) for place in (0, 1)] == [[1], []]
    assert with_ids.frame(1, (10, 20)).void.sum() == 50
    assert list(without.frame(1, (10, 20)).objects) == [1]
    assert not without.frame(0, (10, 20)).void.any()
    # Written anew under the same names, in the same process.
    Image.fromarray(seen).save(tmp_path / "black-and-white" / "00000.png")
    again = open_ground_truth(tmp_path).video("black-and-white")
    assert list(again.frame(1, (10, 20)).objects) == []
    # A smooth edge is no object with the number 128, and no reason to call all others void.
    seen[0, 0] = 128
    write("smooth", void, void, seen)
    with pytest.raises(InputError, match=r"00002.png: has the value 128"):
        open_ground_truth(tmp_path).video("smooth").frame(0, (10, 20))
    # One that cannot be read matters only where it is wanted.
    write("damaged", void, void)
    (tmp_path / "damaged" / "00001.png").write_bytes(b"no picture")
    assert list(open_ground_truth(tmp_path).video("damaged").frame(0, (10, 20)).objects) == [1]


def test_an_object_without_any_mask_has_no_part_right() -> None:
    # As large as the frame it has no contour either, and an F of 1 for nothing found.
    score = score_frame(_masks(np.zeros((20, 20), np.uint8)), FrameTruth.of_labels(np.ones((20, 20), np.uint8)))
    (object_,) = score.objects
    assert (object_.instance, object_.j, object_.f) == (None, 0.0, 0.0)


def test_void_counts_for_nothing_and_masks_in_it_are_not_spurious() -> None:
    truth = np.zeros((20, 40), dtype=np.uint8)
    truth[5:15, 5:15], truth[:, 20:] = 1, 255
    found = np.zeros_like(truth)
    found[5:15, 5:15], found[3:9, 25:35] = 1, 2
    score = score_frame(_masks(found), FrameTruth.of_labels(truth))
    assert (score.j, score.f, score.spurious, score.masks) == (1.0, 1.0, 0, 1)


def test_a_frame_without_objects_is_right_if_it_has_no_masks() -> None:
    empty = np.zeros((10, 10), dtype=np.uint8)
    full = np.ones_like(empty)
    nothing = score_frame(_masks(empty), FrameTruth.of_labels(empty))
    assert (nothing.j, nothing.f, nothing.missed, nothing.spurious) == (1.0, 1.0, 0, 0)
    wrong = score_frame(_masks(full), FrameTruth.of_labels(empty))
    assert (wrong.j, wrong.spurious) == (0.0, 1)


def test_means_over_frames_sequences_and_objects_are_told_apart() -> None:
    def frame(index: int, *js: float) -> FrameScore:
        objects = tuple(ObjectScore(n, n, j, 1.0) for n, j in enumerate(js, start=1))
        overlaps = tuple(tuple(map(float, row)) for row in np.diag(js))
        return FrameScore(index, js[0], 1.0, objects, 2, overlaps)

    long = VideoScore("long", tuple(frame(index, 0.9) for index in range(3)))
    short = VideoScore("short", (frame(0, 0.1, 0.8),))
    stats = score_stats([long, short])
    assert stats["J-Mean"] == pytest.approx((0.9 + 0.1) / 2)
    assert stats["J-Mean (frames)"] == pytest.approx((3 * 0.9 + 0.1) / 4)
    assert stats["J-Mean (objects)"] == pytest.approx((0.9 + 0.1 + 0.8) / 3)
    assert (stats["found"], stats["missed"], stats["spurious"], stats["Recall@75"]) == (4, 1, 4, 4 / 5)


def test_a_ytvis_json_scores_like_pictures_of_the_same_masks(tmp_path: Path) -> None:
    masks = made_masks.write_clip(tmp_path, tmp_path / "out", 4)
    frames = [
        sum(instance.id * instance.mask.astype(np.uint8) for instance in frame.instances) for frame in masks.frames
    ]
    frames = [np.roll(labels, 3, axis=1) for labels in frames]
    _write_labels(tmp_path / "truth" / "clip", frames)
    segmentations = [[encode_rle(labels == number) for labels in frames] for number in (1, 2)]
    document = {
        "videos": [{"id": 7, "height": 48, "width": 64, "file_names": [f"clip/{index:05d}.jpg" for index in range(4)]}],
        "annotations": [{"id": n, "video_id": 7, "segmentations": s} for n, s in enumerate(segmentations, start=1)],
    }
    (tmp_path / "truth.json").write_text(json.dumps(document))
    by_pictures = score_video(masks, open_ground_truth(tmp_path / "truth"))
    by_json = score_video(masks, open_ground_truth(tmp_path / "truth.json"))
    assert by_pictures == by_json
    assert 0.4 < by_json.j.mean < 0.9


def test_ground_truth_of_another_length_is_refused_unless_that_is_meant(tmp_path: Path) -> None:
    masks = made_masks.write_clip(tmp_path, tmp_path / "out", 4)
    frames = [union_mask(frame, 48, 64).astype(np.uint8) for frame in masks.frames[:3]]
    _write_labels(tmp_path / "truth" / "clip", frames)
    truth = open_ground_truth(tmp_path / "truth")
    with pytest.raises(InputError, match=r"has 4 frames, its ground truth .* has 3"):
        score_video(masks, truth)
    assert [frame.index for frame in score_video(masks, truth, only_annotated=True).frames] == [0, 1, 2]


def test_proxies_of_a_steady_square_are_high_and_of_noise_low(random: np.random.Generator) -> None:
    square = np.zeros((20, 30), dtype=bool)
    square[5:15, 5:15] = True
    steady = measure_proxies(made_masks.of_masks([{1: square}] * 6, size=(20, 30)))
    jumping = [{1: np.roll(square, int(random.integers(0, 30)), axis=1)} for _ in range(6)]
    noisy = measure_proxies(made_masks.of_masks(jumping, size=(20, 30)))
    assert (steady.consistency, steady.matched_share, steady.yield_share, steady.weakest_iou) == (1, 1, 1, 1)
    assert steady.area == pytest.approx(100 / 600)
    assert noisy.consistency is not None
    assert noisy.consistency < 0.6
    assert noisy.yield_share is not None
    assert noisy.yield_share < 0.7


def test_masks_that_come_and_go_are_not_consistent() -> None:
    square = np.ones((4, 12), dtype=bool)
    masks: VideoMasks = made_masks.of_masks([{1: square}, {}, {}, {1: square}], size=(4, 12))
    assert measure_proxies(masks).consistency == 0.0
    assert measure_proxies(made_masks.of_masks([{}, {}], size=(4, 12))).matched_share is None


def test_cuts_that_were_dropped_speak_for_the_frame_too() -> None:
    square = np.ones((4, 12), dtype=bool)
    masks = made_masks.of_masks([{1: square}, {}], size=(4, 12))
    kept = replace(masks.frames[0].instances[0], iteration=1, eigengap=0.4, crf_iou=0.9)
    dropped = Rejected(1, "crf_iou", 0.1, 0.2, 0.01, 0.1, (0, 0))
    frames = (replace(masks.frames[0], instances=(kept,)), replace(masks.frames[1], rejected=(dropped,)))
    measured = measure_proxies(replace(masks, frames=frames))
    assert measured.eigengap == pytest.approx((0.4 + 0.1) / 2)
    assert measured.crf_agreement == pytest.approx((0.9 + 0.2) / 2)
    # Of a frame whose first cut is neither kept nor told of there is none.
    assert measure_proxies(masks).eigengap is None
