"""The command line as tests call it, and what they look at afterwards.

Most runs happen in a process forked from one that has imported everything already (`_Forkserver`): its own file
descriptors, environment and interpreter exit, without three seconds of imports. What concerns start, worker
processes and signals runs in a process of its own.
"""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import pytest
from conftest import write_frames

# A gap of 1, because a longer one than the clip would add a note.
CHEAP = ("--preset", "handmade", "--workers", "1", "--no-crf", "--size", "64x96", "--gap", "1")
RAFT_ONLY = ("--preset", "handmade", "--workers", "1", "--no-crf", "--size", "128x160", "--gap", "1", "--flow")
# A proxy that refuses at once stands for a machine without a network.
NO_NETWORK = {
    name: "http://127.0.0.1:9" for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
} | {"no_proxy": "", "NO_PROXY": ""}

_FORKSERVER = """
import gc, json, os, resource, signal, sys, time, traceback
import cv2, numpy, PIL.Image, scipy.ndimage, scipy.sparse.linalg, torch, torchvision.models.optical_flow, timm
import psutil, safetensors.torch
from flowcut_napari import cli
from flowcut_napari.commands import batch, bench, convert, curate, demo, evaluate, masks, predict, score, sweep
from flowcut_napari.commands import train, weights
import flowcut_training.engine.loop

gc.freeze()
answers = os.fdopen(os.dup(1), "w")
for line in sys.stdin:
    task = json.loads(line)
    pid = os.fork()
    if pid == 0:
        break
    end = time.monotonic() + task["timeout"]
    status = None
    while status is None:
        done, value = os.waitpid(pid, os.WNOHANG)
        if done:
            status = os.waitstatus_to_exitcode(value)
        elif time.monotonic() > end:
            os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            status = "timeout"
        else:
            time.sleep(0.005)
    answers.write(json.dumps(status) + "\\n")
    answers.flush()
else:
    sys.exit(0)
os.setsid()
answers.close()
os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
for number, key in ((1, "stdout"), (2, "stderr")):
    os.dup2(os.open(task[key], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), number)
os.environ.clear()
os.environ.update(task["environment"])
os.chdir(task["folder"])
for limit, value in task["limits"].items():
    if limit == "RLIMIT_AS":  # so much more than there is already
        value += psutil.Process().memory_info().vms
    resource.setrlimit(getattr(resource, limit), (value, value))
sys.argv = ["flowcut", *task["arguments"]]
code = 1
try:
    cli.main()
except SystemExit as end:
    code = end.code
except BaseException:
    traceback.print_exc()
try:
    sys.stdout.flush()
except OSError as error:
    print(f"Exception ignored: {error!r}", file=sys.stderr)
    code = 120
# The proper end of an interpreter that has torch in it takes a second.
sys.stderr.flush()
os._exit(code or 0)
"""


@dataclass(frozen=True)
class Result:
    """What a run left."""

    code: int | str
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        # Not splitlines(): a terminal starts a new line at a line feed only.
        return self.err.rstrip("\n").split("\n") if self.err else []

    @property
    def errors(self) -> list[str]:
        return [line for line in self.lines if line.startswith("error: ")]

    @property
    def notes(self) -> list[str]:
        return [line for line in self.lines if line.startswith("note: ")]

    @property
    def strays(self) -> list[str]:
        return [line for line in self.lines if not line.startswith(("error: ", "note: "))]

    def fails_with(self, *needles: str, code: int = 2) -> str:
        """Assert one error line that holds all needles, nothing stray beside it, and the exit code; return the line."""
        assert self.code == code, f"exit {self.code}, not {code}: {self.err}"
        assert not self.strays, f"neither error nor note: {self.err}"
        assert len(self.errors) == 1, f"{len(self.errors)} error lines: {self.err}"
        line = self.errors[0]
        assert "unexpected" not in line, line
        for needle in needles:
            assert needle.lower() in line.lower(), f"{needle!r} is not in {line!r}"
        return line

    def succeeds_with_note(self, *needles: str) -> None:
        assert self.code == 0, self.err
        assert not self.strays, self.err
        assert not self.errors, self.err
        assert len(self.notes) == 1, self.err
        for needle in needles:
            assert needle in self.notes[0], self.err

    def succeeds_silently(self) -> None:
        assert (self.code, self.err) == (0, "")


