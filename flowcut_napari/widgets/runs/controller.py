"""What the Runs tab knows: all runs of a folder, looked at again and again while somebody looks."""

from __future__ import annotations

import contextlib
import threading
import time
from pathlib import Path

from qtpy.QtCore import QObject, QTimer, Signal

from flowcut_napari.core.errors import FlowCutError
from flowcut_napari.core.run_list import RunList, RunSummary
from flowcut_napari.widgets.training_desk import training_of
from flowcut_napari.widgets.workbench import Workbench

_AGAIN_MILLISECONDS = 3000
# After each piece the window has its turn.
_BREATH = 0.001


class _Cancelled(Exception):  # nothing went wrong
    """Nobody waits for it any more."""


def runs_of(bench: Workbench) -> RunsController:
    """Return the runs of a workbench, the same every time: it outlives panels."""
    found = bench.findChild(RunsController)
    return found if found is not None else RunsController(bench)


class RunsController(QObject):
    """Lists the runs of a folder on a thread.

    Signals
    -------
    changed
        `runs`, `problem` or `is_looking` are others.
    folder_changed
        Another folder is looked through.
    """

    changed = Signal()
    folder_changed = Signal()
    _arrived = Signal(int, object, str)

    def __init__(self, bench: Workbench) -> None:
        super().__init__(bench)
        self.training = training_of(bench)
        self.folder: Path | None = None
        self.runs: tuple[RunSummary, ...] = ()
        self.problem = ""
        # Whether the first look through this folder goes on.
        self.is_looking = False
        self._list = RunList()
        self._generation = 0
        self._is_busy = False
        self._seen = 0
        self._arrived.connect(self._on_arrived)
        self._timer = QTimer(self)
        self._timer.setInterval(_AGAIN_MILLISECONDS)
        self._timer.timeout.connect(self.look)
        self.training.run_changed.connect(self._on_run)
        self.training.launch_changed.connect(self._on_launch)
        bench.closing.connect(self.shutdown)
        self._on_run()

    def set_folder(self, folder: Path) -> None:
        """Look through another folder."""
        if folder == self.folder:
            self.look()
            return
        self.folder = folder
        self._generation += 1
        generation = self._generation

        def rest() -> None:
            if generation != self._generation:
                raise _Cancelled
            time.sleep(_BREATH)

        self._list = RunList(rest)
        self._is_busy = False
        self.runs, self.problem, self.is_looking = (), "", True
        self.folder_changed.emit()
        self.changed.emit()
        self.look()

    def set_seen(self, is_seen: bool) -> None:
        """Count tabs that somebody looks at; without any, nothing is looked at again."""
        self._seen = max(0, self._seen + (1 if is_seen else -1))
        if self._seen:
            self._timer.start()
            self.look()
        else:
            self._timer.stop()

    def look(self) -> None:
        """Look through the folder once more, unless that goes on."""
        folder, listed, generation = self.folder, self._list, self._generation
        if folder is None or self._is_busy:
            return
        self._is_busy = True

        def work() -> None:
            try:
                found: tuple[tuple[RunSummary, ...], str] = (listed.scan(folder), "")
            except _Cancelled:
                return
            except FlowCutError as error:
                found = ((), str(error))
            except Exception as error:  # noqa: BLE001  # whatever it is, the tab must not go on saying "looking"
                found = ((), f"{folder}: cannot be looked through ({type(error).__name__}: {error})")
            with contextlib.suppress(RuntimeError):  # the window is gone
                self._arrived.emit(generation, *found)

        threading.Thread(target=work, name="flowcut run list", daemon=True).start()

    def shutdown(self) -> None:
        """Look no more. May be called again."""
        self._timer.stop()
        self._generation += 1

    def _on_arrived(self, generation: int, runs: tuple[RunSummary, ...], problem: str) -> None:
        if generation != self._generation:
            return
        self._is_busy = False
        is_same = (runs, problem, False) == (self.runs, self.problem, self.is_looking)
        self.runs, self.problem, self.is_looking = runs, problem, False
        if not is_same:
            self.changed.emit()

    def _on_run(self) -> None:
        # Where one run is, others are.
        if self.folder is None and self.training.run is not None:
            self.set_folder(self.training.run.parent)

    def _on_launch(self, run: Path) -> None:
        if self._seen:
            self.look()
