"""The Runs tab: all training runs of a folder, to be watched, compared, resumed and predicted with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qtpy.QtCore import QModelIndex, QPoint, QSortFilterProxyModel, Qt, QUrl
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import (
    QAbstractItemView,
    QFileDialog,
    QHBoxLayout,
    QHeaderView,
    QLineEdit,
    QMenu,
    QPushButton,
    QTableView,
    QVBoxLayout,
    QWidget,
)

from flowcut_napari.core.cache import expand_home
from flowcut_napari.core.errors import printable
from flowcut_napari.core.run_list import RunSummary
from flowcut_napari.widgets.notices import plain, text_label
from flowcut_napari.widgets.runs.controller import runs_of
from flowcut_napari.widgets.runs.table import COLUMNS, SORT_ROLE, RunsModel, describe_run
from flowcut_napari.widgets.workbench import Workbench

# As far as the loss without scrolling, at the width that the panel has.
_WIDTHS = {"run": 117, "state": 78, "step": 44, "AP": 40, "AP50": 46, "loss": 50, "took": 92, "started": 96}
_LEAST_HEIGHT = 240


class RunsTab(QWidget):
    """Lists runs; a double click watches one."""

    def __init__(self, bench: Workbench, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.controller = runs_of(bench)
        self.training = self.controller.training
        self._is_counted = False
        self._make_controls()
        first = QHBoxLayout()
        first.addWidget(self.folder, 1)
        first.addWidget(self.browse)
        buttons = QHBoxLayout()
        for button in (self.watch, self.resume, self.predict, self.open_folder):
            buttons.addWidget(button, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 8, 8, 8)
        layout.setSpacing(6)
        layout.addLayout(first)
        layout.addWidget(self.said)
        layout.addWidget(self.table, 1)
        layout.addLayout(buttons)
        layout.addWidget(self.details)
        self.controller.changed.connect(self.show_runs)
        self.controller.folder_changed.connect(self.show_folder)
        self.training.compared_changed.connect(self.show_marks)
        self.training.run_changed.connect(self.show_marks)
        self.show_folder()
        self.show_runs()

    def _make_controls(self) -> None:
        self.folder = QLineEdit()
        self.folder.setObjectName("runs folder")
        self.folder.setPlaceholderText("a folder of runs")
        self.folder.setToolTip("Runs are looked for in this folder, and two levels below it")
        self.folder.editingFinished.connect(self._take_folder)
        self.browse = _button("browse_runs", "…", "Choose the folder")
        self.browse.clicked.connect(self._browse)
        self.said = text_label("runs said", faint=True)
        self.model = RunsModel(self)
        self.model.ticked.connect(self._tick)
        self.sorted = QSortFilterProxyModel(self)
        self.sorted.setSourceModel(self.model)
        self.sorted.setSortRole(SORT_ROLE)
        self.table = QTableView()
        self.table.setObjectName("runs")
        self.table.setAccessibleName("Runs")
        self.table.setModel(self.sorted)
        self.table.setMinimumHeight(_LEAST_HEIGHT)
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.table.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.table.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.table.setWordWrap(False)
        self.table.setShowGrid(False)
        self.table.setSortingEnabled(True)
        self.table.sortByColumn(0, Qt.SortOrder.AscendingOrder)
        self.table.verticalHeader().hide()
        self.table.verticalHeader().setDefaultSectionSize(self.fontMetrics().height() + 8)
        header = self.table.horizontalHeader()
        header.setHighlightSections(False)
        header.setMinimumSectionSize(30)
        header.setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
        header.setStretchLastSection(True)
        for place, column in enumerate(COLUMNS[:-1]):
            self.table.setColumnWidth(place, _WIDTHS[column.name])
        self.table.doubleClicked.connect(self._on_double_click)
        self.table.selectionModel().selectionChanged.connect(self._show_details)
        self.sorted.modelReset.connect(self._show_details)
        self.sorted.dataChanged.connect(self._show_details)
        self.table.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.table.customContextMenuRequested.connect(self._show_menu)
        self.watch = _button("watch_run", "Watch", "See its curves and what it sees")
        self.watch.clicked.connect(self._watch)
        self.resume = _button("resume_this_run", "Resume", "Go on from its last checkpoint")
        self.resume.clicked.connect(self._resume)
        self.predict = _button("predict_with_run", "Predict", "See what its model predicts for a video")
        self.predict.clicked.connect(self._predict)
        self.open_folder = _button("open_this_run", "Folder", "Show it in the system's file browser")
        self.open_folder.clicked.connect(self._open_folder)
        self.details = text_label("run details", faint=True)

    # Qt's events.

    def showEvent(self, event: Any) -> None:  # Qt's name
        """Look again and again while somebody looks."""
        super().showEvent(event)
        self._count(True)

    def hideEvent(self, event: Any) -> None:  # Qt's name
        """Look no more."""
        super().hideEvent(event)
        self._count(False)

    def _count(self, is_seen: bool) -> None:
        if is_seen != self._is_counted:
            self._is_counted = is_seen
            self.controller.set_seen(is_seen)

    # What is shown.

    @property
    def chosen(self) -> RunSummary | None:
        """The run whose row is chosen."""
        rows = self.table.selectionModel().selectedRows()
        return self.model.runs[self.sorted.mapToSource(rows[0]).row()] if rows else None

    def choose(self, path: Path) -> None:
        """Choose the row of a run."""
        for row, run in enumerate(self.model.runs):
            if run.path == path:
                self.table.selectRow(self.sorted.mapFromSource(self.model.index(row, 0)).row())

    def show_folder(self) -> None:
        """Show which folder is looked through."""
        text = str(self.controller.folder) if self.controller.folder is not None else ""
        if self.folder.text() != text:
            self.folder.setText(text)
            self.folder.setCursorPosition(0)
        self.folder.setToolTip(plain(f"Runs are looked for in this folder, and two levels below it\n{text}"))

    def show_runs(self) -> None:
        """Show the runs of the folder; the one that was chosen stays so."""
        chosen = self.chosen
        self.model.show_runs(self.controller.runs)
        if chosen is not None and self.chosen is None:
            self.choose(chosen.path)
        self.show_marks()
        text = self._summary()
        self.said.setText(text)
        self.said.setVisible(bool(text))
        self._show_details()

    def show_marks(self) -> None:
        """Show which runs are watched and compared."""
        self.model.show_marks(self.training.run, self.training.compared)
        # Before anything was chosen, the one that is watched: the buttons are not all grey then.
        if self.chosen is None and self.training.run is not None:
            self.choose(self.training.run)

    def _summary(self) -> str:
        controller = self.controller
        if controller.folder is None:
            return "Choose a folder in which runs are."
        if controller.problem:
            return printable(controller.problem)
        if controller.is_looking:
            return "looking for runs …"
        hint = " · tick those whose curves Watch compares" if len(controller.runs) > 1 else ""
        return f"{describe_runs(controller.runs)}{hint}"

    def _show_details(self, *_: object) -> None:
        run = self.chosen
        for button in (self.watch, self.open_folder):
            button.setEnabled(run is not None)
        self.resume.setEnabled(run is not None and run.state.can_go_on)
        self.predict.setEnabled(run is not None and run.state.resumes_from is not None)
        text = describe_run(run) if run is not None else ""
        self.details.setText(text)
        self.details.setVisible(bool(text))

    # What the controls do.

    def _take_folder(self) -> None:
        if text := self.folder.text().strip():
            folder = expand_home(text)
            if folder != self.controller.folder:
                self.controller.set_folder(folder)
        else:
            self.show_folder()

    def _browse(self) -> None:
        if chosen := QFileDialog.getExistingDirectory(self, "Folder of runs", self.folder.text()):
            self.controller.set_folder(Path(chosen))

    def _tick(self, path: Path, is_on: bool) -> None:
        others = [run for run in self.training.compared if run != path]
        self.training.compare([*others, path] if is_on else others)

    def _on_double_click(self, index: QModelIndex) -> None:
        self.table.selectRow(index.row())
        self._watch()

    def _watch(self) -> None:
        if (run := self.chosen) is not None:
            self.training.watch(run.path, show=True)

    def _resume(self) -> None:
        if (run := self.chosen) is not None:
            self.training.resume_wanted.emit(run.path)

    def _predict(self) -> None:
        if (run := self.chosen) is not None:
            self.training.watch(run.path)
            self.training.tab_wanted.emit("Predict")

    def _open_folder(self) -> None:
        if (run := self.chosen) is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(run.path)))

    def menu_at(self, point: QPoint) -> QMenu | None:
        """Return what can be done with the run at a point of the table."""
        index = self.table.indexAt(point)
        if not index.isValid():
            return None
        self.table.selectRow(index.row())
        menu = QMenu(self)
        for button in (self.watch, self.resume, self.predict, self.open_folder):
            action = menu.addAction(button.text())
            action.setEnabled(button.isEnabled())
            action.triggered.connect(button.click)
        return menu

    def _show_menu(self, point: QPoint) -> None:
        if (menu := self.menu_at(point)) is not None:
            menu.exec(self.table.viewport().mapToGlobal(point))
            menu.deleteLater()


def describe_runs(runs: tuple[RunSummary, ...]) -> str:
    """Say in a line how runs stand.

    Examples
    --------
    >>> describe_runs(())
    'no runs here, nor two levels below'
    """
    if not runs:
        return "no runs here, nor two levels below"
    at_work = sum(run.state.is_at_work for run in runs)
    text = f"{len(runs):,} run{'s' if len(runs) > 1 else ''}"
    return f"{text}, {at_work} at work" if at_work else text


def _button(name: str, text: str, tip: str) -> QPushButton:
    button = QPushButton(text)
    button.setObjectName(name)
    button.setToolTip(tip)
    return button
