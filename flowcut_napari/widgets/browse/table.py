"""The instances of a clip in a table: colour, id, category, score, and the area in each frame."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem

from flowcut_napari.core.clip_view import ClipInstance, ClipView
from flowcut_napari.core.preview import COLOURS
from flowcut_napari.widgets.notices import plain

_MOST_ROWS = 8
_SWATCH = 12
_NAMES = ("id", "category", "score")
# Columns that fit beside each other in the panel.
_MOST_SHARED = 7


class InstanceTable(QTableWidget):
    """A row for each instance; a chosen row is seen alone in the canvas.

    Signals
    -------
    chosen (int)
        The label of an instance, or 0 for all.
    """

    chosen = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("instances")
        self.setToolTip("Instances and their areas in pixels, frame by frame; choose a row to see one alone")
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.verticalHeader().hide()
        self.setShowGrid(False)
        header = self.horizontalHeader()
        header.setHighlightSections(False)
        self._labels: list[int] = []
        self._view: ClipView | None = None
        self.itemSelectionChanged.connect(self._tell)

    def show_clip(self, view: ClipView | None) -> None:
        """Show the instances of a clip."""
        if view is self._view:
            return
        is_same_clip = view is not None and self._view is not None and view.number == self._view.number
        before = self._chosen() if is_same_clip else 0
        self._view = view
        instances = view.instances if view is not None else ()
        self.blockSignals(True)
        self.clear()
        self._labels = [instance.label for instance in instances]
        columns = _columns(view) if view is not None else []
        self.setColumnCount(len(columns))
        self.setHorizontalHeaderLabels(columns)
        self.setRowCount(len(instances))
        for row, instance in enumerate(instances):
            self._fill(row, instance, columns)
        for column, name in enumerate(columns):
            # Few columns share the width; many are as wide as their numbers, and scrolled.
            is_wide = len(columns) > _MOST_SHARED or name in _NAMES
            mode = QHeaderView.ResizeMode.ResizeToContents if is_wide else QHeaderView.ResizeMode.Stretch
            self.horizontalHeader().setSectionResizeMode(column, mode)
            side = Qt.AlignmentFlag.AlignLeft if name in _NAMES else Qt.AlignmentFlag.AlignRight
            self.horizontalHeaderItem(column).setTextAlignment(side | Qt.AlignmentFlag.AlignVCenter)
        self.clearSelection()
        self.setCurrentItem(None)
        if before in self._labels:
            self.selectRow(self._labels.index(before))
        self.blockSignals(False)
        self._fit()
        if before and before not in self._labels:
            self.chosen.emit(0)

    def _fill(self, row: int, instance: ClipInstance, columns: list[str]) -> None:
        texts = [instance.id]
        if "category" in columns:
            texts.append(instance.category)
        if "score" in columns:
            texts.append("" if instance.score is None else f"{instance.score:.2f}")
        numbers = ["-" if area is None else f"{area:,}" for area in instance.areas]
        for column, text in enumerate([*texts, *numbers]):
            item = QTableWidgetItem(text)
            if column >= len(texts):
                item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
                item.setToolTip("pixels" if text != "-" else "not in this frame")
            elif text:
                item.setToolTip(plain(text))
            self.setItem(row, column, item)
        self.item(row, 0).setIcon(_swatch(instance.label))

    def _fit(self) -> None:
        rows = min(_MOST_ROWS, max(1, self.rowCount()))
        height = self.horizontalHeader().sizeHint().height() + rows * self.verticalHeader().defaultSectionSize() + 6
        self.setFixedHeight(height)
        self.setVisible(self.rowCount() > 0)

    def _tell(self) -> None:
        self.chosen.emit(self._chosen())

    def _chosen(self) -> int:
        rows = {index.row() for index in self.selectedIndexes()}
        return self._labels[rows.pop()] if rows else 0

    def mousePressEvent(self, event: Any) -> None:  # Qt's name
        """Choose a row; the chosen one again leaves it."""
        index = self.indexAt(event.pos())
        if not index.isValid() or index.row() in {chosen.row() for chosen in self.selectedIndexes()}:
            self.clearSelection()
            self.setCurrentItem(None)
            return
        super().mousePressEvent(event)


def _columns(view: ClipView) -> list[str]:
    columns = ["id"]
    if len({instance.category for instance in view.instances}) > 1:
        columns.append("category")
    if any(instance.score is not None for instance in view.instances):
        columns.append("score")
    return [*columns, *(_short(PurePosixPath(view.files[place]).stem) for place in view.places)]


def _short(stem: str) -> str:
    return stem if len(stem) <= 8 else f"…{stem[-7:]}"


def _swatch(label: int) -> QIcon:
    picture = QPixmap(_SWATCH, _SWATCH)
    picture.fill(QColor(*COLOURS[(label - 1) % len(COLOURS)]))
    return QIcon(picture)
