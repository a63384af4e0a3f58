"""Reading pictures on a thread, in the size in which they are shown: those in sight first, and none twice."""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from qtpy.QtCore import QObject, Signal
from qtpy.QtGui import QImage

from flowcut_napari.core.errors import FlowCutError, InputError
from flowcut_napari.core.images import picture_header, read_rgb
from flowcut_napari.widgets.endings import Quietly

_MOST_KEPT = 200
# Of a picture, in pixels: the engine draws some hundred thousand.
_LARGEST = 40_000_000
# A picture of one row and a million columns is none that could be shown.
_WIDEST = 16_000


class Thumbnails(QObject):
    """Pictures by their file, at most so many pixels high.

    Signals
    -------
    arrived
        One that was asked for is at hand, or cannot be.
    """

    arrived = Signal()
    _read = Signal(int, object, object)

    def __init__(self, height: int, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._kept: OrderedDict[Path, QImage | str] = OrderedDict()
        self._reader = _Reader(height, self._read.emit)
        self._read.connect(self._on_read)
        # Not a method of this object: it is gone by then.
        self.destroyed.connect(Quietly(self._reader.stop))

    def ask(self, paths: Sequence[Path]) -> dict[Path, QImage | str | None]:
        """Return those at hand (a text says why one cannot be read) and have the others read, in their order."""
        found = {path: self._kept.get(path) for path in paths}
        for path in found:
            if path in self._kept:
                self._kept.move_to_end(path)
        # What is out of sight again need not be read.
        self._reader.want([path for path, picture in found.items() if picture is None])
        return found

    def peek(self, path: Path) -> QImage | str | None:
        """Return one that is at hand."""
        return self._kept.get(path)

    def forget(self) -> None:
        """Read all anew: the files may be others."""
        self._reader.forget()
        self._kept.clear()

    def _on_read(self, generation: int, path: Path, picture: QImage | str) -> None:
        if generation != self._reader.generation:
            return
        self._kept[path] = picture
        while len(self._kept) > _MOST_KEPT:
            self._kept.popitem(last=False)
        self.arrived.emit()


class _Reader:
    """The thread behind `Thumbnails`; what it reads it gives to `on_read`, with the generation of the request."""

    def __init__(self, height: int, on_read: Callable[[int, Path, QImage | str], None]) -> None:
        self._height, self._on_read = height, on_read
        self._turn = threading.Condition()
        self._wanted: list[Path] = []
        self._at: Path | None = None
        self._is_over = False
        self._thread: threading.Thread | None = None
        self.generation = 0

    def want(self, paths: list[Path]) -> None:
        """Read these, in place of what is not begun."""
        with self._turn:
            self._wanted = [path for path in paths if path != self._at]
            if self._wanted and self._thread is None and not self._is_over:
                self._thread = threading.Thread(target=self._work, name="flowcut previews", daemon=True)
                self._thread.start()
            self._turn.notify()

    def forget(self) -> None:
        """Take no account of what is being read now."""
        with self._turn:
            self.generation += 1
            self._wanted, self._at = [], None

    def stop(self) -> None:
        """End the thread."""
        with self._turn:
            self._is_over = True
            self._wanted = []
            self._turn.notify()

    def _work(self) -> None:
        while True:
            with self._turn:
                self._at = None
                while not self._wanted and not self._is_over:
                    self._turn.wait()
                if self._is_over:
                    return
                path = self._at = self._wanted.pop(0)
                generation = self.generation
            picture = read_picture(path, self._height)
            with contextlib.suppress(RuntimeError):  # the window is gone
                self._on_read(generation, path, picture)


def read_picture(path: Path, height: int) -> QImage | str:
    """Return a picture at most so many pixels high, or why it cannot be read, in one line."""
    try:
        rows, columns = picture_header(path)[0]
        if rows * columns > _LARGEST or columns > _WIDEST:
            raise InputError(f"{path}: is {columns} x {rows} pixels large, too large to be shown")
        pixels = read_rgb(path)
    except FlowCutError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001  # whatever it is, the next picture must be read
        return f"{path}: cannot be read ({type(error).__name__}: {error})"
    rows, columns = pixels.shape[:2]
    if rows > height:
        size = max(1, round(columns * height / rows)), height
        pixels = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0))
    pixels = np.ascontiguousarray(pixels)
    rows, columns = pixels.shape[:2]
    # A copy: the array may go.
    return QImage(pixels.data, columns, rows, 3 * columns, QImage.Format.Format_RGB888).copy()
