"""Offers to watch what earlier windows left training: they may have been closed, or ended unexpectedly."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path

from qtpy.QtCore import QObject, Signal

from flowcut_napari.core.errors import FlowCutError
from flowcut_napari.core.run_list import list_runs
from flowcut_napari.widgets.recent import Recent
from flowcut_napari.widgets.session.offers import Offer, OfferList
from flowcut_napari.widgets.training_desk import TrainingDesk


class StillGoing(QObject):
    """Looks once, on a thread, through the runs that were started last."""

    _found = Signal(object)

    def __init__(self, desk: TrainingDesk, offers: OfferList, recent: Recent) -> None:
        super().__init__(desk)
        self._desk, self._offers = desk, offers
        self._paths = tuple(recent.paths)
        self._found.connect(self._on_found)

    def look(self) -> None:
        """Look."""
        if not self._paths:
            return

        def find() -> None:
            going = [run for run in map(Path, self._paths) if _is_going(run)]
            with contextlib.suppress(RuntimeError):  # the window is gone
                self._found.emit(going)

        threading.Thread(target=find, daemon=True).start()

    def _on_found(self, runs: list[Path]) -> None:
        for run in runs:
            if self._desk.launch_of(run) is None:
                self._offer(run)

    def _offer(self, run: Path) -> None:
        def watch() -> None:
            self._offers.withdraw(offer)
            self._desk.watch(run, show=True)

        def leave() -> None:
            self._offers.withdraw(offer)

        offer = Offer(
            f"{run.name} is still being trained; an earlier window started it.",
            {"watch_run": ("Watch", watch), "forget_run": ("Not now", leave)},
        )
        self._offers.put(offer)


def _is_going(run: Path) -> bool:
    try:
        return any(found.path == run and found.state.is_at_work for found in list_runs(run))
    except (FlowCutError, OSError, ValueError):
        return False
