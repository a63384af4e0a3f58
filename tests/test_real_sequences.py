"""From eight real videos to a dataset, as a user goes: batch, curate, check."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import data_path
from PIL import Image

from flowcut_napari.core import load_masks, open_videos

pytestmark = pytest.mark.real


def _flowcut(*arguments: str | Path) -> str:
    command = [sys.executable, "-m", "flowcut_napari.cli", *map(str, arguments)]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert all(line.startswith("note: ") for line in run.stderr.splitlines()), run.stderr
    return run.stdout


def test_eight_sequences_end_in_datasets_that_hold(tmp_path: Path) -> None:
    root = data_path("data", "davis16")
    options = ["--preset", "handmade", "--no-crf", "--frames", "::8"]
    document = json.loads(_flowcut("batch", root, "-o", tmp_path / "masks", *options, "--workers", "2", "--json"))
    names = [video.name for video in open_videos(root)]
    assert [video["video"] for video in document["videos"]] == names
    assert document["failed"] == []
    again = json.loads(_flowcut("batch", root, "-o", tmp_path / "masks", *options, "--resume", "--json"))
    assert again["counts"] == {"done": 0, "skipped": len(names), "failed": 0}

    report = json.loads(_flowcut("curate", tmp_path / "masks", "-o", tmp_path / "ytvis", "--json"))
    assert report["clips"] > 40
    check = json.loads(_flowcut("curate", "--check", tmp_path / "ytvis", "--json"))
    assert check["valid"]
    assert check["counts"] == {"clips": report["clips"], "instances": report["instances"]}
    # Every clip is two frames of one video, 8, 16, 24 or 32 apart.
    for video in json.loads((tmp_path / "ytvis" / "annotations.json").read_text())["videos"]:
        (first, second) = (Path(name) for name in video["file_names"])
        assert first.parent == second.parent
        assert int(second.stem) - int(first.stem) in (8, 16, 24, 32)
        assert (tmp_path / "ytvis" / "frames" / first).is_file()

    _flowcut("curate", tmp_path / "masks", "-o", tmp_path / "davis", "--format", "davis", "--frame-files", "reference")
    assert json.loads(_flowcut("curate", "--check", tmp_path / "davis", "--json"))["valid"]
    masks = load_masks(tmp_path / "masks" / "dog.masks.json")
    for frame in masks.frames:
        labels = np.asarray(Image.open(tmp_path / "davis" / "Annotations" / "480p" / "dog" / f"{frame.index:05d}.png"))
        for number in np.unique(labels[labels > 0]):
            assert any(np.array_equal(labels == number, instance.mask) for instance in frame.instances)
