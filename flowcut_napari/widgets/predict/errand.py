"""Work on a thread of which only the last answer counts."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QObject, Signal

from flowcut_napari.core.errors import FlowCutError


class Errand(QObject):
    """One errand at a time; a new one makes the answer of the one before worthless.

    Signals
    -------
    done (object)
        What the last errand brought.
    failed (str)
        Why it brought nothing.
    """

    done = Signal(object)
    failed = Signal(str)
    _over = Signal(int, object, str)

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._number = 0
        self.is_going_on = False
        self._over.connect(self._on_over)

    def start(self, work: Callable[[Callable[[], bool]], Any]) -> None:
        """Begin another; `work` is called on a thread, with what tells it whether it is still wanted."""
        self._number += 1
        number = self._number
        self.is_going_on = True

        def is_wanted() -> bool:
            return number == self._number

        def run() -> None:
            found, why = None, ""
            try:
                found = work(is_wanted)
            except FlowCutError as error:
                why = str(error) or "it failed"
            except MemoryError:
                why = "out of memory"
            with contextlib.suppress(RuntimeError):  # the window is gone
                self._over.emit(number, found, why)

        threading.Thread(target=run, daemon=True).start()

    def drop(self) -> None:
        """Want the answer no more."""
        self._number += 1
        self.is_going_on = False

    def _on_over(self, number: int, found: Any, why: str) -> None:
        if number != self._number:
            return
        self.is_going_on = False
        if why:
            self.failed.emit(why)
        else:
            self.done.emit(found)
