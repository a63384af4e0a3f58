"""The layer that shows the ground truth of the video that is looked at, as outlines over whatever else is shown."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

from flowcut_napari.core.evaluated_truth import Truth
from flowcut_napari.core.video import Video
from flowcut_napari.viewer import layer_styles as styles
from flowcut_napari.viewer.lazy_arrays import TimeSeries
from flowcut_napari.viewer.video_layers import KEY

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

NAME = "ground truth"


class TruthLabels(TimeSeries):
    """The ground truth of a video as labels, (T, H, W) uint8; the frame that was made last is kept."""

    def __init__(self, truth: Truth) -> None:
        super().__init__((truth.frames, truth.height, truth.width), np.uint8)
        self._truth = truth
        self._last: tuple[int, np.ndarray] | None = None

    def frame(self, index: int) -> np.ndarray:
        """Return the numbers of the objects of a frame."""
        if self._last is None or self._last[0] != index:
            self._last = index, self._truth.frame(index)
        return self._last[1]


class TruthLayer:
    """Shows the ground truth of one video at a time; what a user deletes stays deleted until the next is shown.

    Parameters
    ----------
    viewer : ViewerModel
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer_of = weakref.ref(viewer)
        self._layer_of: weakref.ref[Layer] | None = None

    def show(self, truth: Truth, video: Video) -> None:
        """Show the ground truth of a video, fitted to its frames."""
        self.remove()
        viewer = self._viewer_of()
        if viewer is None:
            return
        scale = (1.0, video.height / truth.height, video.width / truth.width)
        options: dict[str, Any] = {
            "name": NAME,
            "scale": scale,
            "translate": (0.0, (scale[1] - 1) / 2, (scale[2] - 1) / 2),
            "axis_labels": styles.AXES,
            "metadata": {KEY: {"role": "truth", "video": video.name}},
            "colormap": styles.label_colormap(),
            **styles.OUTLINES.options(),
        }
        selected = set(viewer.layers.selection)
        layer = viewer.add_labels(TruthLabels(truth), **options)
        layer.contour = styles.OUTLINE_WIDTH
        layer.editable = False
        if selected:
            viewer.layers.selection = selected
        self._layer_of = weakref.ref(layer)

    def remove(self) -> None:
        """Take it away, if it is there."""
        viewer = self._viewer_of()
        layer = self._layer_of() if self._layer_of is not None else None
        self._layer_of = None
        if viewer is not None and layer is not None and layer in viewer.layers:
            viewer.layers.remove(layer)
