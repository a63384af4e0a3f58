"""The Browse tab: the clips of a dataset, one after the other."""

from __future__ import annotations

from qtpy.QtWidgets import QWidget

from flowcut_napari.widgets.workbench import Workbench


class BrowseTab(QWidget):
    """Shows the clips of a dataset in the canvas."""

    def __init__(self, bench: Workbench, parent: QWidget | None = None) -> None:
        super().__init__(parent)
