"""What becomes of all clips and masks, as a table: a column for each gap, a row for each reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QSizePolicy, QTableWidget, QTableWidgetItem, QWidget

from flowcut_napari.core.clips import CLIP_REASONS, MASK_REASONS, Yield

_CLIP_WORDS = {
    "no_mask": ("no mask", "Fewer than two of its frames have masks"),
    "no_match": ("no match", "Nothing in it matches"),
    "rejected": ("rejected", "A person rejected it, or so many of its masks that fewer than two frames are left"),
    "not_accepted": ("not accepted", "Nobody accepted anything in it, and only what was accepted is wanted"),
}
_MASK_WORDS = {
    "alone": ("alone", "The other frames of the clip have no mask"),
    "unmatched": ("unmatched", "Its IoU with the masks of the other frames is too low"),
    "contested": ("contested", "Another mask fits its match better"),
    "rejected": ("rejected", "A person rejected it, its tracklet or the clip"),
    "not_accepted": ("not accepted", "Nobody accepted it, and only what was accepted is wanted"),
}


# What a dataset is judged by.
_BOLD = ("clips kept", "instances")


@dataclass(frozen=True)
class Row:
    """One figure for all gaps: what it is called, what it means, how deep it is indented, its values as text."""

    label: str
    tip: str
    depth: int
    values: tuple[str, ...]


def table_of(yields: Mapping[int, Yield], clip_word: str = "pairs") -> tuple[list[str], list[Row]]:
    """Return the headings of the columns and the rows; reasons that never occur are left away.

    Examples
    --------
    >>> from collections import Counter
    >>> headings, rows = table_of({1: Yield(4, 3, 5, 10, Counter(no_match=1), Counter(unmatched=2))})
    >>> headings, [(row.label, *row.values) for row in rows][:3]
    (['gap 1'], [('pairs', '4'), ('clips kept', '3'), ('share', '75%')])
    """
    columns = {f"gap {gap}": figures for gap, figures in sorted(yields.items())}
    if len(columns) > 1:
        total = Yield()
        for figures in yields.values():
            total.add(figures)
        columns = {"all": total, **columns}

    def row(label: str, tip: str, depth: int, figure: Callable[[Yield], int]) -> Row:
        return Row(label, tip, depth, tuple(f"{figure(figures):,}" for figures in columns.values()))

    share = tuple(f"{item.clips / item.candidates:.0%}" if item.candidates else "-" for item in columns.values())
    rows = [
        row(clip_word, "All clips that the frames with masks allow", 0, lambda item: item.candidates),
        row("clips kept", "Clips that the dataset would hold", 0, lambda item: item.clips),
        Row("share", "Kept of all clips that the frames allow", 1, share),
        row("instances", "Objects in the clips that are kept", 0, lambda item: item.instances),
        row("clips dropped", "Each for one reason", 0, lambda item: item.dropped_clips.total()),
    ]
    for reason in CLIP_REASONS:
        if any(item.dropped_clips[reason] for item in columns.values()):
            rows.append(row(*_CLIP_WORDS[reason], 1, partial(_dropped_clips, reason)))
    tip = "Masks in frames of all these clips that are in no object; a mask counts in each of its clips"
    rows.append(row("masks left out", tip, 0, lambda item: item.dropped_masks.total()))
    for reason in MASK_REASONS:
        if any(item.dropped_masks[reason] for item in columns.values()):
            rows.append(row(*_MASK_WORDS[reason], 1, partial(_dropped_masks, reason)))
    return list(columns), rows


def _dropped_clips(reason: str, figures: Yield) -> int:
    return figures.dropped_clips[reason]


def _dropped_masks(reason: str, figures: Yield) -> int:
    return figures.dropped_masks[reason]


# Of a column, pixels: "gap 4" and a figure of four digits.
_NARROWEST = 44


class CountsTable(QTableWidget):
    """Shows `table_of`; takes its colours from the theme."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("counts")
        self.setAccessibleName("What would be exported")
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.setTabKeyNavigation(False)
        self.setShowGrid(False)
        self.setCornerButtonEnabled(False)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        self.horizontalHeader().setMinimumSectionSize(_NARROWEST)
        self.verticalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        self.verticalHeader().setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        self.horizontalHeader().setDefaultAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        # Headers that are part of the table, in any theme.
        self.setStyleSheet(
            "QHeaderView, QHeaderView::section, QTableCornerButton::section { background: transparent; border: none; }"
            "QHeaderView::section { padding: 0px 4px; } #counts { background: transparent; border: none; }"
        )

    def show_yields(self, yields: Mapping[int, Yield], clip_word: str) -> None:
        """Show what became of clips, by gap."""
        headings, rows = table_of(yields, clip_word)
        self.setColumnCount(len(headings))
        self.setRowCount(len(rows))
        self.setHorizontalHeaderLabels(headings)
        height = self.fontMetrics().height() + 4
        self.verticalHeader().setDefaultSectionSize(height)
        for place, row in enumerate(rows):
            header = QTableWidgetItem("    " * row.depth + row.label)
            header.setToolTip(row.tip)
            font = header.font()
            font.setBold(row.label in _BOLD)
            header.setFont(font)
            self.setVerticalHeaderItem(place, header)
            for column, value in enumerate(row.values):
                item = QTableWidgetItem(value)
                item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
                item.setToolTip(row.tip)
                item.setFont(font)
                self.setItem(place, column, item)
        # No figure is cut off, however large: rather, the table scrolls.
        widest = max((self.fontMetrics().horizontalAdvance(value) for row in rows for value in row.values), default=0)
        self.horizontalHeader().setMinimumSectionSize(max(_NARROWEST, round(1.15 * widest) + 8))
        self._fit()

    def resizeEvent(self, event: Any) -> None:  # Qt's name
        """Make room for the scroll bar, or take it back."""
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        """Be as high as the rows are, so that the tab alone scrolls up and down."""
        columns, rows = self.horizontalHeader(), self.verticalHeader()
        needed = rows.sizeHint().width() + columns.minimumSectionSize() * self.columnCount()
        bar = self.horizontalScrollBar().sizeHint().height() if needed > self.width() else 0
        height = columns.sizeHint().height() + rows.defaultSectionSize() * self.rowCount() + bar + 4
        if height != self.height():
            self.setFixedHeight(height)
