"""What became of the last autosave, and the ways out where it could not be done."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from flowcut_napari.core.errors import printable
from flowcut_napari.widgets.curate.buttons import Refresher
from flowcut_napari.widgets.curate.desk import CurationDesk
from flowcut_napari.widgets.notices import plain, text_label


class SaveBar(QWidget):
    """One line, and buttons while something is wrong.

    Parameters
    ----------
    desk : CurationDesk
    only_trouble : bool
        Whether it is hidden while all is saved.

    Signals
    -------
    elsewhere_wanted
        Somebody wants to save in another folder.
    kept_wanted
        Somebody wants to see what was kept of earlier versions.
    """

    elsewhere_wanted = Signal()
    kept_wanted = Signal()

    def __init__(self, desk: CurationDesk, *, only_trouble: bool = False, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._desk = desk
        self._only_trouble = only_trouble
        self.saved = text_label("saved")
        self.keep = _button(
            "keep_mine", "Keep mine", "Put these masks in the place of the other program's; those are kept"
        )
        self.take = _button("take_theirs", "Take theirs", "Go on from what the other program wrote; yours are kept")
        self.retry = _button("retry_save", "Try again", "Save once more")
        self.elsewhere = _button("save_elsewhere", "Save elsewhere…", "Save in another folder from now on")
        self.kept = _button("kept_versions", "Kept versions…", "See what was kept of these masks, and put it back")
        self.keep.clicked.connect(self._keep_mine)
        self.take.clicked.connect(desk.take_theirs)
        self.retry.clicked.connect(self._retry)
        self.elsewhere.clicked.connect(self.elsewhere_wanted)
        self.kept.clicked.connect(self.kept_wanted)
        ways = QHBoxLayout()
        ways.setSpacing(4)
        for button in (self.keep, self.take, self.retry, self.elsewhere, self.kept):
            ways.addWidget(button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self.saved)
        layout.addLayout(ways)
        self._refresher = Refresher(self)
        self._refresher.timeout.connect(self.refresh)
        desk.changed.connect(self._refresher.soon)
        desk.saved_changed.connect(self._refresher.soon)
        self.refresh()

    def refresh(self) -> None:
        """Show whether all is on disk."""
        state = self._desk.save_state
        is_wrong = state.kind in ("conflict", "failed")
        self.keep.setVisible(state.kind == "conflict")
        self.take.setVisible(state.kind == "conflict")
        self.retry.setVisible(state.kind == "failed")
        self.elsewhere.setVisible(state.kind == "failed")
        self.kept.setVisible(is_wrong)
        text = self._text()
        self.saved.setText(text)
        self.saved.setToolTip(plain(text))
        self.setVisible(is_wrong if self._only_trouble else bool(text))

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

    def _keep_mine(self) -> None:
        if self._desk.document is not None:
            self._desk.document.file.overwrite()

    def _retry(self) -> None:
        if self._desk.document is not None:
            self._desk.document.file.retry()


def _button(name: str, word: str, tip: str) -> QPushButton:
    button = QPushButton(word)
    button.setObjectName(name)
    button.setToolTip(tip)
    return button
