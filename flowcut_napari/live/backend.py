"""Commands of this package as a window runs them: by an interpreter of the user's choice, answering in JSON.

Training, prediction and evaluation need not run in the Python of the window, which may have no GPU build of PyTorch. So
nothing is shared with them but command lines, files and JSON.
"""

from __future__ import annotations

import contextlib
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

from flowcut_napari.core.errors import printable
from flowcut_napari.live.owned import OwnedProcess, describe_end

# What a command prints besides JSON is of no use to a window, however long.
_LONGEST_LINE = 16 << 20
_PACKAGES = {"flowcut_napari": "flowcut-napari", "flowcut_training": "flowcut-napari"}


def backend_command(arguments: Sequence[str], interpreter: str = "") -> list[str]:
    """Return the command that runs ``flowcut ARGUMENTS``; an empty interpreter is that of this process."""
    # -P: a file of the user's in the current folder is not taken for a module of the same name.
    return [interpreter or sys.executable, "-P", "-m", "flowcut_napari", *arguments]


@dataclass(frozen=True)
class BackendEnd:
    """How a command ended by itself.

    Attributes
    ----------
    code : int
        Its exit code; negative: the number of the signal that ended it. None if it could not be started.
    reason : str
        Why it failed, in one line; empty if it did not.
    document : dict or None
        What it printed as one JSON document, if that is what it was asked for.
    said : tuple of str
        The last lines of its standard error.
    """

    code: int | None
    reason: str
    document: dict[str, Any] | None = None
    said: tuple[str, ...] = ()


class Backend:
    """A command of this package in a session of its own.

    Parameters
    ----------
    arguments : sequence of str
        Those of ``flowcut``, such as ``["evaluate", "davis", ..., "--json"]``.
    on_event : callable or None
        Takes each line that is a JSON object, as it comes, as a dict. None: all of standard output is one document.
    on_end : callable
        Takes the `BackendEnd`, once; not after `stop`. Both are called on a thread of this object.
    interpreter : str
        A Python in which this package is installed; empty for the one of this process.
    environment : mapping
        Variables besides those of this process.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        on_event: Callable[[dict[str, Any]], None] | None,
        on_end: Callable[[BackendEnd], None],
        interpreter: str = "",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._on_event = on_event
        self._documents: list[dict[str, Any]] = []
        interpreter = interpreter or sys.executable

        def end(code: int, said: list[str]) -> None:
            document = self._documents[-1] if self._documents else None
            on_end(BackendEnd(code, explain_end(code, said, interpreter) if code else "", document, tuple(said)))

        self._process: OwnedProcess | None = None
        try:
            self._process = OwnedProcess(
                backend_command(arguments, interpreter),
                _documents if on_event is None else _lines,
                self._take,
                end,
                # Progress bars are for terminals; colours would be in the lines that are shown.
                {**(environment or {}), "NO_COLOR": "1", "PYTHONUNBUFFERED": "1"},
            )
        except (OSError, ValueError) as error:
            on_end(BackendEnd(None, cannot_start(interpreter, error)))

    @property
    def pid(self) -> int | None:
        """The number of its process, while it runs."""
        return self._process.pid if self._process is not None and self._process.is_running else None

    def stop(self, *, wait: bool = True) -> None:
        """End it with all that it started; with `wait` they are gone on return. May be called again."""
        if self._process is not None:
            self._process.stop(wait=wait)

    def _take(self, content: dict[str, Any]) -> None:
        if self._on_event is None:
            self._documents = [content]
        else:
            self._on_event(content)


def _lines(stream: BinaryIO) -> Iterator[dict[str, Any]]:
    while line := stream.readline(_LONGEST_LINE):
        with contextlib.suppress(ValueError, RecursionError):
            content = json.loads(line)
            if isinstance(content, dict):
                yield content


def _documents(stream: BinaryIO) -> Iterator[dict[str, Any]]:
    with contextlib.suppress(ValueError, RecursionError):
        content = json.loads(stream.read())
        if isinstance(content, dict):
            yield content


def cannot_start(interpreter: str, error: Exception) -> str:
    """Say in one line that an interpreter cannot be started."""
    reason = getattr(error, "strerror", None) or str(error)
    return printable(
        f"{interpreter[:200]}: cannot be started ({reason}); see Preferences > FlowCut > Python for training"
    )


def explain_end(code: int, said: Sequence[str], interpreter: str) -> str:
    """Say in one line why a command failed, and what to do if it is the interpreter.

    Examples
    --------
    >>> explain_end(2, ["note: x", "error: run: no such folder"], "python")
    'run: no such folder'
    >>> explain_end(1, ["ModuleNotFoundError: No module named 'torch'"], "/env/bin/python")
    '/env/bin/python has no torch; install it there: /env/bin/python -m pip install torch'
    """
    lines = [line.strip() for line in said if line.strip()]
    for line in reversed(lines):
        if missing := re.search(r"No module named '?([\w.]+)'?", line):
            name = missing[1].partition(".")[0]
            package = _PACKAGES.get(name, name)
            return printable(
                f"{interpreter} has no {package}; install it there: {interpreter} -m pip install {package}"
            )
        if line.startswith("error: "):
            return printable(line.removeprefix("error: "))
        if re.match(r"[Uu]nknown option:? -P\b|unknown option -P", line):
            return printable(f"{interpreter} is older than Python 3.11; choose another in Preferences > FlowCut")
    return printable(describe_end(code, list(lines)))
