"""Predictions over a video: blended with it, beside what they are compared with, or as differences."""

from __future__ import annotations

import math
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

from flowcut_napari.core.video import Video
from flowcut_napari.viewer import layer_styles as styles
from flowcut_napari.viewer.captions import draw_captions
from flowcut_napari.viewer.clip_layers import columns_for
from flowcut_napari.viewer.lazy_arrays import LazyFrames
from flowcut_napari.viewer.prediction_arrays import Differences, PredictionLabels, PredictionView, ReferenceLabels
from flowcut_napari.viewer.video_layers import KEY, layer_of, role_of

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

PREDICTIONS, DIFFERENCES = "predictions", "differences"
_FRAMES = {"pseudo-masks": "frame of pseudo-masks", "ground truth": "frame of ground truth"}
_CAPTIONS = "captions"
# The role of the outlines that an evaluation draws: they are compared with what is predicted.
_OUTLINES = "truth"
# From the bottom up.
ROLES = (*_FRAMES.values(), *_FRAMES, PREDICTIONS, DIFFERENCES, _CAPTIONS)
# Between frames: a share of the height of one; captions stand there.
_GAP = 0.11
# Of the canvas, filled by the frames.
_MARGIN = 0.97

_Captions = tuple[np.ndarray, tuple[float, float], tuple[float, float]]
_NO_CAPTIONS: _Captions = (np.zeros((1, 1, 4), np.uint8), (1.0, 1.0), (0.0, 0.0))


