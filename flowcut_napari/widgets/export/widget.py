"""The Export tab: counts of what a dataset would hold, and the dataset."""

from __future__ import annotations

from qtpy.QtWidgets import QWidget

from flowcut_napari.widgets.workbench import Workbench


class ExportTab(QWidget):
    """Makes a dataset of the masks that are at hand, as ``flowcut curate`` does."""

    def __init__(self, bench: Workbench, parent: QWidget | None = None) -> None:
        super().__init__(parent)
