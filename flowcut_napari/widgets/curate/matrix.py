"""The IoU of every mask of a frame with every mask of its partner, as a table in colours that can be clicked."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from qtpy.QtCore import QPoint, QRect, QSize, Qt, Signal
from qtpy.QtGui import QColor, QImage, QPainter, QPalette, QPen
from qtpy.QtWidgets import QSizePolicy, QToolTip, QWidget

from flowcut_napari.core.decisions import Key
from flowcut_napari.core.preview import COLOURS
from flowcut_napari.viewer.pair_view import iou_text
from flowcut_napari.widgets.curate.desk import CurationDesk
from flowcut_napari.widgets.curate.shortcuts import takes_arrows

_HEAD = 26
_CELL_HEIGHT = 26
_CELL_WIDTH = 46
_MOST_ROWS = 8
# Cells with sides below this have no numbers, pixels.
_LEAST_TEXT = 12


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
        return self._cells().cell(row, column)

    def _cells(self) -> _Cells:
        return _Cells(len(self.rows), len(self.columns), self.height() - _HEAD, self.width() - _HEAD)

    def cell_at(self, point: QPoint) -> tuple[int, int] | None:
        """Return the row and column at a point."""
        return self._cells().cell_at(point)

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

    def event(self, event: Any) -> bool:  # Qt's name
        """Take the arrows before they choose objects."""
        return takes_arrows(event) or bool(super().event(event))

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
        cells = self._cells()
        for place, key in enumerate(rows):
            self._draw_head(painter, QRect(0, cells.cell(place, 0).y(), _HEAD - 2, cells.cell(place, 0).height()), key)
        for place, key in enumerate(columns):
            self._draw_head(painter, QRect(cells.cell(0, place).x(), 0, cells.cell(0, place).width(), _HEAD - 2), key)
        base, top = palette.color(QPalette.ColorRole.Base), QColor(0, 122, 204)
        matrix = self._desk.review.matches(pair).iou if self._desk.review is not None else np.zeros((0, 0))
        if cells.are_readable:
            self._draw_numbers(painter, matrix, base, top)
        else:
            painter.drawImage(cells.whole, _picture(matrix, base, top))
        row_of, column_of = ({key: place for place, key in enumerate(keys)} for keys in (rows, columns))
        painter.setPen(QPen(ink, 2 if cells.are_readable else 1))
        for track in pair.outcome.tracks:
            first, second = zip(pair.frames, (number or 0 for number in track.instances), strict=True)
            place = cells.cell(row_of[first], column_of[second])
            painter.drawRect(place.adjusted(1, 1, -1, -1) if cells.are_readable else place)
        chosen = self._desk.selection
        if len(chosen) == 2 and chosen[0] in row_of and chosen[1] in column_of:
            painter.setPen(QPen(QColor(255, 190, 0), 3))
            painter.drawRect(cells.cell(row_of[chosen[0]], column_of[chosen[1]]).adjusted(1, 1, -1, -1))
        if self.hasFocus():
            painter.setPen(QPen(ink, 1, Qt.PenStyle.DotLine))
            inner = 4 if cells.are_readable else 0
            painter.drawRect(cells.cell(*self.cursor_cell).adjusted(inner, inner, -inner, -inner))

    def _draw_numbers(self, painter: QPainter, matrix: np.ndarray, base: QColor, top: QColor) -> None:
        cells, threshold = self._cells(), self._desk.parameters.iou
        for row, values in enumerate(matrix.tolist()):
            for column, iou in enumerate(values):
                colour, place = _mixed(base, top, iou), cells.cell(row, column)
                painter.fillRect(place, colour)
                painter.setPen(QColor("white") if colour.lightness() < 140 else QColor("black"))
                painter.drawText(place, Qt.AlignmentFlag.AlignCenter, _text(iou, threshold))

    def _draw_head(self, painter: QPainter, place: QRect, key: Key) -> None:
        identity = self._desk.identity(key) or 0
        colour = QColor(*COLOURS[(identity - 1) % len(COLOURS)])
        painter.fillRect(place, colour)
        if min(place.width(), place.height()) < _LEAST_TEXT:
            return
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
        if self._desk.document.review.place_of(self._desk.frame) is None:
            return "this frame has no masks"
        if self._desk.pair is None:
            return "this frame has no partner at this gap"
        return "one of both frames has no mask"


@dataclass(frozen=True)
class _Cells:
    """Where cells lie: `rows` and `columns` of them in a height and a width, pixels, right and below the heads."""

    rows: int
    columns: int
    height: int
    width: int

    @property
    def sides(self) -> tuple[float, float]:
        """Height and width of a cell with the gap after it; below a pixel, where there are that many."""
        return (
            max(1, self.height) / max(1, self.rows),
            min(2 * _CELL_WIDTH, max(1, self.width) / max(1, self.columns)),
        )

    @property
    def are_readable(self) -> bool:
        """Whether there is room for a number in each."""
        height, width = self.sides
        return height - 2 >= _LEAST_TEXT and width - 2 >= 1.5 * _LEAST_TEXT

    @property
    def whole(self) -> QRect:
        """All of them."""
        height, width = self.sides
        return QRect(_HEAD, _HEAD, round(self.columns * width), round(self.rows * height))

    def cell(self, row: int, column: int) -> QRect:
        """Return where one lies."""
        height, width = self.sides
        left, right = (_HEAD + int(place * width) for place in (column, column + 1))
        top, bottom = (_HEAD + int(place * height) for place in (row, row + 1))
        gap = 2 if self.are_readable else 0
        return QRect(left, top, max(1, right - left - gap), max(1, bottom - top - gap))

    def cell_at(self, point: QPoint) -> tuple[int, int] | None:
        """Return the row and column at a point."""
        height, width = self.sides
        row, column = (math.ceil((at - _HEAD + 1) / side) - 1 for at, side in ((point.y(), height), (point.x(), width)))
        return (row, column) if 0 <= row < self.rows and 0 <= column < self.columns else None


def _picture(matrix: np.ndarray, base: QColor, top: QColor) -> QImage:
    """Return a matrix of IoU as a picture, a pixel for a cell."""
    ends = [np.array(colour.getRgb()[:3], np.float64) for colour in (base, top)]
    pixels = np.full((*matrix.shape, 4), 255, np.uint8)
    pixels[..., :3] = (ends[0] + matrix[..., None] * (ends[1] - ends[0])).round()
    image = QImage(pixels.data, matrix.shape[1], matrix.shape[0], 4 * matrix.shape[1], QImage.Format.Format_RGBA8888)
    return image.copy()  # the pixels are gone after this


def _text(iou: float, threshold: float) -> str:
    """Return an IoU for a cell; nothing where it is nothing, so that what is something is seen."""
    if iou < 0.005:
        return ""
    return "1" if iou >= 0.995 else iou_text(iou, threshold)[1:]


def _mixed(base: QColor, top: QColor, share: float) -> QColor:
    parts = zip(base.getRgb()[:3], top.getRgb()[:3], strict=True)
    return QColor(*(round(a + share * (b - a)) for a, b in parts))
