"""Below the tabs of the Curate page: undo and redo, and whether all is saved."""

from __future__ import annotations

from qtpy.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from flowcut_napari.widgets.curate.buttons import ActionButton, Refresher
from flowcut_napari.widgets.curate.desk import CurationDesk
from flowcut_napari.widgets.curate.save_bar import SaveBar


class HistoryBar(QWidget):
    """Undo and redo with what they would undo, and what became of the last autosave."""

    def __init__(self, desk: CurationDesk, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.undo, self.redo = ActionButton("undo", desk), ActionButton("redo", desk, "Redo")
        self.saving = SaveBar(desk)
        steps = QHBoxLayout()
        steps.setSpacing(4)
        steps.addWidget(self.undo, 4)
        steps.addWidget(self.redo, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addLayout(steps)
        layout.addWidget(self.saving)
        self._refresher = Refresher(self)
        self._refresher.timeout.connect(self.refresh)
        desk.changed.connect(self._refresher.soon)
        self.refresh()

    def refresh(self) -> None:
        """Show what can be undone."""
        self.undo.refresh()
        self.redo.refresh()
