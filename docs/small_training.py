"""Train a small network on the pseudo-masks of real sequences, and measure both against the ground truth.

What `make results --only learning` writes: the whole of the three stages by the commands that users call, on a CPU.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from flowcut_napari.core import load_masks
from flowcut_napari.core.masks import decode_rle
from flowcut_napari.core.scoring import read_annotation, read_annotations, region_similarity, score_union

PARAMETERS = (
    *("width=64", "num_queries=20", "encoder_layers=2", "decoder_layers=6", "short_side=120", "max_side=216"),
    *("points=512", "steps=1500", "batch=4", "lr=3e-4", "milestones=[1200]", "checkpoint_every=500", "log_every=50"),
)


@dataclass(frozen=True)
class Learnt:
    """J of a sequence: of its pseudo-masks, and of the instance that the model is most certain of."""

    sequence: str
    pseudo: float
    model: float


def learn(root: Path, truth: Path, weights: Path, folder: Path) -> tuple[list[Learnt], dict[str, Any]]:
    """Run all stages on the sequences of a DAVIS root; return J of each sequence and the training's last events."""
    masks, dataset, run, predicted = (folder / name for name in ("masks", "dataset", "run", "predicted"))
    preset = ("--preset", "handmade", "--flow", "raft-small", "--weights", f"raft-small={weights}")
    _flowcut("batch", root, "-o", masks, *preset)
    _flowcut("curate", masks, "-o", dataset)
    started = time.monotonic()
    _flowcut("train", dataset, "-o", run, "--config", "tiny", "--device", "cpu", *PARAMETERS)
    minutes = (time.monotonic() - started) / 60
    _flowcut("predict", run, root, "-o", predicted, "--device", "cpu")
    events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    facts = {"minutes": minutes, **next(event for event in events if event["event"] == "start")}
    tracks = json.loads((predicted / "results.json").read_text())
    learnt = []
    for video in json.loads((predicted / "videos.json").read_text())["videos"]:
        name, annotations = video["name"], read_annotations(truth / video["name"])
        best = max((track for track in tracks if track["video_id"] == video["id"]), key=lambda track: track["score"])
        scores = []
        for file, code in zip(video["file_names"], best["segmentations"], strict=True):
            wanted = read_annotation(annotations[Path(file).stem]) > 0
            scores.append(region_similarity(decode_rle(code) if code else np.zeros_like(wanted), wanted))
        pseudo = score_union(load_masks(masks / f"{name}.masks.json"), annotations)
        learnt.append(Learnt(name, float(np.mean(list(pseudo.values()))), float(np.mean(scores))))
    return learnt, facts


def learning_section(root: Path, truth: Path, weights: Path, folder: Path) -> Iterator[str]:
    """Give the lines of the section on what a model makes of pseudo-masks."""
    learnt, facts = learn(root, truth, weights, folder)
    millions = facts["trained_parameters"] / 1e6
    yield f"A small network (ResNet-18, {millions:.1f} million parameters, frames of at most 120x216) from scratch, on"
    yield f"the {facts['clips']} clips that `flowcut curate` makes of the pseudo-masks of the same sequences (preset"
    yield f"`handmade`, RAFT-small, CRF); {facts['steps']} steps of 4 clips, {facts['minutes']:.0f} minutes on one core"
    yield "of a CPU. J is that of the one instance that the model is most certain of, in all frames of the video;"
    yield "beside it that of its pseudo-masks. No label was used in training; the model has seen these very"
    yield "videos, as in the paper, so this says nothing about others.\n"
    yield f"Parameters: `--config tiny {' '.join(PARAMETERS)}`.\n"
    yield "| sequence | J of the pseudo-masks | J of the model |"
    yield "| --- | --- | --- |"
    yield from (f"| {one.sequence} | {one.pseudo:.3f} | {one.model:.3f} |" for one in learnt)
    means = (np.mean([one.pseudo for one in learnt]), np.mean([one.model for one in learnt]))
    yield f"| mean | {means[0]:.3f} | {means[1]:.3f} |"
    yield ""


def _flowcut(*words: str | Path) -> None:
    subprocess.run([sys.executable, "-m", "flowcut_napari", *map(str, words)], check=True, stdout=subprocess.DEVNULL)
