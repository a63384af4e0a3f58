"""What the tabs of the Train page share: which run is watched, and which are compared with it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from qtpy.QtCore import QObject, Signal

from flowcut_napari.widgets.workbench import Workbench


def training_of(bench: Workbench) -> TrainingDesk:
    """Return the training desk of a workbench, the same every time: it outlives panels."""
    found = bench.findChild(TrainingDesk)
    return found if found is not None else TrainingDesk(bench)


@dataclass(frozen=True)
class Launch:
    """A training process that this window started.

    Attributes
    ----------
    is_alive : bool
        Whether it is there; before its first event it is still starting.
    reason : str
        Why it failed, in one line, once it has ended; empty if it did not. Events may not know, such as of a full disk.
    """

    is_alive: bool
    reason: str = ""


class RunOwner(Protocol):
    """Who started runs, and can end them also before they have said anything."""

    def stop(self, run: Path) -> bool:
        """Ask a run to save and end; False if it is not one of its own."""

    def kill(self, run: Path) -> bool:
        """End a run at once; False if it is not one of its own."""


class TrainingDesk(QObject):
    """The runs that are looked at in one viewer.

    Signals
    -------
    run_changed
        Another run is watched, or none.
    compared_changed
        Other runs are drawn beside it.
    launch_changed (Path)
        The process of a run was started here, or has ended.
    tab_wanted (str)
        A tab of the Train page should come to the front: Train, Watch, Runs, Predict or Evaluate.
    resume_wanted (Path)
        Somebody wants to go on with a run.
    """

    run_changed = Signal()
    compared_changed = Signal()
    launch_changed = Signal(object)
    tab_wanted = Signal(str)
    resume_wanted = Signal(object)

    def __init__(self, bench: Workbench) -> None:
        super().__init__(bench)
        self.run: Path | None = None
        self.compared: tuple[Path, ...] = ()
        self.owner: RunOwner | None = None
        self._launches: dict[Path, Launch] = {}

    def launch_of(self, run: Path) -> Launch | None:
        """Return what is known of the process of a run, if it is one that this window started."""
        return self._launches.get(run)

    def put_launch(self, run: Path, launch: Launch) -> None:
        """Say that a process was started for a run, or has ended."""
        self._launches[run] = launch
        self.launch_changed.emit(run)

    def watch(self, run: Path | None, *, show: bool = False) -> None:
        """Look at a run; with `show` the Watch tab comes to the front."""
        if run != self.run:
            self.run = run
            self.run_changed.emit()
        if show:
            self.tab_wanted.emit("Watch")

    def compare(self, runs: Iterable[Path]) -> None:
        """Draw the curves of these runs beside that of the one that is watched."""
        compared = tuple(runs)
        if compared != self.compared:
            self.compared = compared
            self.compared_changed.emit()
