"""A plot of curves over the steps of a run; draws itself in the colours of the theme."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from qtpy.QtCore import QEvent, QPointF, QRect, QRectF, QSize, Qt, Signal
from qtpy.QtGui import QColor, QFontMetrics, QPainter, QPalette, QPen, QPixmap, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QWidget

from flowcut_napari.widgets.watch.legend import FONT, LINE, Legend, faded, signed, with_size
from flowcut_napari.widgets.watch.series import (
    averaged,
    figure,
    log_ticks,
    short,
    smoothed,
    thinned,
    ticks,
    value_range,
)

_TICK_FONT = 10
_RIGHT, _AXIS, _PAD = 8, 15, 4
_FAINT = 75
_LEAST_PIECES = 5


@dataclass(frozen=True, eq=False)
class Curve:
    """Values at steps.

    Attributes
    ----------
    name : str
        In the legend, where it is listed.
    steps, values : (N,) arrays
        Steps rise; what is not finite is not drawn.
    colour : QColor
    window : int
        Values over which it is smoothed.
    raw : pair of (N,) arrays, optional
        Between what it lies; drawn faintly behind it.
    has_dots : bool
        Whether each value is marked, where there are few.
    """

    name: str
    steps: np.ndarray
    values: np.ndarray
    colour: QColor
    window: int = 0
    raw: tuple[np.ndarray, np.ndarray] | None = None
    has_dots: bool = False


@dataclass(frozen=True, eq=False)
class _Drawn:
    """A curve with what is made of it once, when it is shown."""

    curve: Curve
    smooth: np.ndarray


class Plot(QWidget):
    """Curves with axes, a legend that says values, and a cursor.

    Signals
    -------
    stale
        It has to be drawn anew; somebody who is patient does it by `redraw`, else it does it when Qt asks.
    pointed (object)
        The step that the mouse points at, or None.
    toggled (str)
        A name in the legend was clicked.
    """

    stale = Signal()
    pointed = Signal(object)
    toggled = Signal(str)

    def __init__(self, name: str, tip: str, *, title: str = "", height: int = 96, empty: str = "") -> None:
        super().__init__()
        self.setObjectName(name)
        self.setAccessibleName(name)
        self.setToolTip(tip)
        self.setMouseTracking(True)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._title, self._height, self._empty = title, height, empty
        self._curves: list[_Drawn] = []
        self._is_log = False
        self._hidden: frozenset[str] = frozenset()
        self._range: tuple[float, float] | None = None
        self._last_step = 1.0
        self._cursor: float | None = None
        self._picture: QPixmap | None = None
        self._is_stale = True
        self.is_patient = False
        self._hinted = 0
        self.drawing_seconds = 0.0
        self._legend = Legend()

    # What is shown.

    def show_curves(
        self, curves: Sequence[Curve], *, last_step: float, is_log: bool = False, hidden: frozenset[str] = frozenset()
    ) -> None:
        """Show these curves from step 0 to a last one; those that are hidden stay in the legend.

        They are drawn here and now, since Qt would draw all plots of a window at once, and seen after an `update`.
        """
        self._curves = [_Drawn(curve, smoothed(curve.values, _window(curve))) for curve in curves]
        self._legend.names = [(curve.name, curve.colour) for curve in curves]
        self._is_log, self._hidden, self._last_step = is_log, hidden, max(1.0, last_step)
        seen = [values for drawn in self._seen() for values in (*(drawn.curve.raw or ()), drawn.smooth)]
        self._range = value_range(seen, is_log=is_log)
        self._is_stale = True
        if self.isVisible() and not self.visibleRegion().isEmpty():
            self.redraw()
        if (height := self.sizeHint().height()) != self._hinted:
            self._hinted = height
            self.updateGeometry()

    def redraw(self) -> None:
        """Draw the curves now, if that is needed; seen after an `update`."""
        if self._is_stale:
            self._picture, self._is_stale = self._draw(), False

    def show_cursor(self, step: float | None) -> None:
        """Show a cursor, and the values there in place of the last ones."""
        if step != self._cursor:
            self._cursor = step
            self.update()

    def value_at(self, name: str, step: float | None) -> float:
        """Return the value of a curve at the step next to this one, the last if it is None; NaN where there is none."""
        return next((self._value(drawn, step) for drawn in self._curves if drawn.curve.name == name), math.nan)

    def _value(self, drawn: _Drawn, step: float | None) -> float:
        steps = drawn.curve.steps
        if not len(steps):
            return math.nan
        if step is None:
            return float(drawn.smooth[-1])
        place = int(np.searchsorted(steps, step))
        near = [spot for spot in (place - 1, place) if 0 <= spot < len(steps)]
        nearest = min(near, key=lambda spot: abs(float(steps[spot]) - step))
        # Beyond the last step of a shorter run there is nothing to be read.
        pixel = self._last_step / max(1, self._area().width())
        return float(drawn.smooth[nearest]) if step <= steps[-1] + 4 * pixel else math.nan

    def sizeHint(self) -> QSize:  # Qt's name
        """Return the room that the curves and the legend need."""
        return QSize(180, self._height + self._legend_height(max(180, self.width())))

    def minimumSizeHint(self) -> QSize:  # Qt's name
        """Return the same height, and a width with which numbers can be read."""
        return QSize(120, self.sizeHint().height())

    # Qt's events.

    def resizeEvent(self, event: Any) -> None:  # Qt's name
        """Draw the curves anew."""
        self._forget()
        # Names may need another row.
        self.updateGeometry()

    def changeEvent(self, event: Any) -> None:  # Qt's name
        """Draw the curves in the colours of another theme."""
        super().changeEvent(event)
        if event.type() in (QEvent.Type.PaletteChange, QEvent.Type.StyleChange, QEvent.Type.FontChange):
            self._forget()

    def mouseMoveEvent(self, event: Any) -> None:  # Qt's name
        """Tell the step under the mouse."""
        point = event.position()
        is_name = not self._title and self._legend.name_at(point.toPoint()) is not None
        self.setCursor(Qt.CursorShape.PointingHandCursor if is_name else Qt.CursorShape.ArrowCursor)
        area = self._area()
        is_inside = area.left() <= point.x() <= area.right() and point.y() >= area.top()
        step = (point.x() - area.left()) / max(1, area.width()) * self._last_step
        self.pointed.emit(step if is_inside and self._range is not None else None)

    def leaveEvent(self, event: Any) -> None:  # Qt's name
        """Point at nothing."""
        super().leaveEvent(event)
        self.pointed.emit(None)

    def mousePressEvent(self, event: Any) -> None:  # Qt's name
        """Hide a curve by its name in the legend, or bring it back."""
        name = self._legend.name_at(event.position().toPoint())
        if name is not None and not self._title:
            self.toggled.emit(name)

    def paintEvent(self, event: Any) -> None:  # Qt's name
        """Draw the curves, the cursor and the values."""
        if not self.is_patient:
            self.redraw()
        elif self._is_stale:
            self.stale.emit()
        painter = QPainter(self)
        if self._picture is not None:
            painter.drawPixmap(0, 0, self._picture)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setFont(with_size(self.font(), FONT))
        if self._title:
            self._draw_title(painter)
        else:
            self._draw_legend(painter)
        if self._cursor is not None and self._range is not None and self._cursor <= self._last_step:
            self._draw_cursor(painter, self._cursor)

    # How it is drawn.

    def _seen(self) -> list[_Drawn]:
        return [drawn for drawn in self._curves if drawn.curve.name not in self._hidden]

    def _forget(self) -> None:
        self._is_stale = True
        self.update()

    @property
    def _ink(self) -> QColor:
        ink: QColor = self.palette().color(QPalette.ColorRole.WindowText)
        return ink

    def _area(self) -> QRect:
        """Return where curves are drawn."""
        top = self._legend_height(self.width())
        left = self._label_width()
        return QRect(left, top, max(1, self.width() - left - _RIGHT), max(1, self.height() - top - _AXIS))

    def _label_width(self) -> int:
        metrics = QFontMetrics(with_size(self.font(), _TICK_FONT))
        widest = max((metrics.horizontalAdvance(signed(short(value))) for value in self._value_ticks()), default=20)
        return max(26, widest + 8)

    def _value_ticks(self) -> list[float]:
        if self._range is None:
            return []
        most = max(3, (self._height - _AXIS) // 30)
        return (log_ticks if self._is_log else ticks)(*self._range, most)

    def _place(self, value: Any, area: QRect) -> Any:
        """Return the height in pixels of a value, or of an array of them."""
        assert self._range is not None  # else nothing is drawn
        low, high = self._range
        if self._is_log:
            low, high, value = math.log(low), math.log(high), np.log(value)
        return area.bottom() - _PAD - (value - low) / (high - low) * (area.height() - 2 * _PAD)

    def _draw(self) -> QPixmap:
        """Return axes and curves as a picture."""
        # Of this thread alone: others may keep the processor.
        began = time.thread_time()
        ratio = self.devicePixelRatioF()
        picture = QPixmap(QSize(max(1, round(self.width() * ratio)), max(1, round(self.height() * ratio))))
        picture.setDevicePixelRatio(ratio)
        picture.fill(Qt.GlobalColor.transparent)
        painter = QPainter(picture)
        try:
            area = self._area()
            painter.fillRect(area, faded(self._ink, 12))
            painter.setFont(with_size(self.font(), _TICK_FONT))
            if self._range is None:
                painter.setPen(faded(self._ink, 130))
                painter.drawText(area, Qt.AlignmentFlag.AlignCenter, self._empty)
            else:
                self._draw_axes(painter, area)
                painter.setClipRect(area)
                for drawn in reversed(self._seen()):
                    self._draw_curve(painter, area, drawn)
        finally:
            painter.end()
        self.drawing_seconds = time.thread_time() - began
        return picture

    def _draw_axes(self, painter: QPainter, area: QRect) -> None:
        for value in self._value_ticks():
            height = round(float(self._place(value, area)))
            painter.setPen(faded(self._ink, 26))
            painter.drawLine(area.left(), height, area.right(), height)
            painter.setPen(faded(self._ink, 150))
            place = QRect(0, height - 8, area.left() - 5, 16)
            painter.drawText(place, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, signed(short(value)))
        for step in ticks(0, self._last_step, max(2, area.width() // 62)):
            across = area.left() + round(step / self._last_step * area.width())
            place = QRect(across - 30, area.bottom() + 2, 60, _AXIS - 2)
            side = Qt.AlignmentFlag.AlignHCenter
            # Neither end is cut off.
            if step == 0:
                place.moveLeft(area.left() - 2)
                side = Qt.AlignmentFlag.AlignLeft
            elif across + 14 > area.right():
                place.moveRight(area.right() + 2)
                side = Qt.AlignmentFlag.AlignRight
            painter.drawText(place, side | Qt.AlignmentFlag.AlignVCenter, short(step))

    def _draw_curve(self, painter: QPainter, area: QRect, drawn: _Drawn) -> None:
        curve = drawn.curve
        # What is faint need not be smooth, too, which would take the most time of all.
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
        columns = area.width()
        if curve.raw is not None:
            low, high = map(self._drawable, curve.raw)
            painter.setPen(QPen(faded(curve.colour, _FAINT), 1))
            painter.drawPolyline(self._points(area, *thinned(curve.steps, low, high, 0.0, self._last_step, columns)))
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(curve.colour, 1.6))
        line = self._drawable(drawn.smooth)
        if curve.raw is not None:
            points = self._points(area, *averaged(curve.steps, line, 0.0, self._last_step, columns))
        else:  # it goes as far as the values do
            points = self._points(area, *thinned(curve.steps, line, line, 0.0, self._last_step, columns))
        painter.drawPolyline(points)
        if len(points) == 1 or (curve.has_dots and len(points) <= columns // 6):
            painter.setBrush(curve.colour)
            for place in range(len(points)):
                painter.drawEllipse(points[place], 1.6, 1.6)
            painter.setBrush(Qt.BrushStyle.NoBrush)

    def _drawable(self, values: np.ndarray) -> np.ndarray:
        return np.where(values > 0, values, np.nan) if self._is_log else values

    def _points(self, area: QRect, steps: np.ndarray, values: np.ndarray) -> QPolygonF:
        across = area.left() + steps * (area.width() / self._last_step)
        # Far beyond the area is out of sight just as well, and no number is too large for Qt.
        down = np.clip(self._place(values, area), area.top() - 1000.0, area.bottom() + 1000.0)
        return QPolygonF([QPointF(*point) for point in zip(across.tolist(), down.tolist(), strict=True)])

    def _draw_cursor(self, painter: QPainter, step: float) -> None:
        area = self._area()
        across = area.left() + step / self._last_step * area.width()
        painter.setPen(QPen(faded(self._ink, 110), 1))
        painter.drawLine(QPointF(across, area.top()), QPointF(across, area.bottom()))
        for drawn in self._seen():
            value = self._value(drawn, step)
            if math.isfinite(value) and (value > 0 or not self._is_log):
                painter.setPen(Qt.PenStyle.NoPen)
                painter.setBrush(drawn.curve.colour)
                painter.drawEllipse(QPointF(across, float(self._place(value, area))), 2.8, 2.8)
        if self._title:  # there is little room, and others say it
            return
        text = f"step {round(step):,}"
        width = painter.fontMetrics().horizontalAdvance(text) + 10
        left = min(max(float(area.left()), across - width / 2), self.width() - width - 1.0)
        place = QRectF(left, area.bottom() + 1, width, _AXIS - 1)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(self.palette().color(QPalette.ColorRole.Window))
        painter.drawRect(place)
        painter.setBrush(faded(self._ink, 40))
        painter.drawRoundedRect(place, 3, 3)
        painter.setPen(self._ink)
        painter.drawText(place, Qt.AlignmentFlag.AlignCenter, text)

    def _legend_height(self, width: int) -> int:
        return self._legend.height(width, self.font()) if not self._title else LINE + 2

    def _draw_legend(self, painter: QPainter) -> None:
        hidden = self._hidden
        values = [
            "" if drawn.curve.name in hidden else figure(self._value(drawn, self._cursor)) for drawn in self._curves
        ]
        self._legend.draw(painter, self.width(), self._ink, values, hidden)

    def _draw_title(self, painter: QPainter) -> None:
        place = QRect(0, 0, self.width() - _RIGHT, LINE)
        painter.setPen(faded(self._ink, 170))
        painter.drawText(place, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, self._title)
        if self._range is not None:
            painter.setPen(self._ink)
            value = figure(self._value(self._curves[0], self._cursor))
            painter.drawText(place, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, signed(value))


def _window(curve: Curve) -> int:
    """Return over how many values a curve is smoothed: of a short one fewer, which would become a flat line."""
    return min(curve.window, len(curve.values) // _LEAST_PIECES)
