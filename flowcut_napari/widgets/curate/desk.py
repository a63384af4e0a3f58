"""The masks of the video that is looked at, as a person changes them: one document, its history, and its file."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import QObject, Signal

from flowcut_napari.core.parameters import CurationParameters
from flowcut_napari.core.store import VideoMasks
from flowcut_napari.widgets.workbench import Workbench


def curation_of(bench: Workbench) -> CurationDesk:
    """Return the curation desk of a workbench, the same every time: it outlives panels."""
    found = bench.findChild(CurationDesk)
    return found if found is not None else CurationDesk(bench)


class CurationDesk(QObject):
    """Holds the document and does all actions on it.

    Signals
    -------
    changed
        The masks or the decisions are others, or there are none.
    parameters_changed
        Gaps, threshold or method.
    saved_changed
        Whether all is on disk.
    """

    changed = Signal()
    parameters_changed = Signal()
    saved_changed = Signal()

    def __init__(self, bench: Workbench) -> None:
        super().__init__(bench)
        self._bench = bench
        self.masks: VideoMasks | None = None
        self.path: Path | None = None
        self.parameters = CurationParameters()

    def set_parameters(self, parameters: CurationParameters) -> None:
        """Match with other parameters from now on."""
        if parameters != self.parameters:
            self.parameters = parameters
            self.parameters_changed.emit()

    def flush(self) -> bool:
        """Wait until all is on disk; return whether it is."""
        return True