class _Forkserver:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        environment = {**os.environ, "HOME": str(folder), "HF_HOME": str(folder / "hf"), **NO_NETWORK}
        self.process = subprocess.Popen(
            [sys.executable, "-c", _FORKSERVER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def run(
        self,
        arguments: Sequence[str | Path],
        *,
        folder: Path | None = None,
        timeout: float = 60,
        stdout: str | None = None,
        environment: dict[str, str] | None = None,
        limits: dict[str, int] | None = None,
    ) -> Result:
        out, err = self.folder / "stdout", self.folder / "stderr"
        task = {
            "arguments": [os.fspath(argument) for argument in arguments],
            "environment": {**os.environ, **NO_NETWORK, "CUDA_VISIBLE_DEVICES": "", **(environment or {})},
            "folder": str(folder or self.folder),
            "timeout": timeout,
            "stdout": stdout or str(out),
            "stderr": str(err),
            "limits": limits or {},
        }
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(task) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, "the fork server has died"
        texts = (path.read_bytes().decode(errors="surrogateescape") if path.exists() else "" for path in (out, err))
        return Result(json.loads(answer), *texts)

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(10)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Forkserver]:
    if not hasattr(os, "fork"):
        pytest.skip("these runs are forked, which this system cannot")
    started = _Forkserver(tmp_path_factory.mktemp("forkserver"))
    yield started
    started.close()


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_frames(tmp_path / "clip", 3)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def cheap(server: _Forkserver, out: Path) -> Callable[..., Result]:
    """Run `flowcut masks` on tiny frames: videos and further options, then what `_Forkserver.run` takes."""

    def run(*arguments: str | Path, **how: Any) -> Result:
        return server.run(["masks", "-o", out, *CHEAP, *arguments], **how)

    return run


def written(folder: Path) -> list[str]:
    """Return every file in an output folder, hidden ones and those of subfolders included."""
    if not folder.is_dir():
        return []
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())


def snapshot(folder: Path) -> dict[str, Any]:
    """Return all that is in a folder, to the byte."""
    found: dict[str, Any] = {}
    for path in folder.rglob("*"):
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            found[str(path)] = os.readlink(path)
        else:
            found[str(path)] = path.read_bytes() if stat.S_ISREG(mode) else stat.S_IFMT(mode)
    return found


def in_session(session: int) -> list[psutil.Process]:
    """Return the living processes of a session."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (ProcessLookupError, psutil.Error):
            continue
    return found


def workers_of(process: subprocess.Popen[Any]) -> list[psutil.Process]:
    found = []
    for child in psutil.Process(process.pid).children():
        try:
            if "spawn_main" in " ".join(child.cmdline()):
                found.append(child)
        except psutil.Error:
            continue
    return found


def wait_for(condition: Callable[[], object], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)


def write_video(path: Path, count: int = 30, codec: str = "mp4v") -> Path:
    random = np.random.default_rng(2)
    picture = random.integers(0, 255, (48, 64, 3), dtype=np.uint8)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), 25, (64, 48))
    for index in range(count):
        writer.write(np.roll(picture, 2 * index, axis=1))
    writer.release()
    assert path.stat().st_size > 1000
    return path


def write_ytvis(path: Path, file_names: Any, **more: Any) -> Path:
    path.write_text(json.dumps({"videos": [{"id": 1, "file_names": file_names, **more}]}))
    return path


def cut_jpeg(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])


def cut_to_nothing(path: Path) -> None:
    path.write_bytes(b"")
