"""Bad input: processes and signals. One clear line, the right exit code, nothing half-written."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest
from command_line import CHEAP, Result, in_session, wait_for, workers_of, written
from conftest import write_frames


@pytest.fixture
def endless(tmp_path: Path) -> Path:
    """Return a clip of so many frames that no test waits for its end."""
    folder = write_frames(tmp_path / "endless", 40)
    for index in range(40, 4000):
        os.link(folder / f"{index % 40:05d}.png", folder / f"{index:05d}.png")
    return folder


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start `flowcut masks` in a session of its own; whatever is left of it is ended afterwards."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str | Path) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "flowcut_napari.cli", "masks", "-o", tmp_path / "out", *CHEAP, "--no-cache"]
        process = subprocess.Popen(
            [*map(str, command), *map(str, arguments)],
            # Files: a worker that stays behind must not keep a pipe open.
            stdout=(tmp_path / "stdout").open("w"),
            stderr=(tmp_path / "stderr").open("w"),
            text=True,
            start_new_session=True,
            # A test run started in the background ignores interrupts, and what it starts would inherit that.
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
        )
        started.append(process)
        return process

    yield start
    for process in started:
        for left in in_session(process.pid):
            left.kill()
        process.kill()
        process.wait()


def at_work(process: subprocess.Popen[str]) -> bool:
    """Return whether both workers have computed for a while: their start takes less than this."""
    found = workers_of(process)
    return len(found) == 2 and all(sum(worker.cpu_times()[:2]) > 2.5 for worker in found)


def result_of(process: subprocess.Popen[str], tmp_path: Path, seconds: float = 20) -> Result:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        pytest.fail(f"still running after {seconds} s: {(tmp_path / 'stderr').read_text()}")
    return Result(process.returncode, (tmp_path / "stdout").read_text(), (tmp_path / "stderr").read_text())


@pytest.mark.parametrize("workers", ["1", "2"])
def test_an_interrupt_keeps_finished_videos_and_leaves_nothing_else(
    launch: Callable[..., subprocess.Popen[str]],
    tmp_path: Path,
    out: Path,
    clip: Path,
    endless: Path,
    workers: str,
) -> None:
    after = write_frames(tmp_path / "zz", 2)
    process = launch(clip, endless, after, "--workers", workers)
    wait_for(lambda: (out / "clip.masks.json").exists())
    time.sleep(0.5)
    # As a terminal does: to every process of the group.
    os.killpg(process.pid, signal.SIGINT)
    result = result_of(process, tmp_path)
    result.fails_with("interrupted", code=130)
    assert written(out) == ["clip.masks.json"]
    assert json.loads((out / "clip.masks.json").read_text())["schema"] == "flowcut.masks/1"
    wait_for(lambda: not in_session(process.pid), 5)


def test_a_worker_that_is_killed_is_one_clear_line_and_no_hang(
    launch: Callable[..., subprocess.Popen[str]], tmp_path: Path, out: Path, endless: Path
) -> None:
    process = launch(endless, "--workers", "2")
    wait_for(lambda: at_work(process))
    workers_of(process)[0].kill()
    result_of(process, tmp_path).fails_with("endless", "worker", "--workers")
    assert written(out) == []
    wait_for(lambda: not in_session(process.pid), 5)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGHUP], ids=lambda number: number.name)
def test_no_worker_outlives_a_run_that_is_ended_from_outside(
    launch: Callable[..., subprocess.Popen[str]], tmp_path: Path, out: Path, endless: Path, number: signal.Signals
) -> None:
    """As a batch system ends a job at its time limit, or the kernel one that takes too much memory."""
    process = launch(endless, "--workers", "2")
    wait_for(lambda: len(workers_of(process)) == 2)
    time.sleep(1)
    process.send_signal(number)
    assert result_of(process, tmp_path).code != 0
    assert "Traceback" not in (tmp_path / "stderr").read_text()
    assert written(out) == []
    wait_for(lambda: not in_session(process.pid), 5)


def test_no_more_workers_start_than_there_is_work_for(
    launch: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    process = launch(write_frames(tmp_path / "two", 2), "--workers", "12")
    most = 0
    while process.poll() is None and most <= 2:
        try:
            most = max(most, len(workers_of(process)))
        except psutil.NoSuchProcess:
            break
        time.sleep(0.02)
    assert most <= 2
