"""`flowcut predict --events`: what a window reads while a model predicts."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_line import Result, _Forkserver, written
from conftest import write_frames
from made_models import YTVIS_FILES, results, write_tiny


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("weights") / "tiny.safetensors")


@pytest.fixture
def predict(server: _Forkserver, out: Path, weights: Path) -> Callable[..., Result]:
    def run(*arguments: str | Path, model: str | Path = weights, **how: Any) -> Result:
        return server.run(["predict", "-o", out, "--device", "cpu", model, *arguments], **how)

    return run


def events(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.out.splitlines()]


def stages(said: list[dict[str, Any]]) -> list[str]:
    return [event["stage"] for event in said if event["event"] == "stage"]


def test_events_and_the_document_do_not_go_together(predict: Callable[..., Result], clip: Path, out: Path) -> None:
    result = predict(clip, "--events", "--json")
    result.fails_with("--events", "--json")
    assert result.out == ""
    assert not out.exists()


def test_a_prediction_is_told_from_the_start_to_the_end(
    predict: Callable[..., Result], clip: Path, out: Path, weights: Path
) -> None:
    result = predict(clip, "--events")
    assert result.code == 0, result.err
    said = events(result)
    assert stages(said) == ["starting", "loading", "encoding", "decoding", "writing"]
    model = next(event for event in said if event["event"] == "model")
    assert model == {"event": "model", "file": str(weights), "step": 7, "device": "cpu"}
    video = next(event for event in said if event["event"] == "video")
    assert video == {"event": "video", "name": "clip", "frames": 3}
    assert [event["done"] for event in said if event["event"] == "frames"] == [1, 2, 3]
    plain = json.loads(predict(clip, "--json", "--overwrite").out)
    done = said[-1]
    for document in (done, plain):
        document["videos"][0].pop("seconds")
    assert done.pop("event") == "done"
    assert done == plain


def test_each_window_is_encoded_and_decoded(predict: Callable[..., Result], tmp_path: Path) -> None:
    said = events(predict(write_frames(tmp_path / "long", 9), "--window", "4", "--events"))
    assert stages(said)[2:] == [*["encoding", "decoding"] * 3, "writing"]
    assert [event["done"] for event in said if event["event"] == "frames"] == list(range(1, 10))
    assert said[-1]["videos"][0]["windows"]["count"] == 3


def test_a_video_that_fails_is_told_and_the_others_go_on(
    predict: Callable[..., Result], clip: Path, tmp_path: Path
) -> None:
    broken = write_frames(tmp_path / "broken", 3)
    (broken / "00001.png").write_bytes((broken / "00001.png").read_bytes()[:200])
    result = predict(broken, tmp_path / "nowhere", clip, "--events")
    assert result.code == 1
    said = events(result)
    failed = [event for event in said if event["event"] == "failed"]
    assert [Path(event["video"]).name for event in failed] == ["nowhere", "broken"]
    assert all(event["reason"] and "\n" not in event["reason"] for event in failed)
    assert said[-1]["event"] == "done"
    assert [item["video"] for item in said[-1]["failed"]] == [event["video"] for event in failed]
    assert [video["name"] for video in said[-1]["videos"]] == ["clip"]


def test_what_ends_it_before_a_video_is_an_event_and_one_line(
    predict: Callable[..., Result], clip: Path, tmp_path: Path
) -> None:
    result = predict(clip, "--events", model=tmp_path / "no.safetensors")
    result.fails_with("no.safetensors")
    said = events(result)
    assert said[-1]["event"] == "error"
    assert f"error: {said[-1]['reason']}" == result.err.strip()


def test_who_stops_listening_does_not_end_the_work(weights: Path, out: Path, tmp_path: Path) -> None:
    clip = write_frames(tmp_path / "clip", 40)
    command = [sys.executable, "-m", "flowcut_napari", "predict", str(weights), str(clip), "-o", str(out), "--events"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    assert json.loads(process.stdout.readline()) == {"event": "stage", "stage": "starting"}
    process.stdout.close()
    errors = process.stderr.read()
    assert process.wait(60) == 0
    assert errors.count("\n") == 1
    assert "standard output is gone" in errors
    assert written(out) == YTVIS_FILES
    assert len(results(out)) == 10


def test_events_come_as_they_happen_and_not_all_at_the_end(weights: Path, out: Path, tmp_path: Path) -> None:
    clip = write_frames(tmp_path / "clip", 60)
    command = [sys.executable, "-m", "flowcut_napari", "predict", str(weights), str(clip), "-o", str(out), "--events"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        came = [(time.monotonic(), json.loads(line)) for line in process.stdout]
    begin = next(time for time, event in came if event["event"] == "video")
    assert came[-1][0] - begin > 0.1
    assert came[-1][0] - came[0][0] > came[-1][0] - begin  # importing and loading came before the video
