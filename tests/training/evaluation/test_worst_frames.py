"""The frame at which an object is found worst, beside frame-by-frame brute force."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import _Forkserver
from hypothesis import given, settings
from hypothesis import strategies as st
from made_results import box, ground_truth, results, write_indexed
from slow_metrics import DenseTube, slow_j

from flowcut_training.evaluation import evaluate_davis, evaluate_ytvis, measure_ytvis

SHAPE = (3, 12, 16)


def _tube(random: np.random.Generator, video: int, shape: tuple[int, ...]) -> DenseTube:
    masks = np.zeros(shape, dtype=bool)
    for mask in masks:
        if random.random() < 0.7:
            top, left = (int(random.integers(0, side)) for side in mask.shape)
            height, width = (int(random.integers(1, 1 + side)) for side in mask.shape)
            mask[top : top + height, left : left + width] = True
    return DenseTube(video, 1, masks, round(float(random.random()), 1), bool(random.random() < 0.1))


def _slow_worst(thing: np.ndarray, found: np.ndarray | None) -> tuple[int, float] | None:
    """Return the frame with the lowest IoU, of equal ones that with the largest object, of these the first."""
    worst: tuple[float, int, int] | None = None
    for place, mask in enumerate(thing):
        other = found[place] if found is not None else np.zeros_like(mask)
        union = int((mask | other).sum())
        # A frame with neither says nothing; without a detection at all only the object says something.
        if not union:
            continue
        candidate = (int((mask & other).sum()) / union, -int(mask.sum()), place)
        worst = candidate if worst is None else min(worst, candidate)
    return None if worst is None else (worst[2], worst[0])


def _slow_best(thing: DenseTube, detections: Sequence[DenseTube]) -> tuple[float, DenseTube | None]:
    """Return the IoU of the detection that fits best, and it; of equal ones the first by score, then in the file."""
    ranked = sorted((found for found in detections if found.video == thing.video), key=lambda found: -found.score)
    best: tuple[float, DenseTube | None] = (0.0, None)
    for found in ranked[:100]:
        union = int((thing.masks | found.masks).sum())
        iou = int((thing.masks & found.masks).sum()) / union if union else 0.0
        if iou > best[0]:
            best = (iou, found)
    return best


@settings(max_examples=120, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), threshold=st.sampled_from([None, 0.0, 0.5, 1.0]))
def test_the_worst_frame_is_that_of_brute_force(seed: int, threshold: float | None) -> None:
    random = np.random.default_rng(seed)
    shape = tuple(int(number) for number in random.integers(1, 9, 3))
    videos = {1: shape, 2: shape}
    objects = [_tube(random, int(random.integers(1, 3)), shape) for _ in range(int(random.integers(0, 5)))]
    found = [_tube(random, int(random.integers(1, 3)), shape) for _ in range(int(random.integers(0, 6)))]
    result = measure_ytvis(ground_truth(objects, videos), results(found)).score(threshold)
    counting = [item for item in found if threshold is None or item.score >= threshold]
    things = {place: item for place, item in enumerate(objects, start=1) if not item.is_crowd}
    assert {item.annotation for item in result.per_object} == set(things)
    for item in result.per_object:
        thing = things[item.annotation]
        iou, best = _slow_best(thing, counting)
        assert item.best_iou == iou
        expected = _slow_worst(thing.masks, best.masks if best is not None else None)
        assert (item.worst_frame, item.worst_iou) == (expected or (None, None))
        assert item.worst_file == (None if expected is None else f"clip{thing.video}/{expected[0]:05d}.jpg")
    for video in result.per_video:
        mine = [item for item in result.per_object if item.video == video.video]
        worst = min(mine, key=lambda item: (item.best_iou, item.annotation)) if mine else None
        assert video.worst_frame == (worst.worst_frame if worst else None)
        assert (video.worst_file, video.worst_iou) == ((worst.worst_file, worst.worst_iou) if worst else (None, None))


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_worst_frame_of_a_sequence_is_that_of_brute_force(seed: int) -> None:
    random = np.random.default_rng(seed)
    shape = (int(random.integers(1, 7)), int(random.integers(2, 14)), int(random.integers(2, 14)))
    truth = random.choice([0, 0, 1, 2, 255], size=shape).astype(np.uint8)
    truth[0, 0, 0] = 2
    found = np.where(random.random(shape) < 0.6, truth % 255, random.integers(0, 4, shape)).astype(np.uint8)
    result = evaluate_davis({"s": (truth, found)})
    seen = truth != 255
    for item in result.per_object:
        things = (truth == item.object) & seen
        proposal = (found == item.proposal) & seen if item.proposal is not None else np.zeros_like(seen)
        keys = [
            (slow_j(mask, other), -int(mask.sum()), place)
            for place, (mask, other) in enumerate(zip(things, proposal, strict=True))
        ]
        assert item.worst_frame == min(keys)[2]
        assert item.j_frames[item.worst_frame] == pytest.approx(min(keys)[0], abs=1e-12)


def test_an_object_that_nothing_overlaps_is_worst_where_it_is_largest() -> None:
    masks = box(SHAPE, 0, 0, 2, 2)
    masks[1, :5, :5] = True
    far = DenseTube(1, 1, box(SHAPE, 9, 9, 3, 3), 0.9)
    (item,) = evaluate_ytvis(ground_truth([DenseTube(1, 1, masks)], {1: SHAPE}), results([far])).per_object
    assert (item.best_iou, item.worst_frame, item.worst_iou) == (0.0, 1, 0.0)


def test_frames_without_either_are_not_the_worst_and_a_detection_too_long_is() -> None:
    masks, long = box(SHAPE, 0, 0, 4, 4), box(SHAPE, 0, 0, 4, 4)
    masks[2] = False
    here = evaluate_ytvis(ground_truth([DenseTube(1, 1, masks)], {1: SHAPE}), results([DenseTube(1, 1, masks, 0.5)]))
    assert (here.per_object[0].worst_frame, here.per_object[0].worst_iou) == (0, 1.0)
    more = evaluate_ytvis(ground_truth([DenseTube(1, 1, masks)], {1: SHAPE}), results([DenseTube(1, 1, long, 0.5)]))
    assert (more.per_object[0].worst_frame, more.per_object[0].worst_iou) == (2, 0.0)


def test_an_object_without_a_mask_and_a_video_without_an_object_have_no_worst_frame() -> None:
    nothing = DenseTube(1, 1, np.zeros(SHAPE, dtype=bool))
    result = evaluate_ytvis(ground_truth([nothing], {1: SHAPE, 2: SHAPE}), [])
    assert [item.worst_frame for item in result.per_object] == [None]
    assert [(video.worst_frame, video.worst_iou) for video in result.per_video] == [(None, None)] * 2


def test_without_names_of_files_there_is_the_place_alone() -> None:
    gt = ground_truth([DenseTube(1, 1, box(SHAPE, 0, 0, 4, 4))], {1: SHAPE})
    del gt["videos"][0]["file_names"]
    (item,) = evaluate_ytvis(gt, []).per_object
    assert (item.worst_frame, item.worst_file) == (0, None)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    objects = [DenseTube(number, 1, box(SHAPE, 0, 0, 4, 4)) for number in (1, 2, 3)]
    objects[2].masks[1] = False
    paths = tmp_path / "gt.json", tmp_path / "pred.json"
    paths[0].write_text(json.dumps(ground_truth(objects, dict.fromkeys((1, 2, 3), SHAPE))))
    found = [DenseTube(2, 1, box(SHAPE, 0, 0, 4, 2), 0.9), DenseTube(3, 1, box(SHAPE, 0, 0, 4, 4), 0.6)]
    paths[1].write_text(json.dumps(results(found)))
    return paths


def _events(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


def test_a_document_says_where_to_look_and_how_to_open_it(server: _Forkserver, files: tuple[Path, Path]) -> None:
    result = server.run(["evaluate", "ytvis", *files, "--json"])
    result.succeeds_silently()
    document = json.loads(result.out)
    assert (document["videos"], document["objects"], document["detections"]) == (3, 3, 2)
    assert [(video["name"], video["worst_file"], video["worst_iou"]) for video in document["per_video"]] == [
        ("clip1", "clip1/00000.jpg", 0.0),
        ("clip2", "clip2/00000.jpg", 0.5),
        ("clip3", "clip3/00001.jpg", 0.0),
    ]
    assert document["per_video"][1]["address"] == f"{files[0]}::clip2"
    assert document["per_video"][1]["file_names"] == [f"clip2/{frame:05d}.jpg" for frame in range(3)]
    assert [item["worst_frame"] for item in document["per_object"]] == [0, 0, 1]


def test_only_the_worst_are_listed_when_asked(server: _Forkserver, files: tuple[Path, Path]) -> None:
    document = json.loads(server.run(["evaluate", "ytvis", *files, "--json", "--most", "1"]).out)
    assert [video["name"] for video in document["per_video"]] == ["clip1"]
    assert [item["annotation"] for item in document["per_object"]] == [1]
    assert (document["videos"], document["objects"]) == (3, 3)


def test_events_tell_how_far_it_is_and_end_with_the_document(server: _Forkserver, files: tuple[Path, Path]) -> None:
    result = server.run(["evaluate", "ytvis", *files, "--events", "--threshold", "0.8"])
    result.succeeds_silently()
    *progress, done = _events(result.out)
    assert progress[0] == {"event": "progress", "done": 0, "total": 3}
    assert progress[-1] == {"event": "progress", "done": 3, "total": 3}
    assert done.pop("event") == "done"
    assert done == json.loads(server.run(["evaluate", "ytvis", *files, "--json", "--threshold", "0.8"]).out)


def test_events_and_json_are_not_to_be_had_together(server: _Forkserver, files: tuple[Path, Path]) -> None:
    for kind in ("ytvis", "davis"):
        server.run(["evaluate", kind, *files, "--events", "--json"]).fails_with("--events", "one of them")


def test_what_cannot_be_evaluated_is_an_error_and_no_event(server: _Forkserver, files: tuple[Path, Path]) -> None:
    files[1].write_text("[{")
    result = server.run(["evaluate", "ytvis", *files, "--events"])
    result.fails_with(str(files[1]), "JSON")
    assert result.out == ""


def test_sequences_name_their_frames_and_their_place_in_a_root(server: _Forkserver, tmp_path: Path) -> None:
    labels = np.zeros((3, 20, 30), dtype=np.uint8)
    labels[:, 5:15, 5:15] = 1
    root = tmp_path / "DAVIS"
    write_indexed(root / "Annotations_unsupervised" / "480p" / "dog", labels)
    write_indexed(root / "JPEGImages" / "480p" / "dog", labels)
    found = labels.copy()
    found[1, :, 10:] = 0
    write_indexed(tmp_path / "pred" / "dog", found)
    result = server.run(["evaluate", "davis", root, tmp_path / "pred", "--events"])
    result.succeeds_silently()
    *_, done = _events(result.out)
    (sequence,), (item,) = done["per_sequence"], done["per_object"]
    for row in (sequence, item):
        assert (row["worst_frame"], row["worst_file"], row["worst_iou"]) == (1, "00001.png", 0.5)
    assert sequence["address"] == f"{root}::dog"
    assert sequence["folder"] == str(root / "Annotations_unsupervised" / "480p" / "dog")
    assert sequence["file_names"] == ["00000.png", "00001.png", "00002.png"]
