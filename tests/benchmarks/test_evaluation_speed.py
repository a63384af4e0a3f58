"""Figures of the evaluation. Times are printed, never asserted; what is asserted is that slow and fast agree."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from large_store import peak_of_tree
from made_results import segmentations
from pycocotools import mask as coco

from flowcut_training.evaluation import evaluate_davis, evaluate_ytvis

pytestmark = pytest.mark.benchmark
_FRAMES, _HEIGHT, _WIDTH = 30, 720, 1280


def _blob(random: np.random.Generator, drift: np.ndarray, outline: np.ndarray, ragged: float) -> np.ndarray:
    """Return masks (T, H, W) of a wavy blob that drifts, with a ragged edge and some holes."""
    masks = np.zeros((_FRAMES, _HEIGHT, _WIDTH), dtype=np.uint8)
    for frame, mask in enumerate(masks):
        points = outline + drift * frame + random.normal(0, ragged, outline.shape)
        cv2.fillPoly(mask, [points.astype(np.int32)], 1)
        for row, column in random.integers(0, (_HEIGHT, _WIDTH), (40, 2)):
            cv2.circle(mask, (int(column), int(row)), 4, 0, -1)
    return masks.astype(bool)


def _results(videos: int, seed: int = 0) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return ground truth and predictions: 2 to 4 objects a video, ten detections; ten different videos, repeated."""
    random = np.random.default_rng(seed)
    made = []
    angles = np.linspace(0, 2 * np.pi, 80, endpoint=False)
    for _ in range(min(videos, 10)):
        objects, outlines = [], []
        for _ in range(int(random.integers(2, 5))):
            radius = random.integers(40, 180) * (1 + 0.2 * np.sin(3 * angles + random.random() * 6))
            centre = random.uniform((250, 180), (_WIDTH - 250, _HEIGHT - 180))
            outlines.append(np.stack([np.cos(angles), np.sin(angles)], axis=1) * radius[:, None] + centre)
            objects.append(_blob(random, np.array([2, 1]), outlines[-1], 1))
        found = [
            _blob(random, np.array([2, 1]), outlines[place % len(outlines)] + random.normal(0, 15, 2), 3)
            for place in range(10)
        ]
        areas = [[int(mask.sum()) for mask in item] for item in objects]
        made.append(([segmentations(item) for item in objects], areas, [segmentations(item) for item in found]))
    gt: dict[str, Any] = {"videos": [], "categories": [{"id": 1}], "annotations": []}
    dt = []
    for number in range(1, videos + 1):
        objects, areas, found = made[number % len(made)]
        size = {"height": _HEIGHT, "width": _WIDTH, "length": _FRAMES}
        gt["videos"].append({"id": number, **size, "file_names": [f"{number}/{frame}.jpg" for frame in range(_FRAMES)]})
        shared = {"video_id": number, "category_id": 1}
        for item, area in zip(objects, areas, strict=True):
            annotation = {"id": len(gt["annotations"]) + 1, **shared, "iscrowd": 0, "segmentations": item}
            gt["annotations"].append({**annotation, "areas": area})
        dt += [{**shared, "score": float(random.random()), "segmentations": item} for item in found]
    return gt, dt


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    done = work()
    return time.perf_counter() - start, done


def _slow_ious(gt: dict[str, Any], dt: list[dict[str, Any]], video: int) -> np.ndarray:
    """Return the overlaps of a video as the reference program finds them: two merged masks for each pair and frame."""

    def codes(item: dict[str, Any]) -> list[Any]:
        return [{**code, "counts": code["counts"].encode()} if code else None for code in item["segmentations"]]

    found = sorted((item for item in dt if item["video_id"] == video), key=lambda item: -item["score"])
    objects = [codes(item) for item in gt["annotations"] if item["video_id"] == video]
    ious = np.zeros((len(found), len(objects)))
    for row, column in np.ndindex(ious.shape):
        both = either = 0
        for first, second in zip(codes(found[row]), objects[column], strict=True):
            if first and second:
                both += coco.area(coco.merge([first, second], intersect=True))
            if first or second:
                either += coco.area(coco.merge([code for code in (first, second) if code]))
        ious[row, column] = both / either
    return ious


