"""All pairs of a video at a glance: a cell for each frame and gap, which a click jumps to."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QEvent, QPoint, QRect, QSize, Qt
from qtpy.QtGui import QColor, QPainter, QPalette, QPen, QPixmap
from qtpy.QtWidgets import QSizePolicy, QToolTip, QWidget

from flowcut_napari.core.review import Pair, Review
from flowcut_napari.viewer.pair_view import verdict_word
from flowcut_napari.widgets.curate.desk import CurationDesk
from flowcut_napari.widgets.curate.shortcuts import takes_arrows

_LEFT = 54
_TOP = 4
_ROW = 18
_BREAKS = 8
_AXIS = 16
_LEGEND = 18
# Cells below this width have no gaps: these would make a pattern of their own.
_NARROW = 6
# From this width on they say how many matches there are.
_WIDE = 16
# From a match that hardly is one to a sure one: dark to light, and none of the colours of verdicts.
_LOW, _MIDDLE, _HIGH = QColor(75, 60, 165), QColor(50, 145, 165), QColor(245, 225, 120)
_BY_HAND = QColor(200, 160, 220)
_NO_MATCH = QColor(110, 112, 118, 110)
_NO_CLIP = QColor(0, 0, 0, 70)
_LOST = QColor(255, 150, 60)
_ACCEPTED, _REJECTED = QColor(70, 200, 120), QColor(235, 90, 80)


class Timeline(QWidget):
    """One row a gap, one cell a frame: coloured by the weakest IoU of the pair, with its verdict under it."""

    def __init__(self, desk: CurationDesk, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("timeline")
        self.setAccessibleName("weakest IoU of each frame and gap")
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Maximum)
        self._desk = desk
        self._picture: QPixmap | None = None
        self._drawn: dict[tuple[int, int], Pair] = {}
        desk.changed.connect(self._on_changed)
        desk.parameters_changed.connect(self._forget)
        desk.pair_changed.connect(self.update)

    @property
    def _gaps(self) -> tuple[int, ...]:
        # Of what is matched, which may be a moment behind what is asked for.
        review = self._desk.review
        return review.gaps if review is not None else self._desk.parameters.gaps

    def sizeHint(self) -> QSize:  # Qt's name
        """Return the room that the gaps need."""
        return QSize(600, _TOP + _ROW * len(self._gaps) + _BREAKS + _AXIS + _LEGEND)

    def minimumSizeHint(self) -> QSize:  # Qt's name
        """Return the same height, and a width with which a window can live."""
        # In a low window the legend goes first.
        return QSize(240, self.sizeHint().height() - _LEGEND)

    def pair_at(self, x: float, y: float) -> Pair | None:
        """Return the pair of the cell at a point."""
        review, gaps = self._desk.review, self._gaps
        row = int((y - _TOP) // _ROW)
        if review is None or not 0 <= row < len(gaps) or x < _LEFT or not review.frames:
            return None
        place, width = int((x - _LEFT) / self._cell_width()), self._cell_width()
        last = len(review.frames) - 1 - gaps[row]
        if place > last and (place - last) * width <= 1:  # many share a pixel, which may lie beyond the last of them
            place = last
        return review.pairs.get((gaps[row], place))

    def cell(self, pair: Pair) -> QRect:
        """Return where a pair lies."""
        width = self._cell_width()
        left = _LEFT + pair.place * width
        row = self._gaps.index(pair.gap)
        return QRect(round(left), _TOP + row * _ROW, max(1, round(left + width) - round(left)), _ROW - 3)

    def mousePressEvent(self, event: Any) -> None:  # Qt's name
        """Jump to a pair."""
        pair = self.pair_at(event.position().x(), event.position().y())
        if pair is not None:
            self._desk.go(pair.frames[0], pair.gap)

    def mouseMoveEvent(self, event: Any) -> None:  # Qt's name
        """Say what a pair is."""
        pair = self.pair_at(event.position().x(), event.position().y())
        if pair is None:
            QToolTip.hideText()
        else:
            QToolTip.showText(event.globalPosition().toPoint(), describe_pair(pair), self)

    def event(self, event: Any) -> bool:  # Qt's name
        """Take the arrows before they choose objects."""
        return takes_arrows(event) or bool(super().event(event))

    def keyPressEvent(self, event: Any) -> None:  # Qt's name
        """Step through frames by left and right, and through gaps by up and down."""
        review, gaps = self._desk.review, self._gaps
        steps = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1}
        place = review.place_of(self._desk.frame) if review is not None else None
        if review is not None and place is not None and event.key() in steps:
            self._desk.go(review.frames[min(max(0, place + steps[event.key()]), len(review.frames) - 1)])
        elif event.key() in (Qt.Key.Key_Up, Qt.Key.Key_Down):
            row = gaps.index(self._desk.view.gap) + (1 if event.key() == Qt.Key.Key_Down else -1)
            self._desk.set_gap(gaps[min(max(0, row), len(gaps) - 1)])
        else:
            super().keyPressEvent(event)

    def changeEvent(self, event: Any) -> None:  # Qt's name
        """Draw the cells in the colours of another theme."""
        super().changeEvent(event)
        if event.type() in (QEvent.Type.PaletteChange, QEvent.Type.StyleChange):
            self._forget()

    def resizeEvent(self, event: Any) -> None:  # Qt's name
        """Draw the cells anew."""
        self._forget()

    def paintEvent(self, event: Any) -> None:  # Qt's name
        """Draw the cells, and where we are."""
        painter = QPainter(self)
        ink = self.palette().color(QPalette.ColorRole.WindowText)
        painter.setPen(ink)
        review, gaps = self._desk.review, self._gaps
        if review is None or not review.frames:
            painter.drawText(self.rect(), Qt.AlignmentFlag.AlignCenter, "no masks of the whole video yet")
            return
        font = painter.font()
        font.setPixelSize(11)
        painter.setFont(font)
        for row, gap in enumerate(gaps):
            place = QRect(0, _TOP + row * _ROW, _LEFT - 8, _ROW - 3)
            painter.setPen(ink if gap == self._desk.view.gap else _faded(ink))
            painter.drawText(place, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, f"gap {gap}")
        picture = self._draw_cells(review)
        top = _TOP + len(gaps) * _ROW
        painter.drawPixmap(QRect(_LEFT, _TOP, self.width() - _LEFT - 4, len(gaps) * _ROW), picture)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(_LOST)
        for lost in review.breaks:
            place_of = review.place_of(lost.last[0])
            x = round(_LEFT + ((place_of or 0) + 0.5) * self._cell_width())
            painter.drawPolygon([QPoint(x - 3, top + _BREAKS - 2), QPoint(x + 3, top + _BREAKS - 2), QPoint(x, top)])
        painter.setBrush(Qt.BrushStyle.NoBrush)
        self._draw_axis(painter, top + _BREAKS, ink)
        self._draw_legend(painter, top + _BREAKS + _AXIS, ink, review.curation.parameters.iou)
        pair = self._desk.pair
        if pair is not None:
            painter.setPen(QPen(ink, 2))
            painter.drawRect(self.cell(pair).adjusted(-2, -2, 2, 2))

    def _draw_cells(self, review: Review) -> QPixmap:
        """Return the cells as a picture, of which only those are drawn anew that have changed."""
        if self._picture is None:
            size = QSize(max(1, self.width() - _LEFT - 4), len(self._gaps) * _ROW)
            self._picture = QPixmap(size)
            self._picture.fill(self.palette().color(QPalette.ColorRole.Window))
            self._drawn = {}
        changed = [pair for key, pair in review.pairs.items() if self._drawn.get(key) is not pair]
        if changed and self._cell_width() < 1:
            # Several share a column: what has to be seen is drawn last, whatever of them has changed.
            columns = {self.cell(pair).x() for pair in changed}
            changed = sorted((pair for pair in review.pairs.values() if self.cell(pair).x() in columns), key=_urgency)
        painter = QPainter(self._picture)
        try:
            for pair in changed:
                self._draw_cell(painter, pair, review.curation.parameters.iou)
        finally:
            painter.end()
        self._drawn = dict(review.pairs)
        return self._picture

    def _draw_cell(self, painter: QPainter, pair: Pair, threshold: float) -> None:
        place = self.cell(pair).translated(-_LEFT, -_TOP)
        if place.width() >= _NARROW:
            place.setWidth(place.width() - 1)
        painter.fillRect(place, self.palette().color(QPalette.ColorRole.Window))
        colour = pair_colour(pair, threshold)
        painter.fillRect(place, colour)
        if place.width() >= _WIDE and pair.outcome.tracks:
            painter.setPen(QColor(0, 0, 0, 150) if colour.lightness() > 120 else QColor(255, 255, 255, 150))
            font = painter.font()
            font.setPixelSize(9)
            painter.setFont(font)
            painter.drawText(place.adjusted(0, 0, -3, 0), Qt.AlignmentFlag.AlignRight, str(len(pair.outcome.tracks)))
        if pair.verdict is not None:
            colour = _ACCEPTED if pair.verdict == "accept" else _REJECTED
            painter.fillRect(QRect(place.x(), place.bottom() - 4, place.width(), 5), colour)
        if pair.verdict == "reject" and place.width() >= _NARROW:
            painter.setPen(QPen(_REJECTED, 2))
            painter.drawLine(place.topLeft(), place.bottomRight())

    def _draw_axis(self, painter: QPainter, top: int, ink: QColor) -> None:
        review = self._desk.review
        assert review is not None  # asked only then
        step = _nice_step(60 / self._cell_width())
        painter.setPen(_faded(ink))
        for place in range(0, len(review.frames), step):
            x = round(_LEFT + (place + 0.5) * self._cell_width())
            text = QRect(x - 30, top, 60, _AXIS - 2)
            painter.drawText(text, Qt.AlignmentFlag.AlignCenter, str(review.frames[place]))

    def _draw_legend(self, painter: QPainter, top: int, ink: QColor, threshold: float) -> None:
        """Say what the colours are."""
        x, middle, height = _LEFT, top + _LEGEND // 2, 9

        def write(text: str) -> None:
            nonlocal x
            width = painter.fontMetrics().horizontalAdvance(text)
            painter.setPen(_faded(ink))
            painter.drawText(
                QRect(x, top, width + 4, _LEGEND), Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, text
            )
            x += width + 6

        def box(colour: QColor, width: int, tall: int = height) -> None:
            nonlocal x
            painter.fillRect(QRect(x, middle - tall // 2, width, tall), colour)
            x += width

        write(f"weakest IoU {threshold:.2f}")
        for step in range(12):
            box(_mixed(step / 11), 6)
        x += 4
        write("1.00")
        for colour, tall, text in (
            (_BY_HAND, height, "linked by hand"),
            (_NO_MATCH, height, "no match"),
            (_NO_CLIP, height, "no mask"),
            (_ACCEPTED, 4, "accepted"),
            (_REJECTED, 4, "rejected"),
        ):
            x += 12
            box(colour, 12, tall)
            x += 4
            write(text)
        x += 14
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(_LOST)
        painter.drawPolygon([QPoint(x - 3, middle + 3), QPoint(x + 3, middle + 3), QPoint(x, middle - 3)])
        painter.setBrush(Qt.BrushStyle.NoBrush)
        x += 8
        write("object lost")

    def _cell_width(self) -> float:
        review = self._desk.review
        return max(1, self.width() - _LEFT - 4) / max(1, len(review.frames) if review else 1)

    def _on_changed(self) -> None:
        review = self._desk.review
        if review is None or self._drawn.keys() != review.pairs.keys():
            self._forget()  # another video
        else:
            self.update()

    def _forget(self) -> None:
        self._picture = None
        self.updateGeometry()
        self.update()


def pair_colour(pair: Pair, threshold: float) -> QColor:
    """Return the colour of a cell: by its weakest IoU from the threshold to 1, dark where nothing matches."""
    if pair.outcome.reason == "no_mask":
        return _NO_CLIP
    if not pair.outcome.tracks:
        return _NO_MATCH
    if pair.weakest is None:
        return _BY_HAND
    return _mixed((pair.weakest - threshold) / (1 - threshold))


def _mixed(share: float) -> QColor:
    """Return the colour of an IoU between the threshold, 0, and 1."""
    share = 2 * min(max(0.0, share), 1.0)
    low, high, part = (_LOW, _MIDDLE, share) if share < 1 else (_MIDDLE, _HIGH, share - 1)
    parts = zip(low.getRgb()[:3], high.getRgb()[:3], strict=True)
    return QColor(*(round(a + part * (b - a)) for a, b in parts))


def _urgency(pair: Pair) -> tuple[bool, float]:
    """Return by what cells are drawn that share a column: sure ones first, then weak ones, verdicts last."""
    return pair.verdict is not None, -(pair.weakest if pair.weakest is not None else float(bool(pair.outcome.tracks)))


def describe_pair(pair: Pair) -> str:
    """Say in one line what a pair is."""
    first, second = pair.frames
    count = len(pair.outcome.tracks)
    parts = [f"frames {first} → {second}, gap {pair.gap}", f"{count} match{'es' if count != 1 else ''}"]
    if pair.weakest is not None:
        parts.append(f"weakest IoU {pair.weakest:.2f}")
    elif count:
        parts.append("linked by hand")
    parts.append(verdict_word(pair))
    return ", ".join(parts)


def _nice_step(least: float) -> int:
    """Return 1, 2, 5, 10, 20, ...: the first that is not below."""
    size = 1
    while True:
        for step in (1, 2, 5):
            if step * size >= least:
                return step * size
        size *= 10


def _faded(colour: QColor) -> QColor:
    faded = QColor(colour)
    faded.setAlpha(140)
    return faded
