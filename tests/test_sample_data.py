from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from conftest import REPOSITORY

from flowcut_napari.core.masks import check_rle, decode_rle, rle_box
from flowcut_napari.core.scoring import read_annotation, read_annotations

SAMPLE = REPOSITORY / "sample_data"


def _truth() -> np.ndarray:
    annotations = read_annotations(SAMPLE / "Annotations" / "toys")
    return np.stack([read_annotation(path) for _, path in sorted(annotations.items())])


def test_both_forms_of_the_ground_truth_are_equal() -> None:
    truth = _truth()
    content = json.loads((SAMPLE / "instances.json").read_text())
    assert content["videos"][0]["length"] == len(truth) == 24
    assert [item["id"] for item in content["annotations"]] == [1, 2, 3]
    for item in content["annotations"]:
        for frame, rle, box, area in zip(truth, item["segmentations"], item["bboxes"], item["areas"], strict=True):
            assert np.array_equal(decode_rle(rle), frame == item["id"])
            assert box == rle_box(rle)
            assert area == check_rle(rle)


def test_one_toy_hides_another_and_one_rests() -> None:
    truth = _truth()
    turtle = (truth == 2).sum(axis=(1, 2))
    assert turtle.min() < 0.3 * turtle.max()  # under the fish for a while
    assert turtle[0] > 2 * turtle.min()
    assert turtle[-1] > 2 * turtle.min()

    def path(number: int) -> np.ndarray:
        return np.array([np.argwhere(frame == number).mean(axis=0) for frame in truth])

    drift = np.linalg.norm(path(3)[-1] - path(3)[0])  # the camera's motion alone
    swim = np.linalg.norm(path(1)[-1] - path(1)[0])
    assert swim > 3 * drift


def test_it_is_small() -> None:
    assert sum(path.stat().st_size for path in SAMPLE.rglob("*") if path.is_file()) < 3_000_000


def test_the_script_makes_the_same_clip(tmp_path: Path) -> None:
    """Ground truth to the bit; pictures nearly, since JPEG encoders of other versions differ in the last digit."""
    import subprocess
    import sys

    from flowcut_napari.core.images import read_rgb

    script = SAMPLE / "make_sample.py"
    subprocess.run([sys.executable, "-B", str(script), "--out", str(tmp_path)], check=True, timeout=280)
    assert json.loads((tmp_path / "instances.json").read_text()) == json.loads((SAMPLE / "instances.json").read_text())
    for index in (0, 11, 23):
        name = f"JPEGImages/toys/{index:05d}.jpg"
        difference = np.abs(read_rgb(tmp_path / name).astype(int) - read_rgb(SAMPLE / name))
        assert difference.mean() < 1.5
