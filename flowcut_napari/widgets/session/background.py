"""Short work on a thread, whose result comes back into the window."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

from qtpy.QtCore import QObject, Signal

from flowcut_napari.core.errors import FlowCutError
from flowcut_napari.widgets.workbench import Workbench

T = TypeVar("T")


class Background(QObject):
    """Runs work for a workbench; when that is shut, results are dropped."""

    _came = Signal(object)

    def __init__(self, bench: Workbench) -> None:
        super().__init__(bench)
        self._bench = bench
        self._came.connect(self._on_came)

    def run(self, work: Callable[[], T], then: Callable[[T], None]) -> None:
        """Do something on a thread, and then something with its result in the window; an error is said there."""

        def work_on() -> None:
            try:
                result = work()
            except FlowCutError as error:
                self._send(_Remark(self._bench, str(error)))
            except Exception as error:  # noqa: BLE001  # whatever it is: somebody waits for it
                self._send(_Remark(self._bench, f"that went wrong ({type(error).__name__}: {error})"))
            else:
                self._send(lambda: then(result))

        threading.Thread(target=work_on, daemon=True).start()

    def _send(self, call: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # the window is gone
            self._came.emit(call)

    def _on_came(self, call: Callable[[], None]) -> None:
        if not self._bench.is_shut:
            call()


class _Remark:
    """Says something once."""

    def __init__(self, bench: Workbench, text: str) -> None:
        self._bench, self._text = bench, text

    def __call__(self) -> None:
        self._bench.remarked.emit(self._text)
