"""``flowcut train`` and ``flowcut convert-checkpoint`` as they are called."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

import psutil
import pytest
import torch
from command_line import _Forkserver
from made_runs import write_clips
from test_resume import events_of, started

from flowcut_training.config import load_config
from flowcut_training.engine.checkpoints import list_checkpoints
from flowcut_training.engine.events import read_events
from flowcut_training.weight_files import build_model
from flowcut_training.weight_names import to_detectron2

QUICK = ("--config", "tiny", "--device", "cpu", "points=32", "log_every=1")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clips(tmp_path_factory.mktemp("clips"), count=3)


def test_every_event_is_a_line_of_json(server: _Forkserver, dataset: Path, tmp_path: Path) -> None:
    result = server.run(["train", dataset, "-o", tmp_path / "run", *QUICK, "steps=2", f"evaluate={dataset}"])
    assert (result.code, result.err) == (0, "")
    events = [json.loads(line) for line in result.out.splitlines()]
    assert events == read_events(tmp_path / "run")
    # What it sees is drawn before the first step and after the last.
    kinds = ["start", "note", "preview", "step", "step", "preview", "checkpoint", "evaluation", "done"]
    assert [event["event"] for event in events] == kinds
    start, step, evaluation = events[0], events[3], events[7]
    assert (start["world"], start["steps"], start["parameters"]["optimizer"]["steps"]) == (1, 2, 2)
    assert start["pid"] > 0 and start["device"] == "cpu"
    assert {"step", "loss", "lr", "seconds", "data_wait"} <= set(step)
    assert set(evaluation["stats"]) >= {"AP", "AP50", "AR10"}
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        *("checkpoints", "clips.npz", "config.yaml", "evaluation.npz", "events.jsonl", "log.txt", "metrics.csv"),
        "previews",
    ]


def test_json_is_one_document(server: _Forkserver, dataset: Path, tmp_path: Path) -> None:
    result = server.run(["train", dataset, "-o", tmp_path / "run", *QUICK, "steps=1", "--json"])
    assert (result.code, result.err) == (0, "")
    document = json.loads(result.out)
    assert (document["end"], document["step"], document["AP"]) == ("done", 1, None)
    assert Path(document["checkpoint"]).is_dir()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["stepz=3"], ["unknown parameter 'stepz'", "did you mean optimizer.steps"]),
        (["--config", "tinny"], ["--config tinny", "davis, paper, tiny"]),
        (["--device", "cuda:99"], ["--device cuda:99"]),
        (["--weights", "cutler"], ["NAME=PATH"]),
        (["--resume"], ["no run to go on with"]),
        (["--config", "paper"], ["missing weights: cutler", "--weights cutler=PATH", "run.init=scratch"]),
        (["init=nowhere.pth"], ["nowhere.pth", "no such weights file"]),
        (["evaluate=nowhere"], ["nowhere"]),
        (["batch=3", "accumulation=2"], ["optimizer.batch is 3"]),
    ],
)
def test_what_is_wrong_is_one_line_and_an_event(
    server: _Forkserver, dataset: Path, tmp_path: Path, arguments: list[str], words: list[str]
) -> None:
    result = server.run(["train", dataset, "-o", tmp_path / "run", *QUICK, *arguments])
    if "--weights" in arguments:  # the command line itself is wrong
        result.fails_with(*words)
        return
    line = result.fails_with(*words)
    event = json.loads(result.out.splitlines()[-1])
    assert event["event"] == "error"
    assert line == f"error: {event['reason']}"


def test_an_unreadable_dataset_is_one_line(server: _Forkserver, tmp_path: Path) -> None:
    (tmp_path / "annotations.json").write_text("{")
    server.run(["train", tmp_path, "-o", tmp_path / "run", *QUICK]).fails_with("annotations.json")
    server.run(["train", tmp_path / "no", "-o", tmp_path / "run", *QUICK]).fails_with("no")
    server.run(["train", tmp_path, "-o", "", *QUICK]).fails_with("--out is empty")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_leaves_nothing_behind(dataset: Path, tmp_path: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-m", "flowcut_napari"]
    process = started(command, dataset, tmp_path / "run", ["points=32", "log_every=1", "workers=1", "steps=5000"])
    children: list[psutil.Process] = []
    for event in events_of(process):
        if event["event"] == "step" and event["step"] == 2:
            children = psutil.Process(process.pid).children(recursive=True)
            process.send_signal(number)
    assert process.wait() == 128 + number
    last = read_events(tmp_path / "run")[-1]
    assert (last["event"], last["reason"]) == ("stopped", number.name)
    assert list_checkpoints(tmp_path / "run")[-1].state.step == last["step"]
    assert children
    assert not psutil.wait_procs(children, timeout=10)[1]


def test_a_checkpoint_is_converted_and_back(server: _Forkserver, tmp_path: Path) -> None:
    theirs, _ = to_detectron2(build_model(load_config("tiny").model).state_dict())
    torch.save({"model": theirs}, tmp_path / "a.pth")
    result = server.run(["convert-checkpoint", tmp_path / "a.pth", "-o", tmp_path / "b.safetensors"])
    result.succeeds_silently()
    assert "detectron2" in result.out and "resnet18, 10 queries, 1 class" in result.out
    result = server.run(["convert-checkpoint", tmp_path / "b.safetensors", "-o", tmp_path / "c.pth", "--json"])
    assert json.loads(result.out)["tensors"] == len(theirs)
    back = torch.load(tmp_path / "c.pth", weights_only=True)["model"]
    assert all(torch.equal(back[name], theirs[name]) for name in theirs)
    server.run(["convert-checkpoint", tmp_path / "a.pth", "-o", tmp_path / "a.onnx"]).fails_with(".safetensors")
    server.run(["convert-checkpoint", tmp_path / "no.pth", "-o", tmp_path / "d.pth"]).fails_with("no such weights file")
