"""The tracks of a prediction in a table: colour, score, and in how many frames each is seen."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QColor, QIcon, QPalette, QPixmap
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem

from flowcut_napari.core.predictions import PredictedTrack, Prediction
from flowcut_napari.core.preview import COLOURS

_MOST_ROWS = 4
_ROW = 22
_SWATCH = 12


class TrackTable(QTableWidget):
    """A row for each track, those below the threshold faint; a chosen row is seen alone in the canvas.

    Signals
    -------
    chosen (int)
        The id of a track, or 0 for all.
    """

    chosen = Signal(int)

    def __init__(self) -> None:
        super().__init__(0, 3)
        self.setObjectName("tracks")
        self.setToolTip("Instances by falling score; choose one to see it alone, once more to see all")
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setHorizontalHeaderLabels(["instance", "score", "frames"])
        self.verticalHeader().hide()
        self.verticalHeader().setMinimumSectionSize(_ROW)
        self.verticalHeader().setDefaultSectionSize(_ROW)
        self.setShowGrid(False)
        header = self.horizontalHeader()
        header.setHighlightSections(False)
        for column in range(3):
            header.setSectionResizeMode(column, QHeaderView.ResizeMode.Stretch)
            self.horizontalHeaderItem(column).setTextAlignment(
                Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
            )
        self._prediction: Prediction | None = None
        self._count = -1
        self.itemSelectionChanged.connect(self._tell)

    def show_tracks(self, prediction: Prediction | None, count: int) -> None:
        """Show the tracks of a prediction, the first `count` of which are seen."""
        if prediction is not self._prediction:
            self._prediction, self._count = prediction, -1
            self._fill(prediction.tracks if prediction is not None else ())
        if count != self._count:
            self._count = count
            self._shade()

    def show_chosen(self, label: int) -> None:
        """Show which track is seen alone, without telling anybody."""
        if label == self._chosen():
            return
        self.blockSignals(True)
        if label:
            self.selectRow(label - 1)
        else:
            self.clearSelection()
            self.setCurrentItem(None)
        self.blockSignals(False)

    def _fill(self, tracks: tuple[PredictedTrack, ...]) -> None:
        self.blockSignals(True)
        self.clearSelection()
        self.setCurrentItem(None)
        self.setRowCount(len(tracks))
        for row, track in enumerate(tracks):
            seen = f"{track.seen} of {len(track.masks)}"
            for column, text in enumerate(
                (str(track.id), "none" if track.score is None else f"{track.score:.3f}", seen)
            ):
                self.setItem(row, column, QTableWidgetItem(text))
            self.item(row, 0).setIcon(_swatch(track.id))
        self.blockSignals(False)
        rows = min(_MOST_ROWS, max(1, len(tracks)))
        height = self.horizontalHeader().sizeHint().height() + rows * _ROW + 6
        self.setFixedHeight(height)
        self.setVisible(bool(tracks))

    def _shade(self) -> None:
        ink = self.palette().color(QPalette.ColorRole.Text)
        faint = QColor(ink)
        faint.setAlpha(110)
        for row in range(self.rowCount()):
            is_seen = row < self._count
            for column in range(3):
                self.item(row, column).setForeground(ink if is_seen else faint)
            self.item(row, 0).setToolTip("" if is_seen else "below the score threshold: not shown")

    def _tell(self) -> None:
        self.chosen.emit(self._chosen())

    def _chosen(self) -> int:
        rows = {index.row() for index in self.selectedIndexes()}
        return rows.pop() + 1 if rows else 0

    def mousePressEvent(self, event: Any) -> None:  # Qt's name
        """Choose a row; the chosen one again leaves it."""
        index = self.indexAt(event.pos())
        if not index.isValid() or index.row() + 1 == self._chosen():
            self.clearSelection()
            self.setCurrentItem(None)
            return
        super().mousePressEvent(event)

    def changeEvent(self, event: Any) -> None:  # Qt's name
        """Follow another theme."""
        super().changeEvent(event)
        if event.type() == event.Type.PaletteChange and self._count >= 0:
            self._shade()


def _swatch(label: int) -> QIcon:
    picture = QPixmap(_SWATCH, _SWATCH)
    picture.fill(QColor(*COLOURS[(label - 1) % len(COLOURS)]))
    return QIcon(picture)
