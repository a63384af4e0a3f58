"""Collecting garbage while nobody waits; for a window that is our own, not for a napari that somebody else started."""

from __future__ import annotations

import gc

from qtpy.QtCore import QObject, QTimer

from flowcut_napari.widgets.workbench import Workbench

_QUIET_MILLISECONDS = 3000
# A full round in ten thousand of the middle ones, instead of in ten: the quiet moments come long before.
_SELDOM = (700, 10, 10_000)


class IdleCollector(QObject):
    """Runs Python's collector in quiet moments instead of in the middle of a move.

    It looks through all objects every so often, and those that napari brings keep it, and the window, busy for up to
    200 ms. What is there when this is made is there to stay, and is not looked at again.
    """

    def __init__(self, bench: Workbench) -> None:
        super().__init__(bench)
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_SELDOM)
        self._quiet = QTimer(self)
        self._quiet.setSingleShot(True)
        self._quiet.setInterval(_QUIET_MILLISECONDS)
        self._quiet.timeout.connect(self._collect)
        for news in (bench.answered, bench.frame_changed, bench.parameters_changed, bench.layers_changed):
            news.connect(self._on_news)

    def _on_news(self, *_: object) -> None:
        self._quiet.start()

    def _collect(self) -> None:
        gc.collect()
