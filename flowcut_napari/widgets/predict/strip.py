"""The IoU of all frames at a glance: a bar for each, dark where nothing can be compared; a click leads there."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QRectF, QSize, Qt, Signal
from qtpy.QtGui import QColor, QPainter, QPalette, QPen
from qtpy.QtWidgets import QSizePolicy, QToolTip, QWidget

_HEIGHT = 44
_LOW, _HIGH = QColor(224, 108, 70), QColor(86, 180, 233)


class OverlapStrip(QWidget):
    """Shows the IoU frame by frame, and which frame is looked at.

    Signals
    -------
    chosen (int)
        A frame was clicked.
    """

    chosen = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("iou_strip")
        self.setToolTip("IoU of the foreground in each frame, 0 at the bottom, 1 at the top; click to go there")
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setFixedHeight(_HEIGHT)
        self.setMouseTracking(True)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self._ious: dict[int, float] = {}
        self._length, self._frame = 1, 0

    def sizeHint(self) -> QSize:  # Qt's name
        """Return a size that fits the panel."""
        return QSize(200, _HEIGHT)

    def show_ious(self, ious: dict[int, float], length: int, frame: int) -> None:
        """Show the IoU of some of `length` frames, `frame` of which is looked at."""
        length = max(1, length)
        if (ious, length, frame) != (self._ious, self._length, self._frame):
            self._ious, self._length, self._frame = ious, length, frame
            self.update()

    def frame_at(self, x: float) -> int:
        """Return the frame at a place, pixels from the left."""
        return min(max(0, int(x * self._length / max(1, self.width()))), self._length - 1)

    def paintEvent(self, event: Any) -> None:  # Qt's name
        """Draw it."""
        painter = QPainter(self)
        ink = self.palette().color(QPalette.ColorRole.WindowText)
        faint = QColor(ink)
        faint.setAlpha(28)
        painter.fillRect(self.rect(), faint)
        line = QColor(ink)
        line.setAlpha(60)
        painter.setPen(QPen(line, 1, Qt.PenStyle.DotLine))
        painter.drawLine(0, _HEIGHT // 2, self.width(), _HEIGHT // 2)
        wide = self.width() / self._length
        gap = 1.0 if wide >= 4 else 0.0
        for frame, iou in self._worst_of_each_pixel(wide):
            height = max(1.5, iou * _HEIGHT)
            bar = QRectF(frame * wide, _HEIGHT - height, max(1.0, wide - gap), height)
            painter.fillRect(bar, _mixed(iou))
        x = (self._frame + 0.5) * wide
        painter.setPen(QPen(ink, 2))
        painter.drawLine(round(x), 0, round(x), _HEIGHT)
        painter.end()

    def _worst_of_each_pixel(self, wide: float) -> list[tuple[int, float]]:
        """Return the frames to draw; where several share a pixel, the worst of them: it is what is looked for."""
        if wide >= 1:
            return list(self._ious.items())
        worst: dict[int, tuple[int, float]] = {}
        for frame, iou in self._ious.items():
            pixel = int(frame * wide)
            if pixel not in worst or iou < worst[pixel][1]:
                worst[pixel] = frame, iou
        return list(worst.values())

    def mousePressEvent(self, event: Any) -> None:  # Qt's name
        """Go to a frame."""
        self.chosen.emit(self.frame_at(event.position().x()))

    def mouseMoveEvent(self, event: Any) -> None:  # Qt's name
        """Say what a frame has; with the button held, go there."""
        frame = self.frame_at(event.position().x())
        if event.buttons():
            self.chosen.emit(frame)
        iou = self._ious.get(frame)
        text = f"frame {frame}: " + (f"IoU {iou:.2f}" if iou is not None else "nothing to compare")
        QToolTip.showText(event.globalPosition().toPoint(), text, self)


def _mixed(share: float) -> QColor:
    share = min(max(0.0, share), 1.0)
    parts = zip(_LOW.getRgb()[:3], _HIGH.getRgb()[:3], strict=True)
    return QColor(*(round(low + share * (high - low)) for low, high in parts))
