"""Ending real runs: trainings started by the command line, by torchrun, and processes that only look like one."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import made_events as made
import psutil
import pytest
from made_runs import write_clips

from flowcut_napari.core.errors import FlowCutError, InputError, OutputError
from flowcut_napari.core.run_control import KILLED, kill_run, last_start, note_end, stop_run
from flowcut_napari.core.run_list import RunSummary, list_runs

Start = Callable[..., subprocess.Popen[bytes]]
QUICK = ("--config", "tiny", "--device", "cpu", "points=32", "log_every=1", "checkpoint_every=5", "workers=1")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clips(tmp_path_factory.mktemp("clips"), count=3)


@pytest.fixture
def start() -> Iterator[Start]:
    """Start processes; those that are left at the end are ended."""
    started: list[subprocess.Popen[bytes]] = []

    def begin(*command: str | Path, **how: Any) -> subprocess.Popen[bytes]:
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        started.append(subprocess.Popen([os.fspath(word) for word in command], start_new_session=True, **quiet, **how))
        return started[-1]

    yield begin
    for process in started:
        try:
            os.killpg(process.pid, 9)
        except ProcessLookupError:
            continue
        process.wait()


def train(start: Start, dataset: Path, run: Path, *more: str) -> subprocess.Popen[bytes]:
    return start(sys.executable, "-m", "flowcut_napari", "train", dataset, "-o", run, *QUICK, "steps=100000", *more)


def summary(run: Path) -> RunSummary:
    (found,) = list_runs(run)
    return found


def until(is_so: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.05)


def reaches(run: Path, step: int) -> Callable[[], bool]:
    return lambda: (run / "events.jsonl").is_file() and summary(run).state.step >= step


def test_a_real_run_is_seen_at_work_and_stops_when_asked(start: Start, dataset: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = train(start, dataset, run)
    until(reaches(run, 3))
    state = summary(run).state
    assert (state.state, state.steps, state.is_here) == ("running", 100000, True)
    assert state.rate is not None and state.rate > 0.1
    stop_run(run)
    assert process.wait(30) == 0
    state = summary(run).state
    assert (state.state, state.reason) == ("stopped", "stopped by somebody who asked for it")
    assert state.can_go_on and state.resumes_from == state.step
    assert not (run / "stop").exists()


def test_a_run_that_is_killed_from_here_says_so_and_takes_all_its_processes_along(
    start: Start, dataset: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    process = train(start, dataset, run)
    until(reaches(run, 7))
    workers = psutil.Process(process.pid).children(recursive=True)
    assert kill_run(run) == 1 + len(workers)
    assert workers
    assert not psutil.wait_procs(workers, timeout=5)[1]
    state = summary(run).state
    assert (state.state, state.reason) == ("failed", KILLED)
    assert state.can_go_on and state.resumes_from is not None and state.resumes_from % 5 == 0
    with pytest.raises(InputError, match="is not there any more"):
        kill_run(run)


def test_a_run_that_is_killed_by_others_is_lost(start: Start, dataset: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = train(start, dataset, run)
    until(reaches(run, 7))
    process.kill()
    # Its parent has not looked at it yet; it is dead for all that.
    until(lambda: summary(run).state.state == "lost", 5)
    state = summary(run).state
    assert state.resumes_from is not None and state.resumes_from % 5 == 0
    assert f"resume goes on from step {state.resumes_from}" in state.reason
    with pytest.raises(InputError, match="is not there any more"):
        kill_run(run)


def test_with_torchrun_all_of_it_goes(start: Start, dataset: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    torchrun = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone")
    # From a shell, which has to go on.
    shell = start("sh", "-c", f'"$0" "$@"; echo $? > {tmp_path}/code; sleep 60', *torchrun, "-m", "flowcut_napari",
                  "train", dataset, "-o", run, *QUICK, "steps=100000")  # fmt: skip
    until(reaches(run, 2), 90)
    below = psutil.Process(shell.pid).children(recursive=True)
    assert len(below) >= 3
    assert kill_run(run) >= 3
    until(lambda: (tmp_path / "code").exists(), 10)
    assert shell.poll() is None
    assert not psutil.wait_procs(below, timeout=5)[1]


def _fake(run: Path, process: psutil.Process, **fields: Any) -> Path:
    about = {"pid": process.pid, "process_started": process.create_time(), **fields}
    return made.write_run(run, [made.start(**about), made.step(1)])


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"process_started": 1.0}, "is not there any more"),
        ({"process_started": None}, "do not tell surely"),
        ({"host": None}, "do not tell surely"),
        ({"host": "another-host"}, "runs on another-host"),
        ({"pid": made.NO_PID}, "is not there any more"),
        ({"pid": -1}, "name no process"),
        ({"pid": "1"}, "name no process"),
    ],
)
def test_what_is_not_surely_the_run_is_not_ended(
    start: Start, tmp_path: Path, fields: dict[str, Any], words: str
) -> None:
    process = start(sys.executable, "-c", "import time; time.sleep(60)")
    with pytest.raises(InputError, match=words) as caught:
        kill_run(_fake(tmp_path, psutil.Process(process.pid), **fields))
    assert "\n" not in str(caught.value)
    assert process.poll() is None


def test_this_program_and_those_that_started_it_are_not_ended(tmp_path: Path) -> None:
    for process in (psutil.Process(), psutil.Process().parents()[0]):
        with pytest.raises(InputError, match="in this very program"):
            kill_run(_fake(tmp_path, process))


def test_a_shell_that_only_mentions_torchrun_is_no_launcher(start: Start, tmp_path: Path) -> None:
    code = "import time; time.sleep(60)"
    shell = start("sh", "-c", f'"{sys.executable}" -c "{code}"; sleep 60', "torchrun", "torch.distributed.run")
    until(lambda: psutil.Process(shell.pid).children())
    (child,) = psutil.Process(shell.pid).children()
    until(lambda: "python" in child.name())
    assert kill_run(_fake(tmp_path, child)) == 1
    time.sleep(0.2)
    assert shell.poll() is None


def test_the_last_start_names_the_process(tmp_path: Path) -> None:
    assert last_start(tmp_path) is None
    made.write_run(tmp_path, [made.start(pid=5), *made.training(3000), made.start(pid=6, resumed_from=3000)])
    found = last_start(tmp_path)
    assert found is not None and found.pid == 6


def test_an_end_is_noted_of_a_run_that_began_since_and_is_over_and_of_no_other(tmp_path: Path) -> None:
    now = time.time()
    began, dead = made.utc(now - 60), {"time": made.utc(now)}
    for name, first, since, state in (
        ("own", made.start(**dead), now, "failed"),
        ("earlier", made.start(time=began), now, "lost"),
        ("alive", made.start(**dead, **made.alive()), now, "running"),
    ):
        run = made.write_run(tmp_path / name, [first, made.step(1)])
        note_end(run, "it was refused", since=since)
        assert summary(run).state.state == state
    (tmp_path / "none").mkdir()
    note_end(tmp_path / "none", "no torch", since=now)
    assert summary(tmp_path / "none").state.reason == "no torch"


def test_what_is_no_run_cannot_be_stopped_or_ended(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no run that could be stopped"):
        stop_run(tmp_path)
    assert not list(tmp_path.iterdir())
    with pytest.raises(InputError, match="name no process"):
        kill_run(tmp_path)
    for name in ("x" * 5000, "no\0path"):
        for act in (stop_run, kill_run):
            with pytest.raises(InputError):
                act(tmp_path / name)


def test_a_stop_file_that_cannot_be_written_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made.write_run(tmp_path, [made.start()])
    (tmp_path / "stop").mkdir()
    with pytest.raises(OutputError, match="is a folder"):
        stop_run(tmp_path)
    (tmp_path / "stop").rmdir()
    (tmp_path / "stop").symlink_to(tmp_path / "missing" / "folder")
    with pytest.raises(FlowCutError, match="cannot be written") as caught:
        stop_run(tmp_path)
    assert "\n" not in str(caught.value)