def test_tubes_beside_the_way_of_the_reference(capsys: pytest.CaptureFixture[str]) -> None:
    gt, dt = _results(6)
    fast, result = _timed(lambda: evaluate_ytvis(gt, dt))
    slow, ious = _timed(lambda: {video: _slow_ious(gt, dt, video) for video in result.ious})
    with capsys.disabled():
        print(
            f"\nytvis, 6 videos of 30 frames: {fast:.2f} s, overlaps alone as the reference does {slow:.2f} s,", end=""
        )
        print(f" {slow / fast:.1f}x")
    for video, overlaps in ious.items():
        assert np.array_equal(overlaps, result.ious[video])


@pytest.mark.slow
def test_two_hundred_videos_from_their_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gt, dt = _results(200)
    paths = tmp_path / "gt.json", tmp_path / "pred.json"
    for path, content in zip(paths, (gt, dt), strict=True):
        path.write_text(json.dumps(content))
    size = sum(path.stat().st_size for path in paths) / 1e6
    outputs = []
    for workers in ("1", "2"):
        command = [sys.executable, "-m", "flowcut_napari.cli", "evaluate", "ytvis", *map(str, paths)]
        seconds, peak = _timed(lambda: peak_of_tree([*command, "--json", "--workers", workers], tmp_path / "out"))  # noqa: B023
        outputs.append((tmp_path / "out").read_text())
        with capsys.disabled():
            print(
                f"\nytvis, 200 videos, 10 detections, {size:.0f} MB: {workers} workers {seconds:.1f} s, {peak:.0f} MB"
            )
    assert outputs[0] == outputs[1]
    assert 0 < json.loads(outputs[0])["stats"]["AP"] < 1


def _ellipses(count: int, frames: int, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    labels = np.zeros((frames, 480, 854), dtype=np.uint8)
    centres, radii = random.integers((100, 100), (754, 380), (count, 2)), random.integers(20, 110, count)
    for frame, picture in enumerate(labels):
        for number, ((x, y), radius) in enumerate(zip(centres.tolist(), radii.tolist(), strict=True), start=1):
            cv2.ellipse(picture, (x + frame, y), (radius, int(0.7 * radius)), 0, 0, 360, number, -1)
    return labels


def _plain_f(first: np.ndarray, second: np.ndarray, disk: np.ndarray) -> float:
    """Return F of two masks on whole frames, as the reference program finds it."""
    edges = []
    for mask in (first, second):
        grown = np.pad(mask, ((0, 1), (0, 1)), mode="edge")
        edges.append((mask ^ grown[:-1, 1:]) | (mask ^ grown[1:, :-1]) | (mask ^ grown[1:, 1:]))
    if not (edges[0].any() and edges[1].any()):
        return float(edges[0].any() == edges[1].any())
    wide = [cv2.dilate(edge.astype(np.uint8), disk) > 0 for edge in edges]
    precision, recall = ((edges[k] & wide[1 - k]).sum() / edges[k].sum() for k in (0, 1))
    return float(2 * precision * recall / (precision + recall)) if precision + recall else 0.0


def _plain(truth: np.ndarray, found: np.ndarray, objects: int, proposals: int) -> tuple[np.ndarray, np.ndarray]:
    rows, columns = np.mgrid[-8:9, -8:9]
    disk = (rows**2 + columns**2 <= 64).astype(np.uint8)
    j, f = np.zeros((2, proposals, objects, len(truth)))
    for row, column, frame in np.ndindex(j.shape):
        masks = found[frame] == row + 1, truth[frame] == column + 1
        union = (masks[0] | masks[1]).sum()
        j[row, column, frame] = (masks[0] & masks[1]).sum() / union if union else 1
        f[row, column, frame] = _plain_f(*masks, disk)
    return j, f


def test_twenty_proposals_beside_whole_frames(capsys: pytest.CaptureFixture[str]) -> None:
    truth, found = _ellipses(5, 80, 1), _ellipses(20, 80, 2)
    fast, _ = _timed(lambda: evaluate_davis({"s": (truth, found)}))
    few = evaluate_davis({"s": (truth[:4], found[:4])})
    slow, (j, f) = _timed(lambda: _plain(truth[:4], found[:4], 5, 20))
    with capsys.disabled():
        print(f"\ndavis, 80 frames 480x854, 20 proposals, 5 objects: {fast:.2f} s; on whole frames", end="")
        print(f" {20 * slow:.0f} s (of 4 frames), {20 * slow / fast:.0f}x")
    assert np.array_equal(few.per_sequence[0].j, j)
    assert np.array_equal(few.per_sequence[0].f, f)
