"""The versions of a masks file that were kept when another one took their place."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from qtpy.QtCore import QUrl, Signal
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import (
    QAbstractItemView,
    QDialog,
    QHBoxLayout,
    QHeaderView,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from flowcut_napari.core.errors import printable
from flowcut_napari.core.recovery import Kind, RecoveryItem, recovery_folder
from flowcut_napari.widgets.notices import plain, text_label

REASONS: dict[Kind, str] = {
    "replaced": "was in the file before another version took its place",
    "put aside": "yours, before the other program's was taken",
    "unsaved": "could not be saved in its place",
}


class KeptDialog(QDialog):
    """Lists kept versions, the newest first, and lets one of them be put back.

    Parameters
    ----------
    path : Path
        The masks file that they are versions of.
    items : sequence of RecoveryItem
        One or more.
    parent : QWidget, optional

    Signals
    -------
    restore_wanted (RecoveryItem)
        This one is to take the place of what is in the file now. The dialog is closed.
    """

    restore_wanted = Signal(object)

    def __init__(self, path: Path, items: Sequence[RecoveryItem], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("kept versions")
        self.setWindowTitle("Kept versions of the masks")
        self._items = list(items)
        where = text_label("kept_where")
        where.setText(
            printable(
                f"Versions of {path}, kept in {recovery_folder()}. What is restored takes the place of the file as "
                "it is now, which is kept there in turn."
            )
        )
        self.table = self._make_table()
        self.restore = _button("restore_kept", "Restore", "Put this version into the masks file, and open it")
        self.folder = _button("open_kept_folder", "Open folder", f"Show the files of all of them: {recovery_folder()}")
        close = _button("close_kept", "Close", "Leave everything as it is")
        self.restore.setDefault(True)
        self.restore.clicked.connect(self._restore)
        self.folder.clicked.connect(self._open_folder)
        self.table.itemDoubleClicked.connect(self._restore)
        close.clicked.connect(self.reject)
        row = QHBoxLayout()
        row.addWidget(self.folder)
        row.addStretch(1)
        for button in (close, self.restore):
            button.setMinimumWidth(80)
        row.addWidget(close)
        row.addWidget(self.restore)
        layout = QVBoxLayout(self)
        layout.addWidget(where)
        layout.addWidget(self.table, 1)
        layout.addLayout(row)
        self.resize(560, 300)

    def _make_table(self) -> QTableWidget:
        table = QTableWidget(len(self._items), 2)
        table.setObjectName("kept_table")
        table.setToolTip("When each version was kept, in local time, and why")
        table.setHorizontalHeaderLabels(["Kept on", "What it is"])
        table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        table.setTabKeyNavigation(False)
        table.verticalHeader().hide()
        for row, item in enumerate(self._items):
            for column, text in enumerate((f"{item.at.astimezone():%Y-%m-%d %H:%M:%S}", REASONS[item.kind])):
                cell = QTableWidgetItem(text)
                cell.setToolTip(plain(str(item.copy)))
                table.setItem(row, column, cell)
        header = table.horizontalHeader()
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(1, QHeaderView.ResizeMode.Stretch)
        table.selectRow(0)
        return table

    def _restore(self, *_: object) -> None:
        row = self.table.currentRow()
        if 0 <= row < len(self._items):
            self.accept()
            self.restore_wanted.emit(self._items[row])

    def _open_folder(self) -> None:
        QDesktopServices.openUrl(QUrl.fromLocalFile(str(recovery_folder())))


def _button(name: str, word: str, tip: str) -> QPushButton:
    button = QPushButton(word)
    button.setObjectName(name)
    button.setToolTip(plain(tip))
    button.setAutoDefault(False)
    return button
