"""Fetching weights from the window: ``flowcut weights fetch`` in a process that can be cancelled."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence

from qtpy.QtCore import QObject, Signal

from flowcut_napari.live.owned import end_group


class Fetcher(QObject):
    """Fetches weights one after the other.

    Signals
    -------
    changed
        It began, ended or failed; `problem` says why in one line.
    fetched
        All are there.
    """

    changed = Signal()
    fetched = Signal()
    _ended = Signal(object, int, str)

    def __init__(self, environment: Mapping[str, str], parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._environment = dict(environment)
        self._process: subprocess.Popen[bytes] | None = None
        self.name = ""
        self.problem = ""
        self._ended.connect(self._on_ended)

    @property
    def is_fetching(self) -> bool:
        """Whether it is at work."""
        return self._process is not None

    def fetch(self, names: Sequence[str]) -> None:
        """Begin."""
        if self._process is not None:
            return
        self.name, self.problem = " and ".join(names), ""
        process = self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "flowcut_napari", "weights", "fetch", *names, "--json"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
            env={**os.environ, **self._environment},
        )

        def wait() -> None:
            _, said = process.communicate()
            lines = [line for line in said.decode(errors="replace").splitlines() if line.startswith("error: ")]
            with contextlib.suppress(RuntimeError):  # the window is gone
                self._ended.emit(process, process.returncode, lines[-1].removeprefix("error: ") if lines else "")

        threading.Thread(target=wait, daemon=True).start()
        self.changed.emit()

    def cancel(self) -> None:
        """End it; may be called again."""
        process, self._process = self._process, None
        if process is not None:
            threading.Thread(target=end_group, args=(process,), daemon=True).start()
            self.changed.emit()

    def _on_ended(self, process: object, code: int, problem: str) -> None:
        if process is not self._process:
            return
        self._process = None
        self.problem = problem or (f"fetching ended with the exit code {code}" if code else "")
        self.changed.emit()
        if code == 0:
            self.fetched.emit()
