"""A command of this package that works for the window: what it says comes as signals, and nothing of an earlier one."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

from qtpy.QtCore import QObject, Qt, Signal

from flowcut_napari.live.backend import Backend, BackendEnd
from flowcut_napari.widgets.workbench import Workbench


class BackendProcess(QObject):
    """One command at a time, run by the interpreter of the preferences.

    Whoever has one calls `drop` when the workbench closes (`Workbench.closing`).

    Signals
    -------
    said (dict)
        A JSON object that it printed; on the thread of the window.
    ended (BackendEnd)
        It ended by itself, or could not be started.
    """

    said = Signal(object)
    ended = Signal(object)
    _arrived = Signal(int, object)
    _over = Signal(int, object)

    def __init__(self, bench: Workbench, parent: QObject) -> None:
        super().__init__(parent)
        self._bench = bench
        self._backend: Backend | None = None
        # What an earlier command still had to say comes too late.
        self._generation = 0
        # Always later: what cannot be started says so at once, while it is being started.
        self._arrived.connect(self._on_arrived, Qt.ConnectionType.QueuedConnection)
        self._over.connect(self._on_over, Qt.ConnectionType.QueuedConnection)

    @property
    def is_there(self) -> bool:
        """Whether a command is at work."""
        return self._backend is not None

    @property
    def pid(self) -> int | None:
        """The number of its process, while it runs."""
        return self._backend.pid if self._backend is not None else None

    def start(self, arguments: Sequence[str], *, in_lines: bool, environment: Mapping[str, str] | None = None) -> None:
        """Start ``flowcut ARGUMENTS`` in place of what is at work; nothing is waited for.

        Parameters
        ----------
        arguments : sequence of str
        in_lines : bool
            Whether it speaks in lines, each a JSON object that is `said`; else all that it prints is one document,
            which comes with its end.
        environment : mapping, optional
            Variables besides those of this process and of the preferences.
        """
        self.drop()
        generation = self._generation

        def tell_event(event: dict[str, Any]) -> None:
            with contextlib.suppress(RuntimeError):  # the window is gone
                self._arrived.emit(generation, event)

        def tell_end(end: BackendEnd) -> None:
            with contextlib.suppress(RuntimeError):
                self._over.emit(generation, end)

        preferences = self._bench.preferences_now()
        self._backend = Backend(
            arguments,
            tell_event if in_lines else None,
            tell_end,
            preferences.interpreter,
            {**preferences.environment(), **(environment or {})},
        )

    def drop(self) -> None:
        """End it with all that it started, without waiting."""
        self._generation += 1
        backend, self._backend = self._backend, None
        if backend is not None:
            backend.stop(wait=False)

    def _on_arrived(self, generation: int, event: dict[str, Any]) -> None:
        if generation == self._generation:
            self.said.emit(event)

    def _on_over(self, generation: int, end: BackendEnd) -> None:
        if generation == self._generation:
            self._backend = None
            self.ended.emit(end)
