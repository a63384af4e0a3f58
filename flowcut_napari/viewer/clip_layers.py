"""The clip of a dataset in the canvas: its frames as one picture with their masks over it, and all else hidden."""

from __future__ import annotations

import math
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from flowcut_napari.core.clip_view import ClipView
from flowcut_napari.viewer import layer_styles as styles
from flowcut_napari.viewer.video_layers import KEY, role_of

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

FRAMES_ROLE, MASKS_ROLE = "clip frames", "clip masks"
_MISSING, _GROUND = 72, 0
# Between frames: a share of the width of one.
_GAP = 0.02
_LARGEST_GAP = 24
# Of the largest size at which frames can be seen.
_GOOD_ENOUGH = 0.93
# Of the canvas, filled by the picture.
_MARGIN = 0.97


@dataclass(frozen=True)
class ClipPicture:
    """Frames of a clip as one picture (H, W, 3) uint8, and the labels (H, W) uint8 over it."""

    view: ClipView
    frames: np.ndarray
    labels: np.ndarray

    @property
    def nbytes(self) -> int:
        """Memory of the picture and what it was made of."""
        return self.frames.nbytes + self.labels.nbytes + self.view.nbytes


def columns_for(count: int, size: tuple[int, int], room: float) -> int:
    """Return in how many columns frames are seen largest; where others are almost as good, side by side.

    Parameters
    ----------
    count : int
        Of the frames.
    size : (int, int)
        Height and width of a frame.
    room : float
        Width of the canvas by its height.

    Examples
    --------
    >>> columns_for(2, (480, 854), 0.9), columns_for(2, (480, 854), 2.0), columns_for(4, (480, 854), 1.6)
    (1, 2, 2)
    """

    def scale(columns: int) -> float:
        rows = math.ceil(count / columns)
        return min(room / (columns * size[1]), 1 / (rows * size[0]))

    possible = range(1, max(1, count) + 1)
    best = max(map(scale, possible))
    return max(columns for columns in possible if scale(columns) >= _GOOD_ENOUGH * best)


def compose(view: ClipView, room: float) -> ClipPicture:
    """Put the frames of a clip into one picture, row by row, as large as a canvas of this shape shows them."""
    count = max(1, len(view.labels))
    height, width = view.labels[0].shape if view.labels else (1, 1)
    columns = columns_for(count, (height, width), room)
    rows = math.ceil(count / columns)
    gap = min(_LARGEST_GAP, max(1, round(_GAP * width)))
    size = (rows * (height + gap) - gap, columns * (width + gap) - gap)
    frames = np.full((*size, 3), _GROUND, np.uint8)
    labels = np.zeros(size, np.uint8)
    for place, (frame, mask) in enumerate(zip(view.frames, view.labels, strict=True)):
        row, column = divmod(place, columns)
        top, left = row * (height + gap), column * (width + gap)
        spot = slice(top, top + height), slice(left, left + width)
        frames[spot] = _MISSING if frame is None else frame
        labels[spot] = mask
    return ClipPicture(view, frames, labels)


