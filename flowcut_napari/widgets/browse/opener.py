"""Opening a dataset on a thread: always an end, and a cancelled one is heard of no more."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable

from qtpy.QtCore import QObject, Signal

from flowcut_napari.core.dataset_scan import Progress
from flowcut_napari.core.dataset_view import Dataset
from flowcut_napari.core.errors import FlowCutError

# Words on how far it is, a second.
_WORDS = 10


class _Cancelled(Exception):  # nothing went wrong
    """Nobody waits for it any more."""


class DatasetOpener(QObject):
    """Opens one dataset at a time; a newer one takes the place of an older.

    Signals
    -------
    changed
        `name` or `progress` is another.
    opened (Dataset)
    failed (str)
    """

    changed = Signal()
    opened = Signal(object)
    failed = Signal(str)
    _arrived = Signal(int, object)
    _broke = Signal(int, str)
    _advanced = Signal(int, object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._generation = 0
        self.name = ""
        self.progress = Progress(0, 0.0)
        self._arrived.connect(self._on_arrived)
        self._broke.connect(self._on_broken)
        self._advanced.connect(self._on_advanced)

    def start(self, name: str, find: Callable[[Callable[[Progress], None]], Dataset]) -> None:
        """Have a dataset found by `find`, which is given what to tell its progress to."""
        self._generation += 1
        generation = self._generation
        self.name, self.progress = name, Progress(0, 0.0)
        self.changed.emit()
        told = time.monotonic()

        def tell(progress: Progress) -> None:
            nonlocal told
            if generation != self._generation:
                raise _Cancelled
            # Let the window have its turn: else it waits for this thread 5 ms each time.
            time.sleep(0)
            if time.monotonic() - told > 1 / _WORDS:
                told = time.monotonic()
                self._advanced.emit(generation, progress)

        def work() -> None:
            try:
                dataset = find(tell)
                dataset.find("x")  # what that needs is made once, and here
            except _Cancelled:
                return
            except FlowCutError as error:
                self._broke.emit(generation, str(error))
            except Exception as error:  # noqa: BLE001  # whatever it is, the window must not go on saying "opening"
                self._broke.emit(generation, f"the dataset cannot be opened ({type(error).__name__}: {error})")
            else:
                self._arrived.emit(generation, dataset)

        def until_the_end() -> None:
            with contextlib.suppress(RuntimeError):  # the window is gone
                work()

        threading.Thread(target=until_the_end, name="flowcut dataset", daemon=True).start()

    def cancel(self) -> None:
        """Wait for it no more. May be called again."""
        self._generation += 1
        if self.name:
            self.name = ""
            self.changed.emit()

    def stop(self) -> None:
        """Wait for it no more, without a word."""
        self._generation += 1
        self.name = ""

    def _on_advanced(self, generation: int, progress: Progress) -> None:
        if generation == self._generation:
            self.progress = progress
            self.changed.emit()

    def _on_arrived(self, generation: int, dataset: Dataset) -> None:
        if generation == self._generation:
            self.name = ""
            self.opened.emit(dataset)

    def _on_broken(self, generation: int, text: str) -> None:
        if generation == self._generation:
            self.name = ""
            self.failed.emit(text)
