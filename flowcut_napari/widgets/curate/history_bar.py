"""Below the tabs of the Curate page: undo, redo, and whether all is saved."""

from __future__ import annotations

from qtpy.QtWidgets import QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from flowcut_napari.core.errors import printable
from flowcut_napari.widgets.curate.buttons import ActionButton, Refresher, label
from flowcut_napari.widgets.curate.desk import CurationDesk
from flowcut_napari.widgets.notices import plain


class HistoryBar(QWidget):
    """Undo and redo with what they would undo, and what became of the last autosave."""

    def __init__(self, desk: CurationDesk, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._desk = desk
        self.undo, self.redo = ActionButton("undo", desk), ActionButton("redo", desk, "Redo")
        steps = QHBoxLayout()
        steps.setSpacing(4)
        steps.addWidget(self.undo, 4)
        steps.addWidget(self.redo, 1)
        self.saved = label("saved")
        self.keep = self._button("keep_mine", "Keep mine", "Put these masks in the place of the other program's")
        self.take = self._button("take_theirs", "Take theirs", "Go on from what the other program wrote")
        self.retry = self._button("retry_save", "Try again", "Save once more")
        self.keep.clicked.connect(self._keep_mine)
        self.take.clicked.connect(desk.take_theirs)
        self.retry.clicked.connect(self._retry)
        ways = QHBoxLayout()
        for button in (self.keep, self.take, self.retry):
            ways.addWidget(button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addLayout(steps)
        layout.addWidget(self.saved)
        layout.addLayout(ways)
        self._refresher = Refresher(self)
        self._refresher.timeout.connect(self.refresh)
        desk.changed.connect(self._refresher.soon)
        desk.saved_changed.connect(self._refresher.soon)
        self.refresh()

    def refresh(self) -> None:
        """Show what can be undone, and whether all is on disk."""
        self.undo.refresh()
        self.redo.refresh()
        state = self._desk.save_state
        self.keep.setVisible(state.kind == "conflict")
        self.take.setVisible(state.kind == "conflict")
        self.retry.setVisible(state.kind == "failed")
        text = self._text()
        self.saved.setText(text)
        self.saved.setToolTip(plain(text))
        self.saved.setVisible(bool(text))

    def _text(self) -> str:
        desk = self._desk
        if desk.document is None or desk.path is None:
            return ""
        state = desk.save_state
        if state.kind == "saved":
            return f"All saved in {desk.path.name}" + (f"; {printable(state.text)}" if state.text else "")
        if state.kind == "saving":
            return f"Saving {desk.path.name} …"
        kept = f" Your work is kept in {state.kept_at}." if state.kept_at else ""
        return f"Not saved: {printable(state.text)}.{kept}"

    def _button(self, name: str, word: str, tip: str) -> QPushButton:
        button = QPushButton(word)
        button.setObjectName(name)
        button.setToolTip(f"{tip}; nothing is lost, what is given up is kept in a folder")
        return button

    def _keep_mine(self) -> None:
        if self._desk.document is not None:
            self._desk.document.file.overwrite()

    def _retry(self) -> None:
        if self._desk.document is not None:
            self._desk.document.file.retry()
