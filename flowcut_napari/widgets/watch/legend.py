"""The names of curves with their values, in as many rows as they need."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import QPoint, QRect, QRectF, Qt
from qtpy.QtGui import QColor, QFont, QFontMetrics, QPainter, QPen

FONT, LINE = 11, 16
_SWATCH = 9
_LONGEST_NAME = 140
_MINUS = "\N{MINUS SIGN}"


class Legend:
    """Names and colours, from left to right and row by row; knows where they are."""

    def __init__(self) -> None:
        self.names: list[tuple[str, QColor]] = []
        self._places: list[tuple[QRect, str]] = []

    def height(self, width: int, font: QFont) -> int:
        """Return how high it is within a width, pixels."""
        places = self._lay_out(width, QFontMetrics(with_size(font, FONT)))
        return LINE + 2 + max((place.top() for place, _ in places), default=0)

    def name_at(self, point: QPoint) -> str | None:
        """Return the name that was drawn at a point."""
        return next((name for place, name in self._places if place.contains(point)), None)

    def place_of(self, name: str) -> QRect:
        """Return where a name was drawn."""
        return next((place for place, other in self._places if other == name), QRect())

    def draw(self, painter: QPainter, width: int, ink: QColor, values: Sequence[str], hidden: frozenset[str]) -> None:
        """Draw it with a value for each name; the swatches of those that are hidden are empty."""
        places = self._lay_out(width, painter.fontMetrics())
        self._places = [(place, name) for (place, _), (name, _) in zip(places, self.names, strict=True)]
        for (place, shown), (name, colour), value in zip(places, self.names, values, strict=True):
            painter.setPen(QPen(colour, 1.2))
            painter.setBrush(Qt.BrushStyle.NoBrush if name in hidden else colour)
            painter.drawRoundedRect(QRectF(place.left() + 1, place.top() + 3.5, _SWATCH - 1, _SWATCH - 1), 2, 2)
            painter.setPen(faded(ink, 110 if name in hidden else 255))
            text = place.adjusted(_SWATCH + 5, 0, 0, 0)
            side = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
            painter.drawText(text, side, f"{shown} {signed(value)}")

    def _lay_out(self, width: int, metrics: QFontMetrics) -> list[tuple[QRect, str]]:
        """Return where each name is, and how much of it is seen."""
        found = []
        row, left = 0, 0
        for name, _ in self.names:
            shown = metrics.elidedText(name, Qt.TextElideMode.ElideMiddle, _LONGEST_NAME)
            # As wide as any value, so that nothing moves while the mouse does.
            needed = _SWATCH + 5 + metrics.horizontalAdvance(f"{shown} 0.0000") + 9
            if left and left + needed > width:
                row, left = row + 1, 0
            found.append((QRect(left, row * LINE, needed, LINE), shown))
            left += needed
        return found


def with_size(font: QFont, pixels: int) -> QFont:
    """Return a font in another size."""
    found = QFont(font)
    found.setPixelSize(pixels)
    return found


def faded(colour: QColor, alpha: int) -> QColor:
    """Return a colour through which the ground is seen."""
    found = QColor(colour)
    found.setAlpha(alpha)
    return found


def signed(number: str) -> str:
    """Return a number with a minus as long as a plus.

    Examples
    --------
    >>> signed("1e-6") == "1e\N{MINUS SIGN}6", signed("-")
    (True, '-')
    """
    return number.replace("-", _MINUS) if number != "-" else "-"
