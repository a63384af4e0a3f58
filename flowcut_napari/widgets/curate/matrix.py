"""The IoU of every mask of a frame with every mask of its partner, as a table in colours that can be clicked."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QPoint, QRect, QSize, Qt, Signal
from qtpy.QtGui import QColor, QPainter, QPalette, QPen
from qtpy.QtWidgets import QSizePolicy, QToolTip, QWidget

from flowcut_napari.core.decisions import Key
from flowcut_napari.core.preview import COLOURS
from flowcut_napari.widgets.curate.desk import CurationDesk

_HEAD = 26
_CELL_HEIGHT = 26
_CELL_WIDTH = 46
_MOST_ROWS = 8


class IouMatrix(QWidget):
    """The matrix of the pair that is looked at: rows are masks of the frame, columns those of its partner.

    Signals
    -------
    chosen (object, object)
        A cell was clicked: the masks of its row and its column.
    """

    chosen = Signal(object, object)

    def __init__(self, desk: CurationDesk, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("iou matrix")
        self.setAccessibleName("IoU of the masks of both frames")
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMouseTracking(True)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._desk = desk
        self.cursor_cell = (0, 0)
        desk.pair_changed.connect(self.refresh)
        desk.selection_changed.connect(self.update)

    @property
    def rows(self) -> list[Key]:
        """The masks of the frame."""
        return self._desk.view.instances(self._desk.frame)

    @property
    def columns(self) -> list[Key]:
        """The masks of its partner."""
        partner = self._desk.view.partner(self._desk.frame)
        return self._desk.view.instances(partner) if partner is not None else []

    def iou(self, row: int, column: int) -> float:
        """Return the IoU of a cell."""
        pair, review = self._desk.pair, self._desk.review
        assert pair is not None and review is not None  # there are cells only then
        return float(review.matches(pair).iou[row, column])

    def refresh(self) -> None:
        """Show the pair that is looked at."""
        self.cursor_cell = (0, 0)
        self.updateGeometry()
        self.update()

    def sizeHint(self) -> QSize:  # Qt's name
        """Return the room that the rows need."""
        return QSize(200, _HEAD + _CELL_HEIGHT * min(_MOST_ROWS, max(1, len(self.rows))) + 2)

    def minimumSizeHint(self) -> QSize:  # Qt's name
        """Return the same."""
        return self.sizeHint()

    def cell(self, row: int, column: int) -> QRect:
        """Return where a cell lies."""
        height, width = self._cell_size()
        return QRect(_HEAD + column * width, _HEAD + row * height, width - 2, height - 2)

    def _cell_size(self) -> tuple[int, int]:
        rows, columns = max(1, len(self.rows)), max(1, len(self.columns))
        return (self.height() - _HEAD) // rows, min(2 * _CELL_WIDTH, (self.width() - _HEAD) // columns)

    def cell_at(self, point: QPoint) -> tuple[int, int] | None:
        """Return the row and column at a point."""
        for row in range(len(self.rows)):
            for column in range(len(self.columns)):
                if self.cell(row, column).contains(point):
                    return row, column
        return None

    def mousePressEvent(self, event: Any) -> None:  # Qt's name
        """Choose the masks of a cell."""
        cell = self.cell_at(event.pos())
        if cell is not None:
            self._choose(*cell)

    def mouseMoveEvent(self, event: Any) -> None:  # Qt's name
        """Say what a cell is."""
        cell = self.cell_at(event.pos())
        if cell is None:
            QToolTip.hideText()
            return
        names = [self._desk.identity(key) for key in (self.rows[cell[0]], self.columns[cell[1]])]
        frames = self._desk.pair.frames if self._desk.pair else (0, 0)
        text = f"object {names[0]} of frame {frames[0]} and {names[1]} of frame {frames[1]}: IoU {self.iou(*cell):.3f}"
        QToolTip.showText(event.globalPosition().toPoint(), text, self)

    def keyPressEvent(self, event: Any) -> None:  # Qt's name
        """Move through the cells by arrows; Enter or Space chooses."""
        steps = {
            Qt.Key.Key_Left: (0, -1),
            Qt.Key.Key_Right: (0, 1),
            Qt.Key.Key_Up: (-1, 0),
            Qt.Key.Key_Down: (1, 0),
        }
        if not self.rows or not self.columns:
            super().keyPressEvent(event)
        elif event.key() in steps:
            down, right = steps[event.key()]
            row, column = self.cursor_cell
            self.cursor_cell = ((row + down) % len(self.rows), (column + right) % len(self.columns))
            self.update()
        elif event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Space):
            self._choose(*self.cursor_cell)
        else:
            super().keyPressEvent(event)

    def _choose(self, row: int, column: int) -> None:
        self.cursor_cell = row, column
        self.chosen.emit(self.rows[row], self.columns[column])

    def paintEvent(self, event: Any) -> None:  # Qt's name
        """Draw heads and cells in the colours of the theme."""
        painter = QPainter(self)
        palette = self.palette()
        ink = palette.color(QPalette.ColorRole.WindowText)
        pair, rows, columns = self._desk.pair, self.rows, self.columns
        if pair is None or not rows or not columns:
            painter.setPen(ink)
            painter.drawText(self.rect(), Qt.AlignmentFlag.AlignCenter, self._nothing())
            return
        for place, key in enumerate(rows):
            self._draw_head(painter, QRect(0, self.cell(place, 0).y(), _HEAD - 2, self.cell(place, 0).height()), key)
        for place, key in enumerate(columns):
            self._draw_head(painter, QRect(self.cell(0, place).x(), 0, self.cell(0, place).width(), _HEAD - 2), key)
        matched = {track.instances for track in pair.outcome.tracks}
        base, top = palette.color(QPalette.ColorRole.Base), QColor(0, 122, 204)
        for row, first in enumerate(rows):
            for column, second in enumerate(columns):
                iou, place = self.iou(row, column), self.cell(row, column)
                colour = _mixed(base, top, iou)
                painter.fillRect(place, colour)
                painter.setPen(QColor("white") if colour.lightness() < 140 else QColor("black"))
                painter.drawText(place, Qt.AlignmentFlag.AlignCenter, f"{iou:.2f}"[iou < 0.995 :])
                if (first[1], second[1]) in matched:
                    painter.setPen(QPen(ink, 2))
                    painter.drawRect(place.adjusted(1, 1, -1, -1))
                if self._desk.selection == (first, second):
                    painter.setPen(QPen(QColor(255, 190, 0), 3))
                    painter.drawRect(place.adjusted(1, 1, -1, -1))
        if self.hasFocus():
            painter.setPen(QPen(ink, 1, Qt.PenStyle.DotLine))
            painter.drawRect(self.cell(*self.cursor_cell).adjusted(4, 4, -4, -4))

    def _draw_head(self, painter: QPainter, place: QRect, key: Key) -> None:
        identity = self._desk.identity(key) or 0
        colour = QColor(*COLOURS[(identity - 1) % len(COLOURS)])
        painter.fillRect(place, colour)
        painter.setPen(QColor("black"))
        font = painter.font()
        font.setBold(key in self._desk.selection)
        painter.setFont(font)
        painter.drawText(place, Qt.AlignmentFlag.AlignCenter, str(identity))
        font.setBold(False)
        painter.setFont(font)

    def _nothing(self) -> str:
        if self._desk.document is None:
            return "no masks yet"
        if self._desk.pair is None:
            return "this frame has no partner at this gap"
        return "one of both frames has no mask"


def _mixed(base: QColor, top: QColor, share: float) -> QColor:
    parts = zip(base.getRgb()[:3], top.getRgb()[:3], strict=True)
    return QColor(*(round(a + share * (b - a)) for a, b in parts))
