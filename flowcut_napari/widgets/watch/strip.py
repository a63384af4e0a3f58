"""What the model sees, as it learns: the labels at the top, under them predictions, the newest first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qtpy.QtCore import QPoint, QRect, QSize, Qt, Signal
from qtpy.QtGui import QColor, QImage, QPainter, QPalette
from qtpy.QtWidgets import QAbstractScrollArea, QSizePolicy, QToolTip

from flowcut_napari.core.run_history import RunView
from flowcut_napari.core.run_records import Preview, RunStart
from flowcut_napari.widgets.notices import plain
from flowcut_napari.widgets.watch.thumbnails import Thumbnails

_PICTURE = 66
_WORDS = 15
_GAP = 5
_ROW = _WORDS + _PICTURE + _GAP
_ROWS_SEEN = 3
_GREY = QColor(140, 144, 152)


class PreviewStrip(QAbstractScrollArea):
    """Rows of pictures, of which only those in sight are read.

    Signals
    -------
    chosen (int)
        The place of a preview that was clicked; -1 for the labels.
    """

    chosen = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("previews")
        self.setAccessibleName("what the model sees")
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setFrameShape(QAbstractScrollArea.Shape.NoFrame)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.viewport().setCursor(Qt.CursorShape.PointingHandCursor)
        self.viewport().setMouseTracking(True)
        # Twice as many pixels, for screens that have them.
        self.thumbnails = Thumbnails(2 * _PICTURE, self)
        self.thumbnails.arrived.connect(self._on_arrived)
        self._run: Path | None = None
        self._labels: Preview | None = None
        self._previews: tuple[Preview, ...] = ()
        self._start: RunStart | None = None
        self._widest = 0

    def show_previews(self, run: Path | None, view: RunView) -> None:
        """Show the previews of a run."""
        labels, previews = view.labels, view.previews
        if (run, labels, previews, view.start) == (self._run, self._labels, self._previews, self._start):
            return
        if run != self._run or view.start != self._start:
            # Steps that are taken again write the same files again.
            self.thumbnails.forget()
            self._widest = 0
        bar = self.verticalScrollBar()
        added = len(previews) - len(self._previews)
        # Whoever looks at an earlier one goes on looking at it.
        place = bar.value() + added * _ROW if bar.value() and run == self._run and added > 0 else 0
        self._run, self._labels, self._previews, self._start = run, labels, previews, view.start
        self._fit()
        bar.setValue(place)
        self.viewport().update()

    def sizeHint(self) -> QSize:  # Qt's name
        """Return the room for the labels and two predictions."""
        rows = min(_ROWS_SEEN, len(self._previews) + bool(self._labels))
        return QSize(300, rows * _ROW + self.horizontalScrollBar().sizeHint().height())

    def minimumSizeHint(self) -> QSize:  # Qt's name
        """Return the same."""
        return self.sizeHint()

    def resizeEvent(self, event: Any) -> None:  # Qt's name
        """Fit the scroll bars."""
        super().resizeEvent(event)
        self._fit()

    def scrollContentsBy(self, across: int, down: int) -> None:  # Qt's name
        """Draw anew: the labels stay where they are."""
        self.viewport().update()

    def mousePressEvent(self, event: Any) -> None:  # Qt's name
        """Choose a picture."""
        place = self._place_at(event.position().toPoint())
        if place is not None:
            self.chosen.emit(place)

    def mouseMoveEvent(self, event: Any) -> None:  # Qt's name
        """Say what a picture is, or why there is none."""
        place = self._place_at(event.position().toPoint())
        path = self.path_of(place) if place is not None else None
        if path is None:
            QToolTip.hideText()
            return
        picture = self.thumbnails.peek(path)
        words = picture if isinstance(picture, str) else "click to see it large"
        QToolTip.showText(event.globalPosition().toPoint(), plain(words), self)

    def path_of(self, place: int) -> Path | None:
        """Return the file of a preview by its place; -1 is that of the labels."""
        if self._run is None or (place == -1 and self._labels is None) or place >= len(self._previews):
            return None
        return self._run / (self._labels if place == -1 and self._labels else self._previews[place]).path

    def paintEvent(self, event: Any) -> None:  # Qt's name
        """Draw the rows in sight."""
        painter = QPainter(self.viewport())
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        font = painter.font()
        font.setPixelSize(11)
        painter.setFont(font)
        rows = self._rows_in_sight()
        paths = {place: path for place, _ in rows if (path := self.path_of(place)) is not None}
        pictures = self.thumbnails.ask(list(paths.values()))
        for place, top in rows:
            if place in paths:
                self._draw_row(painter, place, top, pictures.get(paths[place]))
        if self._labels is not None and rows:
            # What is scrolled goes under the labels.
            window = self.palette().color(QPalette.ColorRole.Window)
            painter.fillRect(QRect(0, 0, self.viewport().width(), _ROW), window)
            self._draw_row(painter, -1, 0, pictures.get(paths.get(-1, Path())))

    def _draw_row(self, painter: QPainter, place: int, top: int, picture: QImage | str | None) -> None:
        words = "labels" if place == -1 else f"step {self._previews[place].step:,}"
        painter.setPen(self.palette().color(QPalette.ColorRole.WindowText) if place == -1 else _GREY)
        side = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
        painter.drawText(QRect(0, top, self.viewport().width(), _WORDS), side, words)
        area = QRect(0, top + _WORDS, self.viewport().width(), _PICTURE)
        if isinstance(picture, QImage):
            left = -self.horizontalScrollBar().value()
            painter.drawImage(QRect(left, area.top(), _width_of(picture), _PICTURE), picture)
            return
        faint = QColor(_GREY)
        faint.setAlpha(40)
        painter.fillRect(area, faint)
        painter.setPen(_GREY)
        words = "this picture cannot be read" if picture else "…"
        painter.drawText(area, Qt.AlignmentFlag.AlignCenter, words)

    def _rows_in_sight(self) -> list[tuple[int, int]]:
        """Return place and top of each row that is seen, the labels first."""
        head = _ROW if self._labels is not None else 0
        scrolled, height = self.verticalScrollBar().value(), self.viewport().height()
        count = len(self._previews)
        first = scrolled // _ROW
        last = min(count, (scrolled + height) // _ROW + 1)
        rows = [(count - 1 - row, head + row * _ROW - scrolled) for row in range(first, last)]
        return [*([(-1, 0)] if head else []), *rows]

    def _place_at(self, point: QPoint) -> int | None:
        found = [place for place, top in self._rows_in_sight() if top <= point.y() < top + _ROW]
        return found[0] if found and point.x() <= max(self._widest, 1) else None

    def _on_arrived(self) -> None:
        paths = [path for place, _ in self._rows_in_sight() if (path := self.path_of(place)) is not None]
        known = [self.thumbnails.peek(path) for path in paths]
        widest = max((_width_of(picture) for picture in known if isinstance(picture, QImage)), default=0)
        if widest > self._widest:
            self._widest = widest
            self._fit()
        self.viewport().update()

    def _fit(self) -> None:
        head = _ROW if self._labels is not None else 0
        room = self.viewport().size()
        down, across = self.verticalScrollBar(), self.horizontalScrollBar()
        down.setPageStep(max(1, room.height() - head))
        down.setSingleStep(_ROW // 2)
        down.setRange(0, max(0, len(self._previews) * _ROW + head - room.height()))
        across.setPageStep(max(1, room.width()))
        across.setSingleStep(40)
        across.setRange(0, max(0, self._widest - room.width()))
        self.updateGeometry()


def _width_of(picture: QImage) -> int:
    return max(1, round(picture.width() * _PICTURE / max(1, picture.height())))