class PredictionLayers:
    """The layers of one video's predictions; other layers of ours are hidden meanwhile, and come back.

    Making one takes napari a moment, so they are made one by one: `missing` tells which, `make` makes it.

    Parameters
    ----------
    viewer : ViewerModel
    video : Video
        One whose frames have a layer.
    view : PredictionView
    """

    def __init__(self, viewer: ViewerModel, video: Video, view: PredictionView) -> None:
        self._viewer_of = weakref.ref(viewer)
        self.video = video
        self._view = view
        self._data: dict[str, Any] = {
            PREDICTIONS: PredictionLabels(view, video),
            DIFFERENCES: Differences(view, video),
            "pseudo-masks": ReferenceLabels(view, video, "pseudo-masks"),
            "ground truth": ReferenceLabels(view, video, "ground truth"),
        }
        self._layers: dict[str, Layer] = {}
        self._deleted: set[str] = set()
        self._shown: dict[str, Any] = {}
        self._hidden: list[weakref.ref[Layer]] = []
        self._unhidden: list[weakref.ref[Layer]] = []
        self._selected: list[weakref.ref[Layer]] = []
        self._is_changing = False
        self.panels: tuple[str, ...] = ()
        self._begin(viewer)

    def __getitem__(self, role: str) -> Layer | None:
        return self._layers.get(role)

    @property
    def deleted(self) -> set[str]:
        """The roles whose layers the user deleted; `restore` brings them back."""
        return set(self._deleted)

    def restore(self) -> None:
        """Forget what the user deleted, so that it is made again."""
        self._deleted.clear()

    def missing(self) -> list[str]:
        """Return the roles that have no layer yet where the view shows one, and which the user did not delete."""
        return [role for role in ROLES if role in self._wanted() and role not in {*self._layers, *self._deleted}]

    def make(self, role: str) -> None:
        """Make the layer of a role."""
        viewer = self._viewer_of()
        if viewer is None or role in self._layers:
            return
        layer = self._add(viewer, role)
        if layer is None:
            return
        self._layers[role] = layer
        above = [
            viewer.layers.index(other)
            for name, other in self._layers.items()
            if ROLES.index(name) > ROLES.index(role) and other in viewer.layers
        ]
        if above:
            viewer.layers.move(viewer.layers.index(layer), min(above))
        held = self._layers.get(DIFFERENCES if self._view.mode == "differences" else PREDICTIONS)
        if held is not None:
            viewer.layers.selection = {held}

    def arrange(self) -> bool:
        """Show, hide and move the layers that are there as the view says; return whether other frames are seen now."""
        viewer = self._viewer_of()
        if viewer is None:
            return False
        wanted = self._wanted()
        for role, layer in list(self._layers.items()):
            if role in wanted:
                place = self._place_of(role)
                if place is not None and tuple(layer.translate) != place:
                    layer.translate = place
                if not layer.visible:
                    layer.visible = True
            elif layer.visible:
                # To take layers away takes napari much longer. It fits the view to what is hidden, too, so that lies
                # where the frame is.
                layer.visible = False
                if role == _CAPTIONS:
                    _draw(layer, *_NO_CAPTIONS)
                elif any(layer.translate):
                    layer.translate = (0.0, 0.0, 0.0)
        panels = self._panels()
        has_changed, self.panels = panels != self.panels, panels
        captions = self._layers.get(_CAPTIONS)
        if has_changed and captions is not None and _CAPTIONS in wanted:
            _draw(captions, *self._captions(self._zoom))
        return has_changed

    def fit(self) -> None:
        """Bring all frames into sight, as large as the canvas allows; their layers need not be there yet."""
        viewer = self._viewer_of()
        if viewer is None:
            return
        # napari's own way counts what is hidden, and knows nothing of what is still to come.
        top, height, width = self._bounds
        viewer.scene.camera.center = (0.0, (top + height - 1) / 2, (width - 1) / 2)
        viewer.scene.camera.zoom = self._zoom

    def refresh(self) -> None:
        """Draw what has changed, and bring the table of the predictions up to date."""
        for role, data in self._data.items():
            layer = self._layers.get(role)
            about = data.about()
            if layer is None or self._shown.get(role) == about:
                continue
            self._shown[role] = about
            if role == PREDICTIONS:
                layer.features = track_features(self._view)
            layer.refresh(extent=False)

    def highlight(self, label: int) -> None:
        """Show one track alone; 0 for all."""
        layer = self._layers.get(PREDICTIONS)
        if layer is not None:
            if label:
                layer.selected_label = label
            layer.show_selected_label = bool(label)

    def close(self, *, has_moved_on: bool = False) -> None:
        """Take all layers away, and show again what they hid.

        Parameters
        ----------
        has_moved_on : bool
            Whether another video is looked at now: which frames are seen is then no matter of before.
        """
        viewer = self._viewer_of()
        if viewer is None:
            self._layers.clear()
            return
        viewer.layers.events.removed.disconnect(self._on_removed)
        viewer.layers.events.inserted.disconnect(self._on_inserted)
        for role in list(self._layers):
            self._remove(viewer, role)
        for layer in _alive(self._hidden, viewer):
            if not (has_moved_on and role_of(layer) == "frames"):
                layer.visible = True
        for layer in _alive(self._unhidden, viewer):
            layer.visible = False
        if selected := _alive(self._selected, viewer):
            viewer.layers.selection = set(selected)
        self._hidden, self._unhidden, self._selected = [], [], []

    # What is seen where.

    def _panels(self) -> tuple[str, ...]:
        """Return what has a frame of its own: predictions on the video itself, and what lies beside it."""
        if self._view.mode != "beside":
            return (DIFFERENCES if self._view.mode == "differences" else PREDICTIONS,)
        found = {"pseudo-masks": self._view.pseudo, "ground truth": self._view.truth}
        return (PREDICTIONS, *(kind for kind, masks in found.items() if masks is not None))

    def _wanted(self) -> set[str]:
        panels = self._panels()
        if len(panels) == 1:
            return set(panels)
        return {*panels, *(_FRAMES[kind] for kind in panels[1:]), _CAPTIONS}

    def _corner_of(self, panel: int) -> tuple[float, float]:
        """Return where a frame lies on the canvas, (y, x) in pixels of the video."""
        height, width = self.video.height, self.video.width
        count = len(self._panels())
        rows, columns = self._room
        across = columns_for(count, (height, width), columns / max(1.0, rows))
        row, column = divmod(panel, across)
        return row * (height + self._gap), column * (width + self._gap)

    @property
    def _gap(self) -> float:
        return max(2.0, _GAP * min(self.video.height, self.video.width))

    @property
    def _bounds(self) -> tuple[float, float, float]:
        """Where all frames begin, top, and where they end, bottom and right; in pixels of the video."""
        corners = [self._corner_of(number) for number in range(len(self._panels()))]
        height = max(top for top, _ in corners) + self.video.height
        width = max(left for _, left in corners) + self.video.width
        # Captions stand above the first row.
        return (-self._gap if len(corners) > 1 else 0.0), height, width

    @property
    def _zoom(self) -> float:
        """With what zoom all frames fill the canvas."""
        top, height, width = self._bounds
        rows, columns = self._room
        return max(1e-3, _MARGIN * min(rows / (height - top), columns / width))

    @property
    def _room(self) -> tuple[float, float]:
        viewer = self._viewer_of()
        size = viewer.canvas.size if viewer is not None else (1, 1)
        return float(size[0]), float(size[1])

    def _place_of(self, role: str) -> tuple[float, ...] | None:
        panels = self._panels()
        kind = next((kind for kind, frame in _FRAMES.items() if role in (kind, frame)), None)
        if kind is None or kind not in panels:
            return None
        return 0.0, *self._corner_of(panels.index(kind))

    # Layers.

    def _add(self, viewer: ViewerModel, role: str) -> Layer | None:
        options: dict[str, Any] = {
            "name": role,
            "axis_labels": styles.AXES,
            "metadata": {KEY: {"role": role, "video": self.video.name}},
        }
        if (place := self._place_of(role)) is not None:
            options["translate"] = place
        self._is_changing = True
        try:
            if role == _CAPTIONS:
                return self._add_captions(viewer)
            if role in _FRAMES.values():
                own = layer_of(viewer, self.video)
                if own is None or not isinstance(own.data, LazyFrames):
                    return None
                layer = viewer.add_image(own.data, **options, **styles.FRAMES.options())
            else:
                is_difference = role == DIFFERENCES
                style = styles.DIFFERENCES if is_difference else styles.PREDICTIONS
                options["colormap"] = styles.difference_colormap() if is_difference else styles.object_colormap()
                layer = viewer.add_labels(self._data[role], **options, **style.options())
                self._shown[role] = self._data[role].about()
                if role == PREDICTIONS:
                    layer.features = track_features(self._view)
        finally:
            self._is_changing = False
        layer.editable = False
        return layer

    def _add_captions(self, viewer: ViewerModel) -> Layer:
        picture, scale, translate = self._captions(self._zoom)
        layer = viewer.add_image(
            picture,
            name=_CAPTIONS,
            rgb=True,
            scale=scale,
            translate=translate,
            axis_labels=styles.AXES[1:],
            metadata={KEY: {"role": _CAPTIONS, "video": self.video.name}},
        )
        layer.editable = False
        return layer

    def _captions(self, zoom: float) -> _Captions:
        panels = self._panels()
        corners = {panel: self._corner_of(number) for number, panel in enumerate(panels)}
        # As finely as the canvas shows it; of two axes, so that they stand there at all times.
        picture = draw_captions(corners, self.video.width, self._gap, zoom)
        return picture, (1 / zoom, 1 / zoom), (-self._gap, 0.0)

    def _remove(self, viewer: ViewerModel, role: str) -> None:
        layer = self._layers.pop(role, None)
        self._shown.pop(role, None)
        if layer is not None and layer in viewer.layers:
            self._is_changing = True
            try:
                viewer.layers.remove(layer)
            finally:
                self._is_changing = False

    def _begin(self, viewer: ViewerModel) -> None:
        self._selected = [weakref.ref(layer) for layer in viewer.layers.selection]
        frames = layer_of(viewer, self.video)
        for layer in viewer.layers:
            if frames is not None and layer is frames:
                if not layer.visible:
                    self._unhidden.append(weakref.ref(layer))
                    layer.visible = True
            elif role_of(layer) not in (None, _OUTLINES):
                self._hide(layer)
        viewer.layers.events.inserted.connect(self._on_inserted)
        viewer.layers.events.removed.connect(self._on_removed)

    def _hide(self, layer: Layer) -> None:
        if layer.visible:
            self._hidden.append(weakref.ref(layer))
            layer.visible = False

    def _on_inserted(self, event: Any) -> None:
        # Masks that come late would lie over the predictions. What the user brings is meant to be seen.
        if not self._is_changing and role_of(event.value) not in (None, "frames", _OUTLINES):
            self._hide(event.value)

    def _on_removed(self, event: Any) -> None:
        for role, layer in list(self._layers.items()):
            if layer is event.value:
                del self._layers[role]
                self._shown.pop(role, None)
                self._deleted.add(role)


def track_features(view: PredictionView) -> dict[str, list[Any]]:
    """Return a table with a row for each track that is seen; ``index`` is the label."""
    tracks = view.prediction.tracks[: view.count] if view.prediction is not None else ()
    return {
        "index": [track.id for track in tracks],
        "score": [math.nan if track.score is None else track.score for track in tracks],
        "frames": [track.seen for track in tracks],
    }


def _draw(layer: Layer, picture: np.ndarray, scale: tuple[float, float], translate: tuple[float, float]) -> None:
    layer.data = picture
    layer.scale, layer.translate = scale, translate
    layer.editable = False  # new data are editable again


def _alive(references: list[weakref.ref[Layer]], viewer: ViewerModel) -> list[Layer]:
    layers = (reference() for reference in references)
    return [layer for layer in layers if layer is not None and layer in viewer.layers]
