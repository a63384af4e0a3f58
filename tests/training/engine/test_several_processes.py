"""What goes wrong in one of several processes ends all of them, soon and in one line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from made_runs import FAST, run, write_clips

from flowcut_training.engine.events import read_events

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "flowcut_napari"]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clips(tmp_path_factory.mktemp("clips"), count=3)


def trained(dataset: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    arguments = ["train", str(dataset), "-o", str(folder), "--config", "tiny", "--device", "cpu", *FAST, *words]
    # Far less than processes would wait for one that is gone.
    return subprocess.run([*TORCHRUN, *arguments], capture_output=True, text=True, timeout=120)


def errors_of(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [line for line in done.stderr.splitlines() if line.startswith("error: ")]


def test_a_folder_in_use_is_said_once(dataset: Path, tmp_path: Path) -> None:
    run(dataset, tmp_path / "run", "steps=1")
    before = read_events(tmp_path / "run")
    done = trained(dataset, tmp_path / "run")
    assert done.returncode != 0
    assert len(errors_of(done)) == 1 and "holds a run already" in errors_of(done)[0]
    assert read_events(tmp_path / "run") == before


def test_a_clip_that_one_process_cannot_read_ends_both(tmp_path: Path) -> None:
    dataset = write_clips(tmp_path / "own", count=3)
    victim = sorted((dataset / "frames").rglob("*.jpg"))[0]
    victim.write_bytes(victim.read_bytes()[:100])
    done = trained(dataset, tmp_path / "run", "steps=50")
    assert done.returncode != 0
    assert len(errors_of(done)) == 1 and victim.name in errors_of(done)[0]
    last = read_events(tmp_path / "run")[-1]
    assert (last["event"], last["rank"]) == ("error", 0)
    assert victim.name in last["reason"]


def test_both_evaluate_their_share_and_the_score_is_that_of_one(dataset: Path, tmp_path: Path) -> None:
    options = ("steps=1", "lr=1e-30", f"evaluate={dataset}", "evaluate_clips=3")
    alone = run(dataset, tmp_path / "alone", *options)
    assert trained(dataset, tmp_path / "both", *options).returncode == 0
    (found,) = (event for event in read_events(tmp_path / "both") if event["event"] == "evaluation")
    assert found["stats"]["AP"] == pytest.approx(alone.score, abs=1e-6)
