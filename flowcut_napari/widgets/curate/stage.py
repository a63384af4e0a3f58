"""The match view in the canvas: shown and fitted, and what lay there before put away meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from qtpy.QtCore import QObject, QTimer

from flowcut_napari.core.video import Video
from flowcut_napari.viewer.lazy_arrays import LazyFrames
from flowcut_napari.viewer.match_layers import MatchLayers
from flowcut_napari.viewer.pair_view import Arrangement, PairView, arrangement_for
from flowcut_napari.widgets.workbench import Workbench

_ZOOM_MILLISECONDS = 120


class Stage(QObject):
    """Where a pair is shown.

    Parameters
    ----------
    bench : Workbench
    view : PairView
        What is shown.
    """

    def __init__(self, bench: Workbench, view: PairView, parent: QObject) -> None:
        super().__init__(parent)
        self._bench = bench
        self._view = view
        self.layers: MatchLayers | None = None
        # Whether it is to be shown as soon as there are masks.
        self.is_wanted = False
        self._hidden: list[Any] = []
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_ZOOM_MILLISECONDS)  # a wheel that turns zooms many times
        self._timer.timeout.connect(self._draw_finely)
        bench.layers_changed.connect(self._on_layers)

    def show(self, on_paint: Callable[[dict[int, np.ndarray]], None]) -> None:
        """Show frames side by side with what matches; again where layers were deleted."""
        bench = self._bench
        frames = bench.layers["frames"] if bench.layers is not None else None
        if bench.video is None or frames is None or not isinstance(frames.data, LazyFrames):
            return
        if self.layers is None:
            arrangement = self._arrangement(bench.video)
            self.layers = MatchLayers(bench.viewer, bench.video, frames.data, self._view, arrangement, on_paint)
        was_shown = self.layers.is_shown
        self.layers.show()
        if not was_shown:
            self._hide_others()
            self.fit()
            bench.viewer.camera.events.zoom.connect(self._on_zoom)

    def fit(self) -> None:
        """Bring both frames into sight, as large as the canvas allows."""
        bench = self._bench
        if self.layers is None or bench.is_shut or bench.video is None or not bench.desk.has_viewer:
            return
        self.layers.arrange(self._arrangement(bench.video).stacked)
        bench.viewer.reset_view()
        self._draw_finely()

    def close(self) -> None:
        """Take the layers away, and show again what they hid."""
        layers, self.layers = self.layers, None
        if layers is None:
            return
        self._timer.stop()
        if self._bench.desk.has_viewer:
            self._bench.viewer.camera.events.zoom.disconnect(self._on_zoom)
        layers.hide()
        for layer in self._hidden:
            layer.visible = True
        self._hidden.clear()
        if not self._bench.is_shut and self._bench.desk.has_viewer:
            self._bench.viewer.reset_view()

    def let_go(self) -> None:
        """Forget the layers of a window that is being torn down."""
        self.layers = None

    def refresh(self, frame: int, *, painted: bool = False) -> None:
        """Draw what has changed; see `MatchLayers.refresh`."""
        if self.layers is not None:
            self.layers.refresh(frame, painted=painted)

    def _arrangement(self, video: Video) -> Arrangement:
        rows, columns = self._bench.viewer.canvas.size
        return arrangement_for((video.height, video.width), (int(rows), int(columns)))

    def _on_zoom(self, event: Any = None) -> None:
        self._timer.start()

    def _draw_finely(self) -> None:
        """Draw matches in the resolution of the canvas, so that letters are as large as any."""
        if self.layers is not None and self._bench.desk.has_viewer:
            self.layers.draw_for(float(self._bench.viewer.camera.zoom))

    def _hide_others(self) -> None:
        """Hide what would lie over the objects: masks, cuts and pictures of the tabs for making masks."""
        found = self._bench.layers
        for role in found.roles() if found is not None else []:
            layer = found[role] if found is not None else None
            if role != "frames" and layer is not None and layer.visible:
                layer.visible = False
                self._hidden.append(layer)

    def _on_layers(self) -> None:
        # Layers of a frame that was just described are made later than ours.
        if self.layers is not None and self.layers.is_shown and not self._bench.is_shut:
            self._hide_others()
