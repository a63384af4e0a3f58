"""The map of a sweep: a cell for each setting, in colours that can be clicked."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QPoint, QRect, QSize, Qt, Signal
from qtpy.QtGui import QBrush, QColor, QPainter, QPalette, QPen
from qtpy.QtWidgets import QSizePolicy, QToolTip, QWidget

from flowcut_napari.core.grid import Axis, Setting, short
from flowcut_napari.core.heat_map import colour_of, ink_on
from flowcut_napari.widgets.curate.shortcuts import takes_arrows
from flowcut_napari.widgets.sweep.controller import SweepController
from flowcut_napari.widgets.sweep.settings import TITLES

_HEAD, _FOOT, _CELL_HEIGHT, _WIDEST = 46, 38, 34, 90
# Cells narrower than this have no numbers, pixels.
_LEAST_TEXT = 34
_STEPS = {
    Qt.Key.Key_Left: (0, -1),
    Qt.Key.Key_Right: (0, 1),
    Qt.Key.Key_Up: (-1, 0),
    Qt.Key.Key_Down: (1, 0),
}


class HeatMap(QWidget):
    """The cells of the last sweep; a thick frame is where the sliders are, a star the highest value.

    Signals
    -------
    chosen (object)
        A cell was clicked: its setting.
    """

    chosen = Signal(object)

    def __init__(self, controller: SweepController, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("heat map")
        self.setAccessibleName("Measure of every setting")
        self.setToolTip("Click a cell to set the sliders to it; its masks are shown at once")
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMouseTracking(True)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._controller = controller
        self.cursor_cell = (0, 0)
        controller.cells_changed.connect(self.refresh)

    def refresh(self) -> None:
        """Show what is known now."""
        rows, columns = self._shape()
        self.cursor_cell = min(self.cursor_cell[0], max(0, rows - 1)), min(self.cursor_cell[1], max(0, columns - 1))
        self.updateGeometry()
        self.update()

    def sizeHint(self) -> QSize:  # Qt's name
        """Return the room that the rows need."""
        return QSize(240, self._shape()[0] * _CELL_HEIGHT + _FOOT)

    def minimumSizeHint(self) -> QSize:  # Qt's name
        """Return the same height."""
        return QSize(120, self.sizeHint().height())

    def setting_at(self, row: int, column: int) -> Setting | None:
        """Return the setting of a cell."""
        grid = self._controller.grid
        columns = self._shape()[1]
        # The last axis of a grid runs fastest, and goes across.
        return grid.settings[row * columns + column] if grid is not None else None

    def cell(self, row: int, column: int) -> QRect:
        """Return where a cell lies."""
        width = self._cell_width()
        left, right = _HEAD + int(column * width), _HEAD + int((column + 1) * width)
        return QRect(left, row * _CELL_HEIGHT, right - left - 2, _CELL_HEIGHT - 2)

    def cell_at(self, point: QPoint) -> tuple[int, int] | None:
        """Return the row and column at a point."""
        rows, columns = self._shape()
        row, column = point.y() // _CELL_HEIGHT, int((point.x() - _HEAD) / max(1.0, self._cell_width()))
        is_inside = point.x() >= _HEAD and 0 <= row < rows and 0 <= column < columns
        return (row, column) if is_inside else None

    def mousePressEvent(self, event: Any) -> None:  # Qt's name
        """Choose a cell."""
        if (cell := self.cell_at(event.pos())) is not None:
            self._choose(cell)

    def mouseMoveEvent(self, event: Any) -> None:  # Qt's name
        """Say what a cell is."""
        cell = self.cell_at(event.pos())
        setting = self.setting_at(*cell) if cell is not None else None
        if setting is None:
            QToolTip.hideText()
            return
        value = self._controller.value(setting)
        title = TITLES[self._controller.settings.measure]
        text = f"{setting.text()}: {title} {value:.4f}" if value is not None else f"{setting.text()}: not measured yet"
        if setting in self._controller.part:
            text += f" (first {self._controller.cells[setting].frames} frames)"
        QToolTip.showText(event.globalPosition().toPoint(), text, self)

    def event(self, event: Any) -> bool:  # Qt's name
        """Take the arrows before they step through the video."""
        return takes_arrows(event) or bool(super().event(event))

    def keyPressEvent(self, event: Any) -> None:  # Qt's name
        """Move through the cells by arrows; Enter or Space chooses."""
        rows, columns = self._shape()
        if not rows:
            super().keyPressEvent(event)
        elif event.key() in _STEPS:
            down, right = _STEPS[event.key()]
            row, column = self.cursor_cell
            self.cursor_cell = ((row + down) % rows, (column + right) % columns)
            self.update()
        elif event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Space):
            self._choose(self.cursor_cell)
        else:
            super().keyPressEvent(event)

    def _choose(self, cell: tuple[int, int]) -> None:
        self.cursor_cell = cell
        if (setting := self.setting_at(*cell)) is not None:
            self.chosen.emit(setting)
        self.update()

    def _axes(self) -> tuple[Axis, Axis | None] | None:
        grid = self._controller.grid
        return (grid.axes[-1], grid.axes[0] if len(grid.axes) > 1 else None) if grid is not None else None

    def _shape(self) -> tuple[int, int]:
        axes = self._axes()
        if axes is None:
            return 0, 0
        across, down = axes
        return len(down.values) if down else 1, len(across.values)

    def _cell_width(self) -> float:
        return min(float(_WIDEST), (self.width() - _HEAD) / max(1, self._shape()[1]))

    def paintEvent(self, event: Any) -> None:  # Qt's name
        """Draw cells and the values beside them in the colours of the theme."""
        axes = self._axes()
        if axes is None:
            return
        across, down = axes
        painter = QPainter(self)
        ink = self.palette().color(QPalette.ColorRole.WindowText)
        rows, columns = self._shape()
        values = [
            [
                self._controller.value(setting) if (setting := self.setting_at(row, column)) else None
                for column in range(columns)
            ]
            for row in range(rows)
        ]
        known = [value for row in values for value in row if value is not None]
        low, high = (min(known), max(known)) if known else (0.0, 0.0)
        best, present = self._controller.best, self._controller.present
        blank = QColor(ink)
        blank.setAlpha(24)
        for row in range(rows):
            for column in range(columns):
                place, value = self.cell(row, column), values[row][column]
                colour = colour_of((value - low) / (high - low) if high > low else 1.0) if value is not None else None
                painter.fillRect(place, QColor(*colour) if colour else blank)
                setting = self.setting_at(row, column)
                if setting in self._controller.part:
                    painter.fillRect(place, _hatch(colour))
                if value is not None and colour is not None and place.width() >= _LEAST_TEXT:
                    painter.setPen(QColor(*ink_on(colour)))
                    star = "★" if setting == best else ""
                    painter.drawText(place, Qt.AlignmentFlag.AlignCenter, f"{star}{value:.3f}".replace("0.", "."))
                if setting is not None and setting == present:
                    painter.setPen(QPen(QColor(*ink_on(colour)) if colour else ink, 3))
                    painter.drawRect(place.adjusted(1, 1, -2, -2))
        painter.setPen(ink)
        for row in range(rows if down else 0):
            assert down is not None  # its values are counted
            place = QRect(0, row * _CELL_HEIGHT, _HEAD - 6, _CELL_HEIGHT - 2)
            painter.drawText(
                place, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, short(down.values[row])
            )
        below = rows * _CELL_HEIGHT
        for column, shown in enumerate(across.values):
            place = QRect(self.cell(0, column).x(), below, self.cell(0, column).width(), 16)
            painter.drawText(place, Qt.AlignmentFlag.AlignCenter, short(shown))
        words = f"{across.name} across" + (f", {down.name} down" if down else "")
        painter.setPen(QColor(140, 144, 152))
        painter.drawText(QRect(_HEAD, below + 18, self.width() - _HEAD, 18), Qt.AlignmentFlag.AlignLeft, words)
        if self.hasFocus():
            painter.setPen(QPen(ink, 1, Qt.PenStyle.DotLine))
            painter.drawRect(self.cell(*self.cursor_cell).adjusted(4, 4, -4, -4))


def _hatch(colour: tuple[int, int, int] | None) -> QBrush:
    """Return faint lines over a cell that is not whole yet."""
    line = QColor(*ink_on(colour)) if colour else QColor(128, 128, 128)
    line.setAlpha(50)
    return QBrush(line, Qt.BrushStyle.BDiagPattern)
