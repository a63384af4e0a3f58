"""What is said of a run before it starts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from made_runs import run, write_clips

from flowcut_training.config import load_config
from flowcut_training.engine.estimate import Estimate
from flowcut_training.engine.preflight import check_run_plan
from flowcut_training.machine import describe_parameters, list_devices, versions


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clips(tmp_path_factory.mktemp("clips"))


def findings(dataset: Path, folder: Path, *overrides: str, **more: Any) -> dict[str, list[dict[str, Any]]]:
    config = load_config("tiny", ["points=32", *overrides])
    found: dict[str, list[dict[str, Any]]] = {}
    for event in check_run_plan(dataset, folder, config, **{"device": "cpu", **more}):
        found.setdefault(event["event"], []).append(event)
    return found


def texts(found: dict[str, list[dict[str, Any]]], kind: str = "problem") -> list[str]:
    return [event["text"] for event in found.get(kind, [])]


def test_what_can_start_is_counted_measured_and_not_begun(dataset: Path, tmp_path: Path) -> None:
    found = findings(dataset, tmp_path / "run")
    (counts,), (measured,) = found["dataset"], found["estimate"]
    document = json.loads((dataset / "annotations.json").read_text())
    assert counts["clips"] == len(document["videos"])
    assert counts["instances"] == len(document["annotations"])
    assert counts["sizes"] == [[document["videos"][0]["height"], document["videos"][0]["width"], counts["clips"]]]
    assert measured["steps"] == 60 and measured["seconds_per_step"] > 0
    assert texts(found) == [] and found["checked"][0]["problems"] == 0
    assert not (tmp_path / "run").exists()


def test_all_problems_are_said_at_once_and_nothing_is_measured_then(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = findings(tmp_path / "nothing", tmp_path / "file" / "run", "init=cutler", "evaluate=/nowhere")
    assert len(texts(found)) == found["checked"][0]["problems"] == 4
    for text, words in zip(texts(found), ("is no folder", "no such", "/nowhere", "missing weights"), strict=True):
        assert words in text and "\n" not in text
    assert "estimate" not in found


def test_a_folder_that_holds_a_run_can_only_be_gone_on_with(dataset: Path, tmp_path: Path) -> None:
    run(dataset, tmp_path / "run", "steps=1", "preview_every=0")
    assert "--resume" in texts(findings(dataset, tmp_path / "run"))[0]
    found = findings(dataset, tmp_path / "run", "steps=3", resume=True)
    assert texts(found) == [] and found["start"][0]["step"] == 1


def test_missing_frames_are_a_problem_unless_they_may_be_skipped(tmp_path: Path) -> None:
    dataset = write_clips(tmp_path)
    victim = sorted(path for path in (dataset / "frames").rglob("*") if path.is_file())[0]
    victim.unlink()
    assert "frames that were looked for are missing" in texts(findings(dataset, tmp_path / "run"))[0]
    skipping = findings(dataset, tmp_path / "run", "skip_broken=true")
    assert texts(skipping) == [] and victim.name in texts(skipping, "warning")[0]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_is_not_ours_is_said_before_hours_of_work(dataset: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert "not yours to write in" in texts(findings(dataset, tmp_path / "run"))[0]


def test_a_device_that_is_not_there_is_a_problem(dataset: Path, tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    assert "no CUDA GPU" in texts(findings(dataset, tmp_path / "run", device="cuda:7", measures=False))[0]


@pytest.mark.parametrize(
    ("more", "words"), [({"device": "gpu"}, "choose auto, cpu"), ({"world": 3}, "cannot be shared out")]
)
def test_what_keeps_it_from_starting_is_said_also_where_nothing_is_measured(
    dataset: Path, tmp_path: Path, more: dict[str, Any], words: str
) -> None:
    found = findings(dataset, tmp_path / "run", measures=False, **more)
    assert words in texts(found)[0] and found["checked"][0]["problems"] == 1


def test_a_name_that_can_be_no_folder_is_one_problem_in_a_line(dataset: Path, tmp_path: Path) -> None:
    (text,) = texts(findings(dataset, tmp_path / ("x" * 300), measures=False))
    assert "File name too long" in text and "\n" not in text


def test_a_run_goes_on_with_its_own_dataset_alone(
    dataset: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = write_clips(tmp_path_factory.mktemp("other"), count=2)
    run(dataset, tmp_path / "run", "steps=1", "preview_every=0")
    found = findings(other, tmp_path / "run", resume=True, measures=False)
    assert "is not the dataset that this run began with" in texts(found)[0]


def test_processes_on_a_cpu_share_its_memory(dataset: Path, tmp_path: Path) -> None:
    (alone,) = findings(dataset, tmp_path / "run", "batch=2")["estimate"]
    (shared,) = findings(dataset, tmp_path / "run", "batch=4", world=2)["estimate"]
    assert shared["memory_gib"] > 1.8 * alone["memory_gib"]


def test_a_batch_that_cannot_be_shared_out_is_a_problem(dataset: Path, tmp_path: Path) -> None:
    assert "cannot be shared out" in texts(findings(dataset, tmp_path / "run", world=3))[0]


def measured(*overrides: str) -> Estimate:
    """Return the estimate of a process of its own."""
    config = repr(["points=32", *overrides])
    code = (
        "import json, torch; from dataclasses import asdict; from flowcut_training.config import load_config\n"
        "from flowcut_training.engine.estimate import estimate\n"
        f"print(json.dumps(asdict(estimate(load_config('tiny', {config}), torch.device('cpu')))))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return Estimate(**json.loads(found.stdout))


def test_memory_and_time_grow_with_frames_and_batch() -> None:
    # Of the larger frames both measurements are on parts of a frame.
    small, large = measured(), measured("short_side=320", "max_side=512", "batch=16")
    assert large.seconds_per_step > 3 * small.seconds_per_step
    assert small.memory_gib is not None and large.memory_gib is not None
    assert large.memory_gib > small.memory_gib + 0.2


def test_every_parameter_is_described_with_the_values_of_all_configurations() -> None:
    described = {item["name"]: item for item in describe_parameters()}
    for name in ("paper", "tiny", "davis"):
        for section, values in load_config(name).model_dump(mode="json").items():
            for short, value in values.items():
                assert described[f"{section}.{short}"]["values"][name] == value
    assert described["model.backbone"]["choices"] == ["resnet18", "resnet34", "resnet50"]
    assert described["data.brightness"]["kind"] == described["optimizer.milestones"]["kind"] == "list"
    assert (described["data.flip"]["least"], described["data.flip"]["most"]) == (0, 1)
    assert described["data.stills"]["optional"] and not described["optimizer.lr"]["optional"]
    assert described["optimizer.steps"]["changeable"] and not described["optimizer.lr"]["changeable"]
    assert all(item["description"] for item in described.values())


def test_the_cpu_is_always_there_and_last() -> None:
    devices = list_devices()
    assert devices[-1]["name"] == "cpu"
    assert 0 < devices[-1]["free_gib"] <= devices[-1]["total_gib"]
    assert versions()["torch"] == torch.__version__
