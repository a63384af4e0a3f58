"""The training processes of one window: started, asked to stop, killed, or left to themselves."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

from qtpy.QtCore import QObject, Qt, Signal

from flowcut_napari.core.errors import FlowCutError
from flowcut_napari.core.files import write_atomically
from flowcut_napari.core.run_events import STOP
from flowcut_napari.live.training_process import TrainingCommand, TrainingEnd, TrainingProcess
from flowcut_napari.widgets.training_desk import Launch, TrainingDesk
from flowcut_napari.widgets.workbench import Workbench

# A window that goes without a question waits so long for runs to save; then they are ended.
_PATIENCE_SECONDS = 5.0


class Launcher(QObject):
    """Starts runs and knows which of them are there.

    Signals
    -------
    changed
        A run was started, or ended.
    """

    changed = Signal()
    _ended = Signal(object, object)

    def __init__(self, desk: TrainingDesk, bench: Workbench, parent: QObject) -> None:
        super().__init__(parent)
        self._desk, self._bench = desk, bench
        self._processes: dict[Path, TrainingProcess] = {}
        desk.owner = self
        self._ended.connect(self._on_ended, Qt.ConnectionType.QueuedConnection)

    @property
    def at_work(self) -> tuple[Path, ...]:
        """The runs of this window that are not over."""
        # Asked from threads, too.
        return tuple(run for run, process in list(self._processes.items()) if process.is_alive)

    def pid_of(self, run: Path) -> int | None:
        """Return the number of the process of a run of this window, while it is there."""
        process = self._processes.get(run)
        return process.pid if process is not None and process.is_alive else None

    def start(self, command: TrainingCommand) -> None:
        """Start a run.

        Raises
        ------
        FlowCutError
            If it is at work, or its folder cannot be used.
        """
        run = command.run
        if run in self.at_work:
            raise FlowCutError(f"{run}: is being trained already; choose another folder")

        def tell(end: TrainingEnd) -> None:
            with contextlib.suppress(RuntimeError):  # the window is gone
                self._ended.emit(run, end)

        preferences = self._bench.preferences_now()
        self._processes[run] = TrainingProcess(command, tell, preferences.interpreter, preferences.environment())
        self._desk.put_launch(run, Launch(True))
        self.changed.emit()

    def stop(self, run: Path) -> bool:
        """Ask a run of this window to save and end after the step that it is at, also while it is starting.

        Returns
        -------
        bool
            Whether it is one of this window, and at work.

        Raises
        ------
        OutputError
            If it cannot be asked.
        """
        if run not in self.at_work:
            return False
        write_atomically(run / STOP, "")
        return True

    def kill(self, run: Path) -> bool:
        """End a run of this window at once, with all of its processes; return as `stop`."""
        if run not in self.at_work:
            return False
        self._processes[run].kill()
        return True

    def leave(self) -> None:
        """Let all runs go on without this window."""
        for process in self._processes.values():
            process.leave()
        self._processes.clear()

    def shutdown(self) -> None:
        """End all runs: asked first, so that they save, then made to. May be called again."""
        alive = [process for process in self._processes.values() if process.is_alive]
        for process in alive:
            with contextlib.suppress(FlowCutError):  # then it is only made to
                self.stop(process.command.run)
        end = time.monotonic() + _PATIENCE_SECONDS
        while any(process.is_alive for process in alive) and time.monotonic() < end:
            time.sleep(0.05)
        for process in alive:
            process.kill()
        self._processes.clear()

    def _on_ended(self, run: Path, end: TrainingEnd) -> None:
        # Another may have been started there meanwhile.
        process = self._processes.get(run)
        if process is not None and not process.is_alive:
            del self._processes[run]
            self._desk.put_launch(run, Launch(False, end.reason))
            self.changed.emit()
