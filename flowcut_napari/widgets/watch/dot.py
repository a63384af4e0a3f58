"""A dot in the colour of a state."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QRectF, QSize, Qt
from qtpy.QtGui import QColor, QPainter
from qtpy.QtWidgets import QSizePolicy, QWidget

from flowcut_napari.core.run_state import State
from flowcut_napari.widgets.watch.standing import COLOURS

_SIZE, _LEFT = 10, 6


class StateDot(QWidget):
    """Stands before the word that says the same."""

    def __init__(self) -> None:
        super().__init__()
        self._colour = QColor(*COLOURS["unknown"])
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Preferred)

    def show_state(self, state: State) -> None:
        """Take the colour of a state."""
        self._colour = QColor(*COLOURS[state])
        self.update()

    def sizeHint(self) -> QSize:  # Qt's name
        """Return the size of the dot, moved to where texts begin."""
        return QSize(_SIZE + _LEFT, _SIZE)

    def paintEvent(self, event: Any) -> None:  # Qt's name
        """Draw it."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(self._colour)
        painter.drawEllipse(QRectF(_LEFT, (self.height() - _SIZE) / 2, _SIZE, _SIZE))
