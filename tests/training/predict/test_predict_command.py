"""`flowcut predict` as a user calls it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import Result, _Forkserver, snapshot, wait_for, write_video, written
from conftest import data_path, write_frames
from made_models import TINY, YTVIS_FILES, about, results, tiny_model, write_json, write_tiny
from PIL import Image

from flowcut_napari.core.masks import decode_rle
from flowcut_training.engine.checkpoints import State, save_checkpoint
from flowcut_training.evaluation import evaluate_davis, evaluate_ytvis, find_sequences
from flowcut_training.trained import load_trained
from flowcut_training.weight_files import About


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("weights") / "tiny.safetensors")


@pytest.fixture
def predict(server: _Forkserver, out: Path, weights: Path) -> Callable[..., Result]:
    """Run `flowcut predict` with the tiny model: videos and further options, then what `_Forkserver.run` takes."""

    def run(*arguments: str | Path, model: str | Path = weights, **how: Any) -> Result:
        return server.run(["predict", "-o", out, "--device", "cpu", model, *arguments], **how)

    return run


def make_run(folder: Path, scores: dict[int, float | None]) -> Path:
    model = tiny_model()
    optimizer = torch.optim.AdamW(model.parameters())
    for step, score in scores.items():
        with torch.no_grad():
            model.query_decoder.class_embed.bias.fill_(step / 100)
            model.query_decoder.class_embed.bias[1] = 0
        state = State(step=step, world=1, dataset="x", score=score)
        save_checkpoint(folder, state, model, optimizer, About(model=TINY, short_side=64, max_side=128))
    return folder


def test_checkpoints_of_a_run_are_chosen_by_name(predict: Callable[..., Result], clip: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", {10: 0.5, 20: 0.9, 30: None})
    out = tmp_path / "out"
    for options, step in ((("--overwrite",), 20), (("--checkpoint", "last"), 30), (("--checkpoint", "10"), 10)):
        assert predict(clip, *options, "--overwrite", model=run).code == 0
        assert about(out)["model"]["step"] == step
        assert about(out)["model"]["sha256"] == load_trained(run, str(step)).sha256
    predict(clip, "--checkpoint", "15", model=run).fails_with("15", "10, 20, 30")
    model = run / "checkpoints" / "step-00000020" / "model.safetensors"
    model.write_bytes(model.read_bytes()[:-100])
    predict(clip, "--overwrite", model=run).fails_with(str(model))


def test_the_file_of_results_is_what_the_evaluation_reads(
    predict: Callable[..., Result], out: Path, tmp_path: Path
) -> None:
    folder = write_json(tmp_path / "set", {7: 3, 2: 1})
    result = predict(folder, "--json")
    assert result.code == 0, result.err
    truth = json.loads((folder / "annotations.json").read_text())
    stats = evaluate_ytvis(truth, results(out)).stats
    assert 0 <= stats["AP"] <= 1
    assert [item["video_id"] for item in results(out)] == [7] * 10 + [2] * 10
    listed = json.loads((out / "videos.json").read_text())["videos"]
    for video, wanted in zip(listed, truth["videos"], strict=True):
        assert video == {**wanted, "name": f"v{wanted['id']}"}
    document = json.loads(result.out)
    assert document["results"] == str(out / "results.json")
    assert document["instances"] == 20
    assert document["windows"] == 0
    assert [video["id"] for video in document["videos"]] == [7, 2]


def test_scores_fall_and_the_threshold_cuts(predict: Callable[..., Result], out: Path, clip: Path) -> None:
    assert predict(clip).code == 0
    scores = [item["score"] for item in results(out)]
    assert scores == sorted(scores, reverse=True)
    assert predict(clip, "--threshold", repr(scores[3]), "--overwrite").code == 0
    assert [item["score"] for item in results(out)] == scores[:4]
    assert predict(clip, "--top", "2", "--overwrite").code == 0
    assert [item["score"] for item in results(out)] == scores[:2]
    assert predict(clip, "--threshold", "1", "--overwrite").code == 0
    assert results(out) == []


def test_provenance_says_what_the_numbers_are_owed_to(
    predict: Callable[..., Result], out: Path, clip: Path, weights: Path
) -> None:
    video = write_video(clip.parent / "film.mp4", 6)
    assert predict(clip, video, "--frames", "::2", environment={"SOURCE_DATE_EPOCH": "0"}).code == 0
    said = about(out)
    assert said["schema"] == "flowcut.prediction/1"
    assert said["model"]["file"] == str(weights)
    assert said["model"]["step"] == 7
    assert said["parameters"]["short_side"] == 64
    assert said["parameters"]["max_side"] == 128
    assert said["parameters"]["frames"] == "::2"
    assert said["provenance"]["precision"] == "float32"
    assert said["provenance"]["created"] == "1970-01-01T00:00:00Z"
    assert said["counts"] == {"videos": 2, "frames": 5, "instances": 20, "windowed": 0, "failed": 0}
    assert [(video["id"], video["name"], video["frames"]) for video in said["videos"]] == [
        (1, "clip", 2),
        (2, "film", 3),
    ]
    listed = json.loads((out / "videos.json").read_text())["videos"]
    assert listed[0]["file_names"] == ["clip/00000.png", "clip/00002.png"]
    assert listed[1]["file_names"] == ["film/00000.jpg", "film/00002.jpg", "film/00004.jpg"]
    before = snapshot(out)
    again = predict(clip, video, "--frames", "::2", "--overwrite", environment={"SOURCE_DATE_EPOCH": "0"})
    assert again.code == 0
    assert snapshot(out) == before


def test_windows_are_said_everywhere(predict: Callable[..., Result], out: Path, tmp_path: Path) -> None:
    folder = write_frames(tmp_path / "long", 9)
    result = predict(folder, "--window", "4")
    assert "3 windows of 4 frames, 1 in common" in result.out
    assert about(out)["videos"][0]["windows"] == {"size": 4, "overlap": 1, "count": 3, "reason": "asked"}
    assert about(out)["counts"]["windowed"] == 1
    assert {len(item["segmentations"]) for item in results(out)} == {9}
    document = json.loads(predict(folder, "--window", "4", "--overwrite", "--json").out)
    assert document["windows"] == 1
    assert document["videos"][0]["windows"]["size"] == 4
    assert predict(folder, "--window", "9", "--overwrite").code == 0
    whole = results(out)
    assert about(out)["videos"][0]["windows"] is None
    assert predict(folder, "--window", "0", "--overwrite").code == 0
    assert results(out) == whole


def test_a_davis_root_becomes_pictures_that_the_evaluation_reads(
    predict: Callable[..., Result], out: Path, tmp_path: Path
) -> None:
    root = tmp_path / "davis"
    for name in ("one", "two"):
        write_frames(root / "JPEGImages" / "480p" / name, 3, suffix=".jpg")
        (root / "Annotations" / "480p" / name).mkdir(parents=True)
        for place in range(3):
            labels = np.zeros((48, 64), dtype=np.uint8)
            labels[10:30, 5:40] = 1
            picture = Image.fromarray(labels, mode="L")
            picture.putpalette([0, 0, 0, 255, 0, 0] + [0] * 762)
            picture.save(root / "Annotations" / "480p" / name / f"{place:05d}.png")
    assert predict(root, "--format", "davis", "--threshold", "0.1").code == 0
    names = [f"{name}/{place:05d}.png" for name in ("one", "two") for place in range(3)]
    assert written(out) == sorted([*names, "prediction.json"])
    sequences, notes = find_sequences(root, out)
    assert not notes
    assert 0 <= evaluate_davis(sequences).stats["J&F-Mean"] <= 1


def test_both_formats_hold_the_same_masks(predict: Callable[..., Result], out: Path, clip: Path) -> None:
    assert predict(clip, "--threshold", "0.1").code == 0
    tracks = results(out)
    assert tracks
    assert predict(clip, "--threshold", "0.1", "--format", "davis", "--overwrite").code == 0
    for place in range(3):
        labels = np.asarray(Image.open(out / "clip" / f"{place:05d}.png"))
        masks = [track["segmentations"][place] for track in tracks]
        covered = np.any([decode_rle(code) for code in masks if code], axis=0)
        assert np.array_equal(labels > 0, covered)
        best = np.flatnonzero([code is not None for code in masks])[0]
        assert len(set(labels[decode_rle(masks[best])])) == 1


@pytest.mark.real
def test_a_real_sequence(predict: Callable[..., Result], out: Path) -> None:
    result = predict(f"{data_path('data', 'davis16')}::dog", "--frames", ":6", "--json")
    assert result.code == 0, result.err
    assert json.loads(result.out)["videos"][0]["frames"] == 6
    assert results(out)[0]["segmentations"][0] is None or results(out)[0]["segmentations"][0]["size"] == [480, 854]


@pytest.mark.parametrize(
    ("size", "count"),
    [((1, 90), 2), ((90, 1), 1), ((96, 40), 2), ((1, 1), 1), ((40, 150), 1)],
    ids=["flat", "thin", "portrait", "pixel", "wide"],
)
def test_thin_and_portrait_videos_and_single_frames_work(
    predict: Callable[..., Result], out: Path, tmp_path: Path, size: tuple[int, int], count: int
) -> None:
    folder = tmp_path / "odd"
    folder.mkdir()
    random = np.random.default_rng(1)
    for place in range(count):
        Image.fromarray(random.integers(0, 256, (*size, 3), dtype=np.uint8)).save(folder / f"{place}.png")
    predict(folder, "--json")
    assert len(results(out)) == 10
    for item in results(out):
        assert len(item["segmentations"]) == count
        assert all(code is None or code["size"] == list(size) for code in item["segmentations"])
    assert predict(folder, "--format", "davis", "--overwrite", "--threshold", "0").code == 0
    assert np.asarray(Image.open(out / "odd" / "0.png")).shape == size


def test_what_is_finished_is_kept_when_somebody_interrupts(
    weights: Path, out: Path, clip: Path, tmp_path: Path
) -> None:
    slow = write_frames(tmp_path / "slow", 1500)
    command = [sys.executable, "-m", "flowcut_napari.cli", "predict", weights, clip, slow, "-o", out, "--device", "cpu"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    part = out.parent / f".{out.name}.part" / "prediction.json"
    wait_for(lambda: process.poll() is not None or (part.exists() and '"name":"clip"' in part.read_text()))
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=30)
    assert process.returncode == 130, errors
    assert errors == "error: interrupted; what was finished is kept\n"
    assert "clip: 10 instances" in output
    assert written(out) == YTVIS_FILES
    assert len(results(out)) == 10
    assert not about(out)["complete"]
    assert sorted(entry.name for entry in out.parent.iterdir() if "out" in entry.name) == ["out"]
