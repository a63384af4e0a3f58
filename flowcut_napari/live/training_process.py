"""A training run as the window that starts it sees it: in a session of its own, and perhaps longer there than that.

Its events go to ``events.jsonl`` and its standard error to ``log.txt`` of the run, so that it needs nobody who listens.
What its events cannot say any more (it was killed, the disk is full, there is no PyTorch) is said by `TrainingEnd`, and
written down for others if that is possible.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import psutil

from flowcut_napari.core.errors import OutputError, printable
from flowcut_napari.core.run_control import KILLED, kill_tree, note_end
from flowcut_napari.core.run_events import LOG
from flowcut_napari.live.backend import backend_command, cannot_start, explain_end
from flowcut_napari.live.owned import describe_end, end_group, kill_group, reap

_LONGEST_LINE, _SAID_BYTES = 1 << 20, 16_000


@dataclass(frozen=True)
class TrainingCommand:
    """How a run is started.

    Attributes
    ----------
    run : Path
        Its folder.
    arguments : tuple of str
        Those of ``flowcut``, from ``train`` on.
    processes : int
        More than one are started by torchrun.
    gpus : tuple of int
        Those that torchrun's processes may see; empty for all.
    """

    run: Path
    arguments: tuple[str, ...]
    processes: int = 1
    gpus: tuple[int, ...] = ()

    def words(self, interpreter: str = "") -> list[str]:
        """Return program and arguments; an empty interpreter is that of this process."""
        if self.processes == 1:
            return backend_command(self.arguments, interpreter)
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(self.processes)]
        return [interpreter or sys.executable, "-P", *launcher, "-m", "flowcut_napari", *self.arguments]

    @property
    def environment(self) -> dict[str, str]:
        """The variables that it is started with."""
        if not self.gpus:
            return {}
        # They are numbered among those that are visible here, which need not be the first of the machine.
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        names = list(map(str, range(max(self.gpus) + 1))) if visible is None else visible.split(",")
        return {"CUDA_VISIBLE_DEVICES": ",".join(names[number].strip() for number in self.gpus if number < len(names))}

    def text(self) -> str:
        """Return the same as a line for a shell, with the names of commands as people type them."""
        words = ["flowcut", *self.arguments]
        if self.processes > 1:
            words = ["torchrun", "--standalone", "--nproc-per-node", str(self.processes), "-m", "flowcut_napari"]
            words += self.arguments
        return " ".join([*(f"{name}={value}" for name, value in self.environment.items()), shlex.join(words)])


@dataclass(frozen=True)
class TrainingEnd:
    """How a training process ended; `reason` says in one line why it failed, and is empty if it did not."""

    code: int | None
    reason: str


class TrainingProcess:
    """A run that this program started.

    Parameters
    ----------
    command : TrainingCommand
    on_end : callable
        Takes the `TrainingEnd`, once, on a thread of this object; not after `leave`.
    interpreter : str
        A Python in which this package is installed; empty for the one of this process.
    environment : mapping
        Variables besides those of this process.

    Raises
    ------
    OutputError
        If the run's folder cannot be made, or its log not be written.
    """

    def __init__(
        self,
        command: TrainingCommand,
        on_end: Callable[[TrainingEnd], None],
        interpreter: str = "",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.command = command
        self._interpreter = interpreter or sys.executable
        self._on_end = on_end
        self._was_left = threading.Event()
        self._was_killed = False
        self._error = ""
        self._process: subprocess.Popen[bytes] | None = None
        self.started_at = time.time()
        log = command.run / LOG
        try:
            command.run.mkdir(parents=True, exist_ok=True)
            with log.open("ab") as stream:
                self._log_start = stream.tell()
                try:
                    self._process = subprocess.Popen(
                        command.words(interpreter),
                        stdin=subprocess.DEVNULL,
                        stdout=subprocess.PIPE,
                        stderr=stream,
                        # Whoever closes the window may want it to go on.
                        start_new_session=True,
                        env={
                            **os.environ,
                            **(environment or {}),
                            **command.environment,
                            # Of torchrun's processes too: a file of the user's is not taken for a module.
                            "PYTHONSAFEPATH": "1",
                            "NO_COLOR": "1",
                        },
                    )
                except (OSError, ValueError) as error:
                    self._problem = cannot_start(self._interpreter, error)
        except OSError as error:
            raise OutputError(f"{log}: cannot be written ({error.strerror or error}); choose another folder") from None
        threading.Thread(target=self._wait, daemon=True).start()

    @property
    def is_alive(self) -> bool:
        """Whether it is there."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        """The number of its process, which leads a session; None if it could not be started."""
        return None if self._process is None else self._process.pid

    def kill(self) -> None:
        """End it at once with all that it started; `on_end` says so."""
        if self._process is None or not self.is_alive:
            return
        self._was_killed = True
        # torchrun gives each of its processes a session of its own.
        with contextlib.suppress(psutil.Error):
            kill_tree(psutil.Process(self._process.pid))
        kill_group(self._process)

    def leave(self) -> None:
        """Let it go on, whatever becomes of this program; its end is not told any more."""
        self._was_left.set()

    def _wait(self) -> None:
        process = self._process
        if process is None:
            self._tell(TrainingEnd(None, self._problem))
            return
        threading.Thread(target=reap, args=(process,), daemon=True).start()
        # It would stand still if nobody took what it says; and a full disk is told here alone.
        for line in _lines(cast(BinaryIO, process.stdout)):
            if b'"error"' in line:
                self._error = _reason_of(line) or self._error
        code = process.wait()
        end_group(process)
        if self._was_left.is_set():
            return
        reason = self._reason(code) if code else ""
        if reason:
            note_end(self.command.run, reason, since=self.started_at)
        self._tell(TrainingEnd(code, reason))

    def _tell(self, end: TrainingEnd) -> None:
        with contextlib.suppress(RuntimeError):  # the window is gone
            self._on_end(end)

    def _reason(self, code: int) -> str:
        if self._was_killed:
            return KILLED
        said = self._said()
        if code < 0:
            return describe_end(code, said)
        # torchrun tells the signal of a process of its own among many lines, and ends with 1.
        if self.command.processes > 1 and not self._error:
            for line in reversed(said):
                if found := re.search(r"exitcode\s*:\s*-(\d+)", line):
                    return f"a process of it failed: {describe_end(-int(found[1]), [])}"
        return self._error or explain_end(code, said, self._interpreter)

    def _said(self) -> list[str]:
        """Return the last lines that this very process wrote to the log."""
        try:
            with (self.command.run / LOG).open("rb") as stream:
                size = stream.seek(0, os.SEEK_END)
                stream.seek(max(self._log_start, size - _SAID_BYTES))
                return stream.read(_SAID_BYTES).decode(errors="replace").splitlines()
        except OSError:
            return []


def _lines(stream: BinaryIO) -> Iterator[bytes]:
    while line := stream.readline(_LONGEST_LINE):
        yield line


def _reason_of(line: bytes) -> str:
    with contextlib.suppress(ValueError, RecursionError):
        content = json.loads(line)
        if isinstance(content, dict) and content.get("event") == "error" and isinstance(content.get("reason"), str):
            return printable(content["reason"])[:1000]
    return ""
