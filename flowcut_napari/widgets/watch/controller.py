"""What the Watch tab knows: the run that is watched and those beside it, as they go on; and how they are ended."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from qtpy.QtCore import QObject, Signal

from flowcut_napari.core.errors import FlowCutError
from flowcut_napari.core.run_control import kill_run, stop_run
from flowcut_napari.core.run_state import RunState
from flowcut_napari.widgets.training_desk import training_of
from flowcut_napari.widgets.watch.following import Following, Watched
from flowcut_napari.widgets.watch.standing import with_launch
from flowcut_napari.widgets.workbench import Workbench


def watch_of(bench: Workbench) -> WatchController:
    """Return the watching of a workbench, the same every time: it outlives panels."""
    found = bench.findChild(WatchController)
    return found if found is not None else WatchController(bench)


class WatchController(QObject):
    """Follows the run that is watched and those that are compared with it.

    Signals
    -------
    changed
        Something new is known of the run that is watched, or another one is.
    compared_changed
        Something new is known of those beside it.
    """

    changed = Signal()
    compared_changed = Signal()
    _arrived = Signal(object)
    _acted = Signal(str)

    def __init__(self, bench: Workbench) -> None:
        super().__init__(bench)
        self._bench = bench
        self.training = training_of(bench)
        self.watched: Watched | None = None
        self.compared: dict[Path, Watched] = {}
        self._launched_at: dict[Path, float] = {}
        self._seen = 0
        self._following = Following(self._tell)
        self._following.set_seen(False)
        self._arrived.connect(self._on_arrived)
        self._acted.connect(self._on_acted)
        self.training.run_changed.connect(self._on_run)
        self.training.compared_changed.connect(self._on_compared)
        self.training.launch_changed.connect(self._on_launch)
        bench.closing.connect(self.shutdown)
        self._follow()

    @property
    def run(self) -> Path | None:
        """The folder of the run that is watched."""
        return self.training.run

    @property
    def state(self) -> RunState:
        """How the run stands that is watched."""
        run, watched = self.run, self.watched
        if run is None:
            return RunState()
        launch, launched_at = self.training.launch_of(run), self._launched_at.get(run, 0.0)
        if watched is None:
            return with_launch(RunState(), launch, launched_at, None)
        return with_launch(watched.state, launch, launched_at, watched.view.last_time)

    def set_seen(self, is_seen: bool) -> None:
        """Count tabs that somebody looks at."""
        self._seen = max(0, self._seen + (1 if is_seen else -1))
        self._following.set_seen(self._seen > 0)

    def go_on(self) -> None:
        """Say that what is known is drawn, and more can be read."""
        self._following.go_on()

    def stop(self) -> None:
        """Ask the run to save and end after the step that it is at."""
        if (run := self.run) is not None:
            owner = self.training.owner
            self._act(partial(_end, run, owner.stop if owner is not None else None, stop_run))

    def kill(self) -> None:
        """End the run at once, with all its processes."""
        if (run := self.run) is not None:
            owner = self.training.owner
            self._act(partial(_end, run, owner.kill if owner is not None else None, kill_run))

    def resume(self) -> None:
        """Say that the run should go on."""
        if self.run is not None:
            self.training.resume_wanted.emit(self.run)

    def shutdown(self) -> None:
        """Follow nothing any more. May be called again."""
        self._following.stop()

    def _act(self, act: Callable[[], object]) -> None:
        def work() -> None:
            try:
                act()
                said = ""
            except FlowCutError as error:
                said = str(error)
            with contextlib.suppress(RuntimeError):  # the window is gone
                self._acted.emit(said)

        # A disk of another machine may keep it waiting, and so may a process that ends.
        threading.Thread(target=work, daemon=True).start()

    def _on_acted(self, said: str) -> None:
        if said:
            self._bench.remarked.emit(said)
        self._following.look_now()

    def _tell(self, news: Watched) -> None:
        with contextlib.suppress(RuntimeError):  # the window is gone
            self._arrived.emit(news)

    def _on_arrived(self, news: Watched) -> None:
        if news.run == self.run:
            self.watched = news
            self.changed.emit()
        if news.run in self.training.compared:
            self.compared[news.run] = news
            self.compared_changed.emit()

    def _on_run(self) -> None:
        self.watched = None
        self._follow()
        self.changed.emit()

    def _on_compared(self) -> None:
        self.compared = {run: known for run, known in self.compared.items() if run in self.training.compared}
        self._follow()
        self.compared_changed.emit()

    def _on_launch(self, run: Path) -> None:
        launch = self.training.launch_of(run)
        if launch is not None and launch.is_alive:
            self._launched_at[run] = time.time()
        if run == self.run:
            self._following.look_now()
            self.changed.emit()

    def _follow(self) -> None:
        runs = ([self.run] if self.run is not None else []) + list(self.training.compared)
        self._following.follow(runs)


def _end(run: Path, by_owner: Callable[[Path], bool] | None, by_others: Callable[[Path], object]) -> None:
    """End a run: by whoever started it, if that is this window."""
    if by_owner is None or not by_owner(run):
        by_others(run)
