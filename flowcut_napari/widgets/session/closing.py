"""Whether a window may close: it asks only if something cannot be saved, or is being trained."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QEvent, QObject
from qtpy.QtWidgets import QMessageBox, QWidget

from flowcut_napari.core.errors import printable
from flowcut_napari.core.masks_file import MasksFile, wait_for_all
from flowcut_napari.core.store import SUFFIX
from flowcut_napari.widgets.curate.desk import CurationDesk
from flowcut_napari.widgets.session.elsewhere import ask_place, save_elsewhere
from flowcut_napari.widgets.train.closing import may_let_go
from flowcut_napari.widgets.workbench import Workbench

# A disk takes milliseconds; longer than this for all files together is worth a question.
_SECONDS = 3.0


class CloseGuard(QObject):
    """Stands before the end of a main window."""

    def __init__(self, bench: Workbench) -> None:
        super().__init__(bench)
        self._bench = bench
        self.window: QWidget | None = None

    def watch(self, window: QWidget) -> None:
        """Ask before this window closes."""
        if window is not self.window:
            self.window = window
            window.installEventFilter(self)
            window.destroyed.connect(self._forget)

    def _forget(self) -> None:
        self.window = None

    def eventFilter(self, watched: Any, event: Any) -> bool:  # Qt's name
        """Keep the window open if the user wants that."""
        if event.type() == QEvent.Type.Close and watched is self.window and not self._bench.is_shut:
            # What is asked last can still be refused: then nothing was let go of.
            if all(self._may_let_go(file) for file in self._unsaved_files()) and may_let_go(self._bench, self.window):
                return False
            event.ignore()
            return True
        return False

    def unsaved(self) -> list[str]:
        """Return what cannot be saved, a line each."""
        return [file.state.text or f"{file.path}: is still being written" for file in self._unsaved_files()]

    def _unsaved_files(self) -> list[MasksFile]:
        desk = self._bench.findChild(CurationDesk)
        files = [document.file for document in desk.documents()] if desk is not None else []
        for file in files:
            if file.state.kind == "failed":
                file.retry()
        return wait_for_all(files, _SECONDS)

    def _may_let_go(self, file: MasksFile) -> bool:
        while file.state.kind != "saved":
            choice = self._ask(file)
            if choice != "elsewhere":
                return choice == "close"
            self._save_elsewhere(file)
        return True

    def _ask(self, file: MasksFile) -> str:
        state = file.state
        kept = (
            f"Your work is kept in {state.kept_at.parent} and offered again the next time."
            if state.kept_at is not None
            else "Your work is nowhere else and will be lost."
        )
        box = QMessageBox(self.window)
        box.setObjectName("close question")
        box.setIcon(QMessageBox.Icon.Warning)
        box.setText(printable(f"What you did to {file.path.name.removesuffix(SUFFIX)} is not saved."))
        box.setInformativeText(printable(f"{state.text or 'It is still being written'}. {kept}"))
        elsewhere = box.addButton("Save elsewhere…", QMessageBox.ButtonRole.AcceptRole)
        anyway = box.addButton("Close anyway", QMessageBox.ButtonRole.DestructiveRole)
        cancel = box.addButton(QMessageBox.StandardButton.Cancel)
        box.setDefaultButton(elsewhere)
        box.setEscapeButton(cancel)
        box.exec()
        return {elsewhere: "elsewhere", anyway: "close"}.get(box.clickedButton(), "cancel")

    def _save_elsewhere(self, file: MasksFile) -> None:
        """Ask for another place, and save there; if none is chosen, the question comes again."""
        target = ask_place(self.window, file.path)
        if target is not None:
            save_elsewhere(self._bench, file, target)
            file.wait(_SECONDS)


def with_suffix(path: str, suffix: str) -> str:
    """Return a path that a user typed with a suffix of ours.

    Examples
    --------
    >>> with_suffix("dog.json", ".masks.json")
    'dog.masks.json'
    """
    return path if path.endswith(suffix) else f"{path.removesuffix('.json')}{suffix}"
