"""A process as seen from the window: started in a session of its own, and ended with everything that it started."""

from __future__ import annotations

import atexit
import contextlib
import os
import queue
import signal
import subprocess
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO, cast

_PATIENCE_SECONDS = 2.0
_SAID_BYTES = 4000
# Until they are gone, whoever still knows of them.
_alive: set[OwnedProcess] = set()
# Of these nothing is left: by now their numbers may be those of other people's processes.
_gone: weakref.WeakSet[subprocess.Popen[bytes]] = weakref.WeakSet()


class OwnedProcess:
    """A process in a session of its own, which speaks on its standard output.

    Parameters
    ----------
    command : sequence of str
        The program and its arguments.
    read : callable
        Turns its standard output into answers, as they come.
    on_answer : callable
        Takes each answer. Called on a thread of this object.
    on_end : callable
        Called once, on that thread, with its exit code (negative: the signal that ended it) and the last lines that it
        said on standard error, when it ended by itself; not after `stop`.
    environment : mapping
        Variables besides those of this process.

    Raises
    ------
    OSError
        If it cannot be started.
    """

    def __init__(
        self,
        command: Sequence[str],
        read: Callable[[BinaryIO], Iterator[Any]],
        on_answer: Callable[[Any], None],
        on_end: Callable[[int, list[str]], None],
        environment: Mapping[str, str],
    ) -> None:
        self._read_answers, self._on_answer, self._on_end = read, on_answer, on_end
        self._stopped = threading.Event()
        self._outbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as the process
        self._process = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            # All that it starts is in its session, too, and ends with it.
            start_new_session=True,
            env={**os.environ, **environment},
        )
        self.pid = self._process.pid
        _alive.add(self)
        threading.Thread(target=reap, args=(self._process,), daemon=True).start()
        threading.Thread(target=self._read, daemon=True).start()
        threading.Thread(target=self._write, daemon=True).start()

    @property
    def is_running(self) -> bool:
        """Whether the process is there."""
        return self._process.poll() is None

    def put(self, content: bytes) -> None:
        """Write to its standard input; never waits."""
        self._outbox.put(content)

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
        stream = cast(BinaryIO, self._process.stdin)
        with contextlib.suppress(OSError, ValueError):  # it ended, or its pipe is shut; the reading thread says so
            while (content := self._outbox.get()) is not None:
                stream.write(content)
                stream.flush()

    def _read(self) -> None:
        for answer in self._read_answers(cast(BinaryIO, self._process.stdout)):
            if not self._stopped.is_set():
                self._tell(self._on_answer, answer)
        code = self._process.wait()
        self._outbox.put(None)
        end_group(self._process)
        _alive.discard(self)
        if not self._stopped.is_set():
            self._stopped.set()
            self._tell(self._on_end, code, self._last_lines())

    def _tell(self, listener: Callable[..., None], *news: Any) -> None:
        # Of a window that is being torn down, Qt's half of the listener may be gone.
        with contextlib.suppress(RuntimeError):
            listener(*news)

    def _last_lines(self) -> list[str]:
        self._log.seek(max(0, self._log.seek(0, os.SEEK_END) - _SAID_BYTES))
        return self._log.read().decode(errors="replace").strip().splitlines()


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


def reap(process: subprocess.Popen[bytes]) -> None:
    """Wait for the end of a process, and end what it started, which would go on without it and keep its pipes open."""
    process.wait()
    end_group(process)


def ask_group(process: subprocess.Popen[bytes]) -> None:
    """Ask a process that was started in a session of its own, and its whole session, to end."""
    if process in _gone:
        return
    if not hasattr(os, "killpg"):
        process.terminate()
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGTERM)


def end_group(process: subprocess.Popen[bytes]) -> None:
    """End a process and its whole session: asked first, then made to; returns when it is gone. May be called again."""
    ask_group(process)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_PATIENCE_SECONDS)
    if process not in _gone:
        kill_group(process)
    process.wait()
    _gone.add(process)


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """End a process and its whole session at once."""
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()


@atexit.register
def _end_all() -> None:
    for process in list(_alive):
        process.stop()
