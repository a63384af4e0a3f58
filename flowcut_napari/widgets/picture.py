"""A small picture in a tab, and how wide such pictures are side by side."""

from __future__ import annotations

from typing import Any

import numpy as np
from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtGui import QImage, QPixmap
from qtpy.QtWidgets import QLabel, QScrollArea, QStyle, QWidget

GAP = 4
_MARGIN = 8
_SMALLEST = 90


class Picture(QLabel):
    """A small picture that can be clicked, or empty with a word in it."""

    clicked = Signal()

    def __init__(self, name: str, tip: str) -> None:
        super().__init__()
        self.setObjectName(name)
        self.setAccessibleName(name)
        self.setToolTip(tip)
        self.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.setStyleSheet("QLabel { background: rgba(128, 128, 128, 30); }")
        self.setCursor(Qt.CursorShape.PointingHandCursor)

    def show_array(self, picture: np.ndarray | None, size: QSize, word: str = "") -> None:
        """Show (h, w, 3) uint8, or a word where there is none."""
        self.setFixedSize(size)
        if picture is None:
            self.clear()  # an empty text would leave the old picture
            self.setText(word)
            return
        picture = np.ascontiguousarray(picture)
        height, width = picture.shape[:2]
        image = QImage(picture.data, width, height, 3 * width, QImage.Format.Format_RGB888)
        self.setPixmap(QPixmap.fromImage(image))  # a copy; the array may go

    def mousePressEvent(self, event: Any) -> None:  # Qt's name
        """Tell that it was clicked."""
        self.clicked.emit()


def width_of_columns(tab: QWidget, columns: int) -> int:
    """Return how wide pictures in so many columns of a tab are, a scroll bar counted that may come."""
    if not tab.isVisible():  # its width says nothing yet, and would make the panel as wide
        return _SMALLEST
    area = tab.parentWidget().parentWidget() if tab.parentWidget() else None
    if isinstance(area, QScrollArea):
        room = area.width() - area.style().pixelMetric(QStyle.PixelMetric.PM_ScrollBarExtent) - 4
    else:
        room = tab.width()
    return max(_SMALLEST, (room - 2 * _MARGIN - (columns - 1) * GAP) // columns)
