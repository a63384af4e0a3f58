"""Watching a real window: when a picture is on the screen, and for how long the event loop stands still."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from qtpy.QtCore import QObject, Qt, QTimer, Signal
from qtpy.QtTest import QTest
from vispy import gloo


class Watch(QObject):
    """The time of the last picture on the screen, and the longest time between two turns of the event loop."""

    beat = Signal()

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self.drawn_at = 0.0
        self.longest = 0.0
        self._last = time.perf_counter()
        canvas = viewer.window._qt_viewer.canvas
        canvas.native.frameSwapped.connect(self._on_drawn)
        # What OpenGL takes: here a processor does the work of a graphics card.
        self.drawing: list[float] = []
        self._begun = 0.0
        canvas._scene_canvas.events.draw.connect(self._on_draw_begins, position="first")
        canvas._scene_canvas.events.draw.connect(self._on_draw_ends, position="last")
        self._timer = QTimer(self)
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.setInterval(1)
        self._timer.timeout.connect(self._on_beat)
        self._timer.start()

    def _on_draw_begins(self, event: object) -> None:
        self._begun = time.perf_counter()

    def _on_draw_ends(self, event: object) -> None:
        # Commands are queued: only when all are carried out is it known what they took.
        gloo.gl.glFinish()
        self.drawing.append(time.perf_counter() - self._begun)

    def _on_drawn(self) -> None:
        self.drawn_at = time.perf_counter()

    def _on_beat(self) -> None:
        now = time.perf_counter()
        self.longest = max(self.longest, now - self._last)
        self._last = now

    def reset(self) -> None:
        self._last = time.perf_counter()
        self.longest = 0.0


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Let the window work until something is so."""
    end = time.perf_counter() + seconds
    while not condition():
        if time.perf_counter() > end:
            raise TimeoutError("the window did not get there")
        QTest.qWait(1)


def put(figures: dict[str, float], name: str, seconds: list[float]) -> None:
    milliseconds = 1e3 * np.array(seconds)
    figures[f"{name}, median"] = float(np.median(milliseconds))
    figures[f"{name}, p95"] = float(np.percentile(milliseconds, 95))


def report(figures: dict[str, float], as_json: bool) -> None:
    if as_json:
        print(json.dumps(figures, indent=1))
        return
    for name, value in figures.items():
        print(f"{name:58} {value:8.2f}" if value < 10 else f"{name:58} {value:8.0f}")
