"""Makes layers one by one, so that the window goes on living between them."""

from __future__ import annotations

from qtpy.QtCore import QObject, QTimer, Signal

from flowcut_napari.core.parameters import CutParameters
from flowcut_napari.core.video import Video
from flowcut_napari.live.messages import Described
from flowcut_napari.viewer.layer_set import LayerSet


class LayerMaker(QObject):
    """Makes the layers that a description calls for, one in each turn of the event loop: each takes napari 100 ms.

    Signals
    -------
    made (str)
        The layer of a role is there.
    finished
        So are all.
    """

    made = Signal(str)
    finished = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._layers: LayerSet | None = None
        self._roles: list[str] = []
        self._sizes = (0, 0), (0, 0)
        self._timer = QTimer(self)
        self._timer.setInterval(0)
        self._timer.timeout.connect(self._make_next)

    def want(self, layers: LayerSet, video: Video, parameters: CutParameters, described: Described) -> None:
        """Make the layers that are not there yet, and those whose pictures have another size now."""
        size = parameters.frame_size(video.height, video.width)
        has_flow = parameters.uses_flow and described.partner is not None
        self._layers, self._sizes = layers, (size, described.grid)
        self._roles = layers.missing(size, described.grid, parameters.max_instances, has_flow)
        if self._roles:
            self._timer.start()

    def stop(self) -> None:
        """Make no more."""
        self._timer.stop()
        self._roles.clear()
        self._layers = None

    def _make_next(self) -> None:
        if not self._roles or self._layers is None:
            self._timer.stop()
            self.finished.emit()
            return
        role = self._roles.pop(0)
        self._layers.make(role, *self._sizes)
        self.made.emit(role)
