"""A run that was stopped and goes on is the run that was not stopped, bit for bit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_runs import FAST, plan, run, same, weights, write_clips

from flowcut_training.engine.checkpoints import list_checkpoints
from flowcut_training.engine.events import read_events

STEPS = 6


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clips(tmp_path_factory.mktemp("clips"))


@pytest.fixture(scope="module")
def straight(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    outcome = run(dataset, tmp_path_factory.mktemp("straight") / "run", f"steps={STEPS}")
    assert outcome.end == "done"
    return outcome.checkpoint


def at_step(step: int, do: Callable[[], object]) -> Callable[[dict[str, Any]], None]:
    """Return a listener that does something when a step is done."""

    def listen(event: dict[str, Any]) -> None:
        if event["event"] == "step" and event["step"] == step:
            do()

    return listen


def test_training_changes_every_weight_that_is_trained(dataset: Path, straight: Path, tmp_path: Path) -> None:
    first = run(dataset, tmp_path / "run", "steps=1", "lr=1e-30").checkpoint
    before, after = weights(first), weights(straight)
    frozen = {name for name in before if "bn" in name or "downsample.1" in name}
    assert {name for name in before if (before[name] == after[name]).all()} == frozen


def test_the_same_run_twice_is_the_same(dataset: Path, straight: Path, tmp_path: Path) -> None:
    assert same(run(dataset, tmp_path / "run", f"steps={STEPS}").checkpoint, straight)


def test_another_seed_is_another_run(dataset: Path, straight: Path, tmp_path: Path) -> None:
    assert not same(run(dataset, tmp_path / "run", f"steps={STEPS}", "seed=4").checkpoint, straight)


def test_after_a_stop_file_it_goes_on_as_if_nothing_had_been(dataset: Path, straight: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    outcome = run(dataset, folder, f"steps={STEPS}", listen=at_step(3, (folder / "stop").touch))
    assert (outcome.end, outcome.step, outcome.reason, outcome.signal) == ("stopped", 3, "stop file", None)
    assert not (folder / "stop").exists()
    assert same(run(dataset, folder, f"steps={STEPS}", resume=True).checkpoint, straight)
    steps = [event["step"] for event in read_events(folder) if event["event"] == "step"]
    assert steps == list(range(1, STEPS + 1))


def test_after_a_signal_it_goes_on_as_if_nothing_had_been(dataset: Path, straight: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    before = signal.getsignal(signal.SIGTERM)
    listen = at_step(2, lambda: os.kill(os.getpid(), signal.SIGTERM))
    outcome = run(dataset, folder, f"steps={STEPS}", listen=listen)
    assert (outcome.end, outcome.step, outcome.signal) == ("stopped", 2, signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == before
    assert same(run(dataset, folder, f"steps={STEPS}", resume=True).checkpoint, straight)


def test_processes_that_read_clips_change_nothing(dataset: Path, straight: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    outcome = run(dataset, folder, f"steps={STEPS}", "workers=2", listen=at_step(4, (folder / "stop").touch))
    assert outcome.step == 4
    assert same(run(dataset, folder, f"steps={STEPS}", "workers=2", resume=True).checkpoint, straight)


def test_a_run_that_is_killed_goes_on_from_its_last_checkpoint(dataset: Path, straight: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    words = [*FAST, f"steps={STEPS}", "checkpoint_every=2", "workers=2"]
    process = started([sys.executable, "-m", "flowcut_napari"], dataset, folder, words)
    for event in events_of(process):
        # One step further than the checkpoint.
        if event["event"] == "step" and event["step"] == 5:
            process.kill()
    process.wait()
    assert [checkpoint.state.step for checkpoint in list_checkpoints(folder)] == [2, 4]
    outcome = run(dataset, folder, f"steps={STEPS}", "checkpoint_every=2", "workers=2", resume=True)
    assert same(outcome.checkpoint, straight)
    rows = (folder / "metrics.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["step", *map(str, range(1, STEPS + 1))]


def test_two_processes_stopped_and_gone_on_with_are_two_that_were_not(dataset: Path, tmp_path: Path) -> None:
    torchrun = ["torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command = [sys.executable, "-m", *torchrun, "-m", "flowcut_napari"]
    words = [*FAST, "steps=4"]
    for name in ("straight", "stopped"):
        folder = tmp_path / name
        process = started(command, dataset, folder, words)
        for event in events_of(process):
            if name == "stopped" and event["event"] == "step" and event["step"] == 2:
                (folder / "stop").touch()
        assert process.wait() == 0
    # The stop is asked for while the third step may have begun.
    assert list_checkpoints(tmp_path / "stopped")[-1].state.step in (2, 3)
    process = started(command, dataset, tmp_path / "stopped", words, "--resume")
    assert [event["event"] for event in events_of(process)][-1] == "done"
    assert process.wait() == 0
    assert same(*(list_checkpoints(tmp_path / name)[-1].folder for name in ("straight", "stopped")))


def started(command: list[str], dataset: Path, folder: Path, words: list[str], *flags: str) -> subprocess.Popen[str]:
    arguments = ["train", str(dataset), "-o", str(folder), "--config", "tiny", "--device", "cpu", *flags, *words]
    return subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE, text=True)


def events_of(process: subprocess.Popen[str]) -> Any:
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("{"):
            yield json.loads(line)


def test_what_weights_depend_on_cannot_change(dataset: Path, tmp_path: Path) -> None:
    run(dataset, tmp_path / "run", "steps=1")
    assert run(dataset, tmp_path / "run", "steps=2", resume=True).step == 2
    assert plan(dataset, tmp_path / "run").config.optimizer.lr == 1e-3
