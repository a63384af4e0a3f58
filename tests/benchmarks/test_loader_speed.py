"""The data side of training: how long a large json takes to index, and whether the loader keeps ahead of a GPU."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import cv2
import pytest
from conftest import data_path
from large_store import write_store

from flowcut_napari.core.masks import encode_rle
from flowcut_training.data import DataParameters, open_clips, training_batches
from flowcut_training.data.index import load_index, scan, stamp_of

pytestmark = pytest.mark.benchmark

# Of a GPU that makes three steps a second, four clips each.
STEP = 1 / 3
BATCH = 4


def test_a_json_of_a_hundred_thousand_clips_is_indexed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store, folder = write_store(tmp_path / "store", 995), tmp_path / "dataset"
    command = [sys.executable, "-m", "flowcut_napari.cli", "curate", str(store), "-o", str(folder)]
    subprocess.run([*command, "--frame-files", "none", "--json"], check=True, stdout=subprocess.DEVNULL)
    path = folder / "annotations.json"
    started = time.perf_counter()
    index = scan(path, "clips")
    scanned = time.perf_counter() - started
    assert len(index) > 100_000
    index.save(tmp_path / "clips.npz")
    started = time.perf_counter()
    assert load_index(tmp_path / "clips.npz", stamp_of(path, "clips")) is not None
    with capsys.disabled():
        print(
            f"\nindex of {len(index)} clips, {len(index.tracks)} instances, {path.stat().st_size / 1e6:.0f} MB of "
            f"json: {scanned:.1f} s; kept in "
            f"{(tmp_path / 'clips.npz').stat().st_size / 1e6:.1f} MB, read again in "
            f"{1e3 * (time.perf_counter() - started):.0f} ms"
        )


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_the_loader_keeps_ahead(tmp_path: Path, capsys: pytest.CaptureFixture[str], workers: int) -> None:
    source = open_clips(_davis_pairs(tmp_path / "dataset"))
    parameters = DataParameters(workers=workers)
    how = {"seed": 0, "batch": BATCH, "start": 0}

    # As fast as it can.
    batches = training_batches(source, None, parameters, **how, steps=46)
    started = time.perf_counter()
    for _ in range(6):
        next(batches)
    first = time.perf_counter() - started
    started = time.perf_counter()
    count = sum(1 for _ in batches)
    rate = count / (time.perf_counter() - started)

    # Behind a consumer that takes its time: how long it waits.
    batches = training_batches(source, None, parameters, **how, steps=26)
    for _ in range(6):
        next(batches)
    waits = []
    for _ in range(20):
        time.sleep(STEP)
        started = time.perf_counter()
        next(batches)
        waits.append(time.perf_counter() - started)
    with capsys.disabled():
        print(
            f"\nloader, {workers} workers, {BATCH} clips of 2 frames, 480x854 to 360x640: {rate:.1f} batches a second "
            f"({BATCH * rate:.0f} clips), {first:.1f} s to the first; at {1 / STEP:.0f} steps a second each waits "
            f"{1e3 * sum(waits) / len(waits):.1f} ms ({1e3 * max(waits):.1f} at most)"
        )


def _davis_pairs(folder: Path) -> Path:
    """Write a dataset of pairs of frames of real sequences with their true masks."""
    root = data_path("data", "davis16")
    folder.mkdir()
    (folder / "frames").symlink_to(root / "JPEGImages" / "480p")
    videos, annotations = [], []
    for sequence in sorted((root / "Annotations" / "480p").iterdir()):
        names = sorted(path.stem for path in sequence.glob("*.png"))[:16]
        masks = [cv2.imread(str(sequence / f"{name}.png"), cv2.IMREAD_GRAYSCALE) > 0 for name in names]
        codes = [encode_rle(mask) for mask in masks]
        height, width = masks[0].shape
        for place in range(len(names) - 4):
            number = len(videos) + 1
            files = [f"{sequence.name}/{names[i]}.jpg" for i in (place, place + 4)]
            videos.append({"id": number, "width": width, "height": height, "length": 2, "file_names": files})
            pair = [codes[place], codes[place + 4]]
            annotations.append({"id": number, "video_id": number, "category_id": 1, "segmentations": pair})
    (folder / "annotations.json").write_text(json.dumps({"videos": videos, "annotations": annotations}))
    return folder