class ClipLayers:
    """Two layers that show one clip after another; what was seen before is hidden meanwhile, and comes back.

    Parameters
    ----------
    viewer : ViewerModel
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer_of = weakref.ref(viewer)
        self._layers: dict[str, Layer] = {}
        self._hidden: list[weakref.ref[Layer]] = []
        self._selected: list[weakref.ref[Layer]] = []
        self._camera: tuple[tuple[float, ...], float] | None = None
        self._is_adding = False
        self._number, self._label = -1, 0
        self.is_on = False

    def show(self, picture: ClipPicture) -> None:
        """Show a clip; the first one hides all else."""
        viewer = self._viewer
        if not self.is_on:
            self._begin(viewer)
        if picture.view.number != self._number:
            self._number, self._label = picture.view.number, 0
        frames = self._layers.get(FRAMES_ROLE)
        is_new = frames is None or frames.data.shape != picture.frames.shape
        self._put(FRAMES_ROLE, picture.frames)
        self._put(MASKS_ROLE, picture.labels)
        if is_new:
            self._fit(picture)
        self._show_label()

    @property
    def room(self) -> float:
        """Width of the canvas by its height, roughly: a few pixels more or less change nothing."""
        height, width = self._viewer.canvas.size
        return max(1, round(4 * width / max(1, height))) / 4

    def highlight(self, label: int) -> None:
        """Show one instance of this clip alone; 0 for all."""
        self._label = label
        self._show_label()

    def _show_label(self) -> None:
        masks = self._layers.get(MASKS_ROLE)
        if masks is None:
            return
        if self._label:
            masks.selected_label = self._label
        if masks.show_selected_label != bool(self._label):
            masks.show_selected_label = bool(self._label)

    def end(self, *, has_moved_on: bool = False) -> None:
        """Take the clip away, and show again what was seen before.

        Parameters
        ----------
        has_moved_on : bool
            Whether another video is looked at now: which frames are seen is then no matter of before.
        """
        if not self.is_on:
            return
        self.is_on = False
        viewer = self._viewer
        viewer.layers.events.inserted.disconnect(self._on_inserted)
        viewer.layers.events.removed.disconnect(self._on_removed)
        for layer in self._layers.values():
            if layer in viewer.layers:
                viewer.layers.remove(layer)
        self._layers.clear()
        for layer in _alive(self._hidden, viewer):
            if not (has_moved_on and role_of(layer) == "frames"):
                layer.visible = True
        if selected := _alive(self._selected, viewer):
            viewer.layers.selection = set(selected)
        if self._camera is not None and not has_moved_on:
            viewer.scene.camera.center, viewer.scene.camera.zoom = self._camera
        self._hidden, self._selected, self._camera = [], [], None

    @property
    def _viewer(self) -> ViewerModel:
        viewer = self._viewer_of()
        if viewer is None:
            raise ReferenceError("the viewer is closed")
        return viewer

    def _fit(self, picture: ClipPicture) -> None:
        # napari's own way counts what is hidden, or fails for a picture without a frame axis.
        viewer = self._viewer
        height, width = picture.labels.shape
        room = viewer.canvas.size
        viewer.scene.camera.center = (0.0, (height - 1) / 2, (width - 1) / 2)
        viewer.scene.camera.zoom = _MARGIN * min(room[0] / height, room[1] / width)

    def _begin(self, viewer: ViewerModel) -> None:
        self.is_on = True
        camera = viewer.scene.camera
        self._camera = (tuple(camera.center), float(camera.zoom)) if len(viewer.layers) else None
        self._selected = [weakref.ref(layer) for layer in viewer.layers.selection]
        for layer in viewer.layers:
            self._hide(layer)
        viewer.layers.events.inserted.connect(self._on_inserted)
        viewer.layers.events.removed.connect(self._on_removed)

    def _hide(self, layer: Layer) -> None:
        if layer.visible:
            self._hidden.append(weakref.ref(layer))
            layer.visible = False

    def _put(self, role: str, data: np.ndarray) -> None:
        layer = self._layers.get(role)
        if layer is not None:
            layer.data = data
            layer.editable = False  # new data are editable again
            return
        viewer = self._viewer
        options: dict[str, Any] = {"metadata": {KEY: {"role": role}}, "axis_labels": styles.AXES[1:]}
        self._is_adding = True
        try:
            if role == FRAMES_ROLE:
                layer = viewer.add_image(data, name="dataset clip", **options, **styles.FRAMES.options())
                if (masks := self._layers.get(MASKS_ROLE)) is not None:  # it was deleted, and belongs below
                    viewer.layers.move(viewer.layers.index(layer), viewer.layers.index(masks))
            else:
                options["colormap"] = styles.label_colormap()
                layer = viewer.add_labels(data, name="dataset masks", **options, **styles.MASKS.options())
        finally:
            self._is_adding = False
        layer.editable = False
        self._layers[role] = layer

    def _on_inserted(self, event: Any) -> None:
        # Masks of the video that come meanwhile would lie over the clip. What the user brings is meant to be seen.
        if not self._is_adding and role_of(event.value) is not None:
            self._hide(event.value)

    def _on_removed(self, event: Any) -> None:
        for role, layer in list(self._layers.items()):
            if layer is event.value:
                del self._layers[role]


def _alive(references: list[weakref.ref[Layer]], viewer: ViewerModel) -> list[Layer]:
    layers = (reference() for reference in references)
    return [layer for layer in layers if layer is not None and layer in viewer.layers]
