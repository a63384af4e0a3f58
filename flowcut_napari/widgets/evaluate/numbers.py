"""The numbers of an evaluation in a table: ours in bold, published ones under them in faint ink."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtGui import QColor, QFontMetrics, QPalette
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QSizePolicy, QTableWidget, QTableWidgetItem

from flowcut_napari.core.evaluation_tables import StatRow
from flowcut_napari.widgets.notices import plain

# Headers that are part of the table, in any theme.
FLAT_TABLE = (
    "#table QHeaderView, #table QHeaderView::section { background: transparent; border: none; }"
    "#table QHeaderView::section { padding: 0px 4px; } #table { background: transparent; border: none; }"
)
# Of a column, pixels: "AP50" and "47.9".
_NARROWEST = 34
_AIR = 5
# Between ink and paper.
_FAINT = 0.55


class NumbersTable(QTableWidget):
    """Shows `stat_rows`; as high as its rows, so that the tab alone scrolls up and down."""

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("numbers")
        self.setAccessibleName("Numbers of the evaluation, in percent")
        self.setToolTip("In percent; rows below ours are what papers report, for whole benchmarks")
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.verticalHeader().hide()
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.horizontalHeader().setHighlightSections(False)
        # Seven numbers and a name in the width of the panel.
        self.setStyleSheet(FLAT_TABLE.replace("#table", "#numbers") + "#numbers, #numbers * { font-size: 12px; }")
        self._rows: list[StatRow] = []

    def show_rows(self, columns: Sequence[str], rows: Sequence[StatRow]) -> None:
        """Show rows of numbers."""
        self._rows = list(rows)
        self.clear()
        self.clearSpans()
        self.setColumnCount(1 + len(columns))
        self.setRowCount(len(rows))
        self.setHorizontalHeaderLabels(["%", *columns])
        self.verticalHeader().setDefaultSectionSize(self.fontMetrics().height() + 5)
        for place, row in enumerate(rows):
            for column, text in enumerate((row.label, *row.values)):
                item = QTableWidgetItem(text)
                side = Qt.AlignmentFlag.AlignRight if column else Qt.AlignmentFlag.AlignLeft
                item.setTextAlignment(side | Qt.AlignmentFlag.AlignVCenter)
                font = item.font()
                font.setBold(row.is_ours)
                item.setFont(font)
                item.setToolTip(plain(row.tip))
                item.setFlags(Qt.ItemFlag.ItemIsEnabled)
                self.setItem(place, column, item)
            if row.is_heading:
                self.setSpan(place, 0, 1, self.columnCount())
        self._widen()
        self._ink()
        self._fit()

    def changeEvent(self, event: Any) -> None:  # Qt's name
        """Take the colours and letters of another theme."""
        super().changeEvent(event)
        if event.type() in (event.Type.PaletteChange, event.Type.StyleChange, event.Type.FontChange):
            self._ink()

    def resizeEvent(self, event: Any) -> None:  # Qt's name
        """Make room for the scroll bar, or take it back."""
        super().resizeEvent(event)
        self._fit()

    def _widen(self) -> None:
        """Give labels what they need, and share the rest among the numbers; none is cut off, rather they scroll."""
        self.ensurePolished()
        plain_letters = self.fontMetrics()
        font = self.font()
        font.setBold(True)
        bold_letters = QFontMetrics(font)
        header = self.horizontalHeader()
        heads = (self.horizontalHeaderItem(column).text() for column in range(1, self.columnCount()))
        widths = [plain_letters.horizontalAdvance(text) for text in heads]
        labels = []
        for row in self._rows:
            letters = bold_letters if row.is_ours else plain_letters
            widths += map(letters.horizontalAdvance, row.values)
            if not row.is_heading:
                labels.append(letters.horizontalAdvance(row.label))
        header.setMinimumSectionSize(max(_NARROWEST, _AIR + max(widths, default=0)))
        for column in range(1, self.columnCount()):
            header.setSectionResizeMode(column, QHeaderView.ResizeMode.Stretch)
            self.horizontalHeaderItem(column).setTextAlignment(
                Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
            )
        self.horizontalHeaderItem(0).setTextAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Fixed)
        header.resizeSection(0, 2 * _AIR + max(labels, default=0))

    def _ink(self) -> None:
        ink = self.palette().color(QPalette.ColorRole.Text)
        faint = QColor(ink.red(), ink.green(), ink.blue(), round(255 * _FAINT))
        for place, row in enumerate(getattr(self, "_rows", ())):  # Qt asks before it is made
            for column in range(self.columnCount()):
                item = self.item(place, column)
                if item is not None and not row.is_ours:
                    item.setForeground(faint)

    def _fit(self) -> None:
        header = self.horizontalHeader()
        needed = header.sectionSize(0) + header.minimumSectionSize() * (self.columnCount() - 1)
        bar = self.horizontalScrollBar().sizeHint().height() if needed > self.viewport().width() else 0
        rows = self.verticalHeader().defaultSectionSize() * self.rowCount()
        height = header.sizeHint().height() + rows + bar + 4
        if height != self.height():
            self.setFixedHeight(height)
