"""Runs as a table that can be sorted: a row each, ticked where its curves are drawn beside the watched one."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qtpy.QtCore import QAbstractTableModel, QModelIndex, QRectF, Qt, Signal
from qtpy.QtGui import QColor, QFont, QIcon, QPainter, QPixmap

from flowcut_napari.core.errors import printable
from flowcut_napari.core.run_list import RunSummary
from flowcut_napari.core.run_state import State
from flowcut_napari.widgets.notices import plain
from flowcut_napari.widgets.run.controller import duration
from flowcut_napari.widgets.watch.evaluations import percent
from flowcut_napari.widgets.watch.series import figure
from flowcut_napari.widgets.watch.standing import COLOURS, WORDS

SORT_ROLE = Qt.ItemDataRole.UserRole
# Shorter than where there is room for a sentence.
_STATES: dict[State, str] = {**WORDS, "starting": "starting", "lost": "lost"}
_ORDER: tuple[State, ...] = ("starting", "running", "lost", "failed", "unknown", "stopped", "done")
_ICON = 12


@dataclass(frozen=True)
class Column:
    """A column: its heading and tip, its text, and what it is sorted by."""

    name: str
    tip: str
    text: Callable[[RunSummary], str]
    key: Callable[[RunSummary], Any]
    is_number: bool = True


def _step(run: RunSummary) -> str:
    return f"{run.state.step:,}" if run.state.step or run.state.steps else ""


def _stat(name: str) -> tuple[Callable[[RunSummary], str], Callable[[RunSummary], float]]:
    def text(run: RunSummary) -> str:
        return percent(run.best.stats.get(name)) if run.best is not None else ""

    def key(run: RunSummary) -> float:
        return run.best.stats.get(name, -1.0) if run.best is not None else -2.0

    return text, key


def started(seconds: float | None) -> str:
    """Return when a run began, in the time of this machine.

    Examples
    --------
    >>> started(None)
    ''
    """
    try:
        return time.strftime("%d %b %H:%M", time.localtime(seconds)) if seconds is not None else ""
    except (OverflowError, ValueError, OSError):
        return ""


COLUMNS = (
    Column("run", "Its folder; tick it to see its curves beside those of the watched run",
           lambda run: printable(run.name), lambda run: run.name.casefold(), False),
    Column("state", "How it stands", lambda run: _STATES[run.state.state],
           lambda run: _ORDER.index(run.state.state), False),
    Column("step", "Steps that are done", _step, lambda run: run.state.step),
    Column("AP", "Best AP of its evaluations, %", *_stat("AP")),
    Column("AP50", "AP50 of that evaluation, %", *_stat("AP50")),
    Column("loss", "Loss of the last step that was logged", lambda run: "" if run.loss is None else figure(run.loss),
           lambda run: math.inf if run.loss is None else run.loss),
    Column("took", "From its first start to its last word",
           lambda run: "" if run.seconds is None else duration(run.seconds), lambda run: run.seconds or 0.0),
    Column("started", "When it was started first", lambda run: started(run.began), lambda run: run.began or 0.0),
    Column("device", "What it is trained on", lambda run: run.device, lambda run: run.device, False),
)  # fmt: skip


class RunsModel(QAbstractTableModel):
    """The runs of a folder.

    Signals
    -------
    ticked (Path, bool)
        A run was ticked, or no longer is.
    """

    ticked = Signal(object, bool)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self.runs: tuple[RunSummary, ...] = ()
        self._compared: frozenset[Path] = frozenset()
        self._watched: Path | None = None
        self._icons: dict[State, QIcon] = {}

    def show_runs(self, runs: tuple[RunSummary, ...]) -> None:
        """Show these; rows that are the same runs as before stay where they are."""
        before, is_same = self.runs, [run.path for run in runs] == [run.path for run in self.runs]
        if not is_same:
            self.beginResetModel()
            self.runs = runs
            self.endResetModel()
            return
        self.runs = runs
        for row, (old, new) in enumerate(zip(before, runs, strict=True)):
            if old != new:
                self.dataChanged.emit(self.index(row, 0), self.index(row, len(COLUMNS) - 1))

    def show_marks(self, watched: Path | None, compared: Sequence[Path]) -> None:
        """Show which run is watched, and which are compared with it."""
        self._watched, self._compared = watched, frozenset(compared)
        if self.runs:
            self.dataChanged.emit(self.index(0, 0), self.index(len(self.runs) - 1, 0))

    # What Qt asks.

    def rowCount(self, parent: QModelIndex | None = None) -> int:  # Qt's name
        """Return how many runs there are."""
        return 0 if parent is not None and parent.isValid() else len(self.runs)

    def columnCount(self, parent: QModelIndex | None = None) -> int:  # Qt's name
        """Return how many columns there are."""
        return 0 if parent is not None and parent.isValid() else len(COLUMNS)

    def flags(self, index: QModelIndex) -> Any:
        """Return what can be done with a cell."""
        flags = super().flags(index)
        return flags | Qt.ItemFlag.ItemIsUserCheckable if index.column() == 0 else flags

    def headerData(self, section: int, orientation: Any, role: int = Qt.ItemDataRole.DisplayRole) -> Any:  # Qt's name
        """Return what a heading says."""
        if orientation != Qt.Orientation.Horizontal:
            return None
        column = COLUMNS[section]
        if role == Qt.ItemDataRole.DisplayRole:
            return column.name
        if role == Qt.ItemDataRole.ToolTipRole:
            return column.tip
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return _side(column)
        return None

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return what a cell shows."""
        run, column = self.runs[index.row()], COLUMNS[index.column()]
        if role == Qt.ItemDataRole.DisplayRole:
            return column.text(run)
        if role == SORT_ROLE:
            return column.key(run)
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return _side(column)
        if role == Qt.ItemDataRole.ToolTipRole:
            return plain(describe_run(run))
        if role == Qt.ItemDataRole.DecorationRole and column.name == "state":
            return self._icon(run.state.state)
        if role == Qt.ItemDataRole.FontRole and run.path == self._watched:
            font = QFont()
            font.setBold(True)
            return font
        if role == Qt.ItemDataRole.CheckStateRole and index.column() == 0:
            return Qt.CheckState.Checked if run.path in self._compared else Qt.CheckState.Unchecked
        return None

    def setData(self, index: QModelIndex, value: Any, role: int = Qt.ItemDataRole.EditRole) -> bool:  # Qt's name
        """Tick a run, or no longer."""
        if role != Qt.ItemDataRole.CheckStateRole or index.column() != 0:
            return False
        self.ticked.emit(self.runs[index.row()].path, Qt.CheckState(value) == Qt.CheckState.Checked)
        return True

    def _icon(self, state: State) -> QIcon:
        if state not in self._icons:
            picture = QPixmap(_ICON, _ICON)
            picture.fill(Qt.GlobalColor.transparent)
            painter = QPainter(picture)
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(*COLOURS[state]))
            painter.drawEllipse(QRectF(1, 1, _ICON - 2, _ICON - 2))
            painter.end()
            self._icons[state] = QIcon(picture)
        return self._icons[state]


def describe_run(run: RunSummary) -> str:
    """Say more of a run than its row does, a line each."""
    lines = [str(run.path)]
    word = WORDS[run.state.state]
    lines.append(f"{word}: {run.state.reason}" if run.state.reason else word)
    if run.best is not None:
        lines.append(f"best AP {percent(run.best.stats.get('AP'))} at step {run.best.step:,}")
    if run.clips is not None:
        lines.append(f"{run.clips:,} clips of {run.dataset}")
    if run.changes:
        lines.append(f"other than most: {', '.join(run.changes)}")
    if run.problem:
        lines.append(run.problem)
    return "\n".join(printable(line) for line in lines)


def _side(column: Column) -> int:
    side = Qt.AlignmentFlag.AlignRight if column.is_number else Qt.AlignmentFlag.AlignLeft
    return int(side | Qt.AlignmentFlag.AlignVCenter)
