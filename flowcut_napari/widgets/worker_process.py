"""A process that works for the window: what it answers comes as signals, and nothing of an earlier one."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from qtpy.QtCore import QObject, Signal

from flowcut_napari.live.child import Child


class WorkerProcess(QObject):
    """One process at a time, of one module of `flowcut_napari.live`.

    Signals
    -------
    answered (object)
        It said something; on the thread of the window.
    ended (str)
        It ended by itself, for this reason.
    """

    answered = Signal(object)
    ended = Signal(str)
    _arrived = Signal(int, object)
    _over = Signal(int, str)

    def __init__(self, module: str, environment: Mapping[str, str], parent: QObject) -> None:
        super().__init__(parent)
        self._module = module
        self._environment = dict(environment)
        self._child: Child | None = None
        # What an earlier process still had to say comes too late.
        self._generation = 0
        self._arrived.connect(self._on_arrived)
        self._over.connect(self._on_over)

    @property
    def is_there(self) -> bool:
        """Whether there is a process that can be asked."""
        return self._child is not None

    @property
    def pid(self) -> int | None:
        """Its number, while it runs."""
        return self._child.pid if self._child is not None and self._child.is_running else None

    def start(self) -> None:
        """Start one, if there is none."""
        if self._child is not None:
            return
        self._generation += 1
        generation = self._generation

        def tell_answer(answer: Any) -> None:
            with contextlib.suppress(RuntimeError):  # the window is gone
                self._arrived.emit(generation, answer)

        def tell_end(reason: str) -> None:
            with contextlib.suppress(RuntimeError):
                self._over.emit(generation, reason)

        self._child = Child(self._module, tell_answer, tell_end, self._environment)

    def send(self, question: Any) -> None:
        """Ask; starts a process if there is none."""
        self.start()
        assert self._child is not None  # it was just started
        self._child.send(question)

    def let_go(self) -> Child | None:
        """Listen to it no more, and return it for who ends it otherwise than `drop` does."""
        self._generation += 1
        child, self._child = self._child, None
        return child

    def drop(self) -> None:
        """End it with all that it started, without waiting; the next question starts another."""
        child = self.let_go()
        if child is not None:
            child.stop(wait=False)

    def _on_arrived(self, generation: int, answer: Any) -> None:
        if generation == self._generation:
            self.answered.emit(answer)

    def _on_over(self, generation: int, reason: str) -> None:
        if generation == self._generation:
            self._child = None
            self.ended.emit(reason)
