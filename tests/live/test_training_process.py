"""A training run as the window that starts it sees it: each end has its reason, and the run may outlive the window."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from command_line import wait_for
from made_interpreters import interpreter, limited
from made_runs import FAST, same, write_clips

from flowcut_napari.core.errors import OutputError
from flowcut_napari.core.run_control import KILLED, last_start
from flowcut_napari.core.run_list import list_runs
from flowcut_napari.live.training_process import TrainingCommand, TrainingEnd, TrainingProcess
from flowcut_training.engine.checkpoints import list_checkpoints
from flowcut_training.engine.events import read_events


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clips(tmp_path_factory.mktemp("clips"))


class Run:
    """A run that was started."""

    def __init__(self, dataset: Path, folder: Path, *more: str, program: str = "", processes: int = 1) -> None:
        self._over = threading.Event()
        self.end: TrainingEnd | None = None
        self.folder = folder
        options = ["--resume"] if "--resume" in more else ["--config", "tiny", *FAST]
        words = ["train", str(dataset), "-o", str(folder), "--device", "cpu", *options]
        words += [word for word in more if word != "--resume"]
        self.process = TrainingProcess(TrainingCommand(folder, tuple(words), processes), self._take, program)

    def _take(self, end: TrainingEnd) -> None:
        assert self.end is None, "told twice"
        self.end = end
        self._over.set()

    def wait(self, seconds: float = 120) -> TrainingEnd:
        assert self._over.wait(seconds), (self.folder / "log.txt").read_text()
        assert self.end is not None and "\n" not in self.end.reason
        return self.end

    def wait_for(self, kind: str, least: int = 0) -> None:
        """Wait for an event."""
        wait_for(lambda: any(event["event"] == kind and event.get("step", 0) >= least for event in self.events), 120)

    @property
    def events(self) -> list[dict[str, object]]:
        return read_events(self.folder)

    @property
    def state(self) -> tuple[str, str]:
        (found,) = list_runs(self.folder)
        return found.state.state, found.state.reason


def test_start_stop_and_resume_end_as_a_straight_run(dataset: Path, tmp_path: Path) -> None:
    straight = Run(dataset, tmp_path / "straight", "steps=8")
    assert straight.wait() == TrainingEnd(0, "")
    run = Run(dataset, tmp_path / "run", "steps=8")
    run.wait_for("step", 2)
    (run.folder / "stop").touch()
    assert run.wait() == TrainingEnd(0, "")
    assert run.state[0] == "stopped"
    again = Run(dataset, run.folder, "--resume")
    assert again.wait() == TrainingEnd(0, "")
    assert again.state[0] == "done"
    assert [event["resumed_from"] is not None for event in run.events if event["event"] == "start"] == [False, True]
    last = [list_checkpoints(folder)[-1].folder for folder in (straight.folder, run.folder)]
    assert same(*last)


def test_killing_ends_data_workers_too_and_is_written_down(dataset: Path, tmp_path: Path) -> None:
    run = Run(dataset, tmp_path / "run", "steps=100000", "workers=2")
    run.wait_for("step", 1)
    assert run.process.pid is not None
    family = [psutil.Process(run.process.pid), *psutil.Process(run.process.pid).children(recursive=True)]
    assert len(family) >= 3
    run.process.kill()
    assert run.wait().reason == KILLED
    gone, alive = psutil.wait_procs(family, 5)
    assert not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE], (gone, alive)
    assert run.state == ("failed", KILLED)


def test_killed_by_the_system_it_says_so_there_and_in_its_events(dataset: Path, tmp_path: Path) -> None:
    run = Run(dataset, tmp_path / "run", "steps=100000")
    run.wait_for("step", 1)
    start = last_start(run.folder)
    assert start is not None and start.pid == run.process.pid
    os.kill(int(start.pid or 0), 9)
    end = run.wait()
    assert end.code == -9 and "SIGKILL, as a system does that runs out of memory" in end.reason
    assert run.state == ("failed", end.reason)


def test_a_full_disk_is_the_reason_also_where_nothing_can_be_written_any_more(dataset: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    # Room for events, not for a checkpoint of 45 MB; only root may mount one.
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        run = Run(dataset, disk / "run", "steps=3")
        assert "cannot be written" in run.wait().reason and "make room" in run.wait().reason
        assert run.state == ("failed", run.wait().reason)
        shutil.rmtree(disk / "run")
        run = Run(dataset, disk / "run", "steps=100000", "checkpoint_every=100000", "preview_every=0")
        run.wait_for("step", 1)
        stuff = (disk / "stuff").open("wb", buffering=0)
        with stuff, pytest.raises(OSError, match="space"):
            while True:
                stuff.write(bytes(4096))
        end = run.wait()
        assert "events.jsonl: cannot be written (No space left on device)" in end.reason
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_file_that_may_not_grow_is_the_reason(dataset: Path, tmp_path: Path) -> None:
    run = Run(dataset, tmp_path / "run", "steps=2", program=limited(tmp_path / "bin", "-f 20000"))
    assert "cannot be written" in run.wait().reason
    assert run.state[0] == "failed"


def test_too_little_memory_is_the_reason_with_what_to_lower(dataset: Path, tmp_path: Path) -> None:
    more = ("steps=2", "batch=40", "short_side=600", "max_side=900", "preview_every=0")
    run = Run(dataset, tmp_path / "run", *more, program=limited(tmp_path / "bin", "-v 9000000"))
    assert "out of memory with optimizer.batch=40" in run.wait().reason
    assert run.state[0] == "failed"


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["exit 7"], "exit code 7"),
        (["kill -SEGV $$"], "SIGSEGV"),
        (["echo \"ModuleNotFoundError: No module named 'torch'\" >&2; exit 1"], "has no torch; install it there"),
        (['echo \'garbage\'; echo \'{"event": "error", "reason": 3}\'; exit 1'], "exit code 1"),
    ],
)
def test_a_backend_that_fails_otherwise_has_its_reason(tmp_path: Path, lines: list[str], words: str) -> None:
    run = Run(tmp_path, tmp_path / "run", program=interpreter(tmp_path / "bin", *lines))
    assert words in run.wait().reason
    assert run.state == ("failed", run.wait().reason)


def test_what_an_earlier_start_said_is_not_the_reason_of_this_one(tmp_path: Path) -> None:
    program = interpreter(tmp_path / "bin", "echo 'error: the first' >&2; exit 2")
    assert Run(tmp_path, tmp_path / "run", program=program).wait().reason == "the first"
    program = interpreter(tmp_path / "bin", "exit 2")
    assert "exit code 2" in Run(tmp_path, tmp_path / "run", program=program).wait().reason


def test_an_interpreter_that_is_not_there_is_said(tmp_path: Path) -> None:
    run = Run(tmp_path, tmp_path / "run", program=str(tmp_path / "nothing"))
    assert "nothing: cannot be started" in run.wait().reason


def test_a_folder_that_cannot_be_is_refused_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        Run(tmp_path, tmp_path / "file" / "run")


def test_several_processes_are_one_run_and_end_together(dataset: Path, tmp_path: Path) -> None:
    run = Run(dataset, tmp_path / "run", "steps=100000", processes=2)
    run.wait_for("step", 1)
    start = last_start(run.folder)
    assert start is not None and start.world == 2 and run.process.pid is not None
    family = psutil.Process(run.process.pid).children(recursive=True)
    assert start.pid in [process.pid for process in family]
    os.kill(int(start.pid or 0), 9)
    assert "SIGKILL" in run.wait().reason
    _, alive = psutil.wait_procs(family, 5)
    assert not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


def test_killing_several_processes_leaves_none_of_them(dataset: Path, tmp_path: Path) -> None:
    run = Run(dataset, tmp_path / "run", "steps=100000", "workers=1", processes=2)
    run.wait_for("step", 1)
    assert run.process.pid is not None
    # Those of torchrun have sessions of their own.
    family = [psutil.Process(run.process.pid), *psutil.Process(run.process.pid).children(recursive=True)]
    assert len(family) >= 5
    run.process.kill()
    assert run.wait().reason == KILLED
    _, alive = psutil.wait_procs(family, 5)
    assert not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


def test_a_second_process_in_the_same_folder_is_refused_and_changes_nothing_of_the_run(
    dataset: Path, tmp_path: Path
) -> None:
    run = Run(dataset, tmp_path / "run", "steps=100000")
    run.wait_for("step", 1)
    assert "another process trains in this folder" in Run(dataset, run.folder, "--resume").wait().reason
    assert run.state[0] == "running"
    (run.folder / "stop").touch()
    assert run.wait() == TrainingEnd(0, "")
    # Nor is a run that has ended called another name by what is refused later.
    assert "holds a run already" in Run(dataset, run.folder, "steps=1").wait().reason
    assert run.state[0] == "stopped"


def test_the_command_for_people_is_the_one_that_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    command = TrainingCommand(tmp_path / "my run", ("train", "a b", "-o", str(tmp_path / "my run")), 2, (1, 2))
    assert command.text().startswith("CUDA_VISIBLE_DEVICES=1,2 torchrun --standalone --nproc-per-node 2 -m flowcut_")
    assert "'a b'" in command.text()
    assert command.environment == {"CUDA_VISIBLE_DEVICES": "1,2"}
    assert command.words("py")[:4] == ["py", "-P", "-m", "torch.distributed.run"]
    single = TrainingCommand(tmp_path, ("train", "x"))
    assert single.text() == "flowcut train x" and single.words("")[0] == sys.executable


def test_gpus_are_those_that_are_visible_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = TrainingCommand(tmp_path, ("train", "x"), 2, (1, 2))
    for visible, chosen in (("4,5,7", "5,7"), ("GPU-a, GPU-b", "GPU-b"), ("", "")):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        assert command.environment == {"CUDA_VISIBLE_DEVICES": chosen}


def test_a_stop_is_heard_while_torchrun_has_started_no_process_yet(dataset: Path, tmp_path: Path) -> None:
    run = Run(dataset, tmp_path / "run", "steps=100000", processes=2)
    (run.folder / "stop").touch()
    assert run.wait(240) == TrainingEnd(0, "")
    assert run.state[0] == "stopped" and not any(event["event"] == "step" for event in run.events)


def test_it_goes_on_when_whoever_started_it_is_killed(dataset: Path, tmp_path: Path) -> None:
    words = ["train", str(dataset), "-o", str(tmp_path / "run"), "--device", "cpu", "--config", "tiny", *FAST]
    code = (
        "import time; from pathlib import Path\n"
        "from flowcut_napari.live.training_process import TrainingCommand, TrainingProcess\n"
        f"TrainingProcess(TrainingCommand(Path({str(tmp_path / 'run')!r}), {(*words, 'steps=100000')!r}), print)\n"
        "time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code])
    try:
        wait_for(lambda: any(event["event"] == "step" for event in read_events(tmp_path / "run")), 120)
        parent.kill()
        parent.wait()
        # Its standard output is gone now, which it survives.
        steps = len(read_events(tmp_path / "run"))
        wait_for(lambda: len(read_events(tmp_path / "run")) > steps + 3, 120)
        assert list_runs(tmp_path / "run")[0].state.state == "running"
        (tmp_path / "run" / "stop").touch()
        wait_for(lambda: list_runs(tmp_path / "run")[0].state.state == "stopped", 120)
    finally:
        parent.kill()
        start = last_start(tmp_path / "run")
        if start is not None and start.pid is not None and psutil.pid_exists(start.pid):
            time.sleep(1)
            if psutil.pid_exists(start.pid):
                os.kill(start.pid, 9)
