"""A computing process as seen from the window: started, spoken to, and ended with everything that it started."""

from __future__ import annotations

import atexit
import contextlib
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO, cast

from flowcut_napari.live.pipe import read_records, write_record

_PATIENCE_SECONDS = 2.0
# Until they are gone, whoever still knows of them.
_alive: set[Child] = set()


class Child:
    """A process ``python -m MODULE`` in a session of its own.

    Parameters
    ----------
    module : str
        That reads questions and sends answers by `ParentPipes`.
    on_answer : callable
        Takes each answer. Called on a thread of this object.
    on_end : callable
        Called once, on that thread, with the reason when the process ended by itself; not after `stop`.
    environment : mapping, optional
        Variables besides those of this process.
    """

    def __init__(
        self,
        module: str,
        on_answer: Callable[[Any], None],
        on_end: Callable[[str], None],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._on_answer, self._on_end = on_answer, on_end
        self._stopped = threading.Event()
        self._outbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as the process
        self._process = subprocess.Popen(
            # -P: a file of the user's in the current folder is not taken for a module of the same name.
            [sys.executable, "-P", "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            # All that it starts is in its session, too, and ends with it.
            start_new_session=True,
            env={**os.environ, **(environment or {}), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )
        self.pid = self._process.pid
        _alive.add(self)
        threading.Thread(target=self._read, daemon=True).start()
        threading.Thread(target=self._write, daemon=True).start()

    def send(self, question: Any) -> None:
        """Send a question; never waits."""
        self._outbox.put(question)

    @property
    def is_running(self) -> bool:
        """Whether the process is there."""
        return self._process.poll() is None

    def stop(self, *, wait: bool = True) -> None:
        """End the process and all that it started; with `wait` they are gone on return. May be called again."""
        if not self._stopped.is_set():
            self._stopped.set()
            self._outbox.put(None)
            ask_group(self._process)
        if wait:
            end_group(self._process)
        elif self.is_running:
            # A window does not wait for it; at exit, `_end_all` does.
            threading.Thread(target=end_group, args=(self._process,), daemon=True).start()

    def _write(self) -> None:
        with contextlib.suppress(OSError):  # it ended; the reading thread says so
            while (question := self._outbox.get()) is not None:
                write_record(cast(BinaryIO, self._process.stdin), question)

    def _read(self) -> None:
        for answer in read_records(cast(BinaryIO, self._process.stdout)):
            if not self._stopped.is_set():
                self._tell(self._on_answer, answer)
        code = self._process.wait()
        self._outbox.put(None)
        # What it started would go on without it.
        end_group(self._process)
        _alive.discard(self)
        if not self._stopped.is_set():
            self._stopped.set()
            self._tell(self._on_end, self._reason(code))

    def _tell(self, listener: Callable[[Any], None], news: Any) -> None:
        # Of a window that is being torn down, Qt's half of the listener may be gone.
        with contextlib.suppress(RuntimeError):
            listener(news)

    def _reason(self, code: int) -> str:
        """Say how the process ended: `describe_end` with the last lines of what it said."""
        self._log.seek(max(0, self._log.seek(0, os.SEEK_END) - 4000))
        said = self._log.read().decode(errors="replace").strip().splitlines()
        return describe_end(code, said)


def describe_end(code: int, said: list[str]) -> str:
    """Say in one line why a process ended that should not have.

    Examples
    --------
    >>> describe_end(-9, [])
    'it was ended by SIGKILL, as a system does that runs out of memory'
    >>> describe_end(1, ["Traceback", "ValueError: no"])
    'it failed: ValueError: no'
    """
    if code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        hint = ", as a system does that runs out of memory" if name == "SIGKILL" else ""
        return f"it was ended by {name}{hint}"
    last = " / ".join(line.strip() for line in said[-1:] if line.strip())
    return f"it failed: {last}" if last else f"it ended with the exit code {code}"


def ask_group(process: subprocess.Popen[bytes]) -> None:
    """Ask a process that was started in a session of its own, and its whole session, to end."""
    if not hasattr(os, "killpg"):
        process.terminate()
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGTERM)


def end_group(process: subprocess.Popen[bytes]) -> None:
    """End a process and its whole session: asked first, then made to; returns when it is gone."""
    ask_group(process)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_PATIENCE_SECONDS)
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()


@atexit.register
def _end_all() -> None:
    for child in list(_alive):
        child.stop()
