"""The layers of one video: made when there is something to show, and left alone once a user deletes them."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from flowcut_napari.core.video import Video
from flowcut_napari.viewer import layer_styles as styles
from flowcut_napari.viewer.frame_results import FrameResults
from flowcut_napari.viewer.lazy_arrays import Eigenvectors, FlowPictures, MaskLabels, RawCuts, Seeds
from flowcut_napari.viewer.video_layers import KEY, role_of

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

# From the bottom up; iterations stand between.
_ORDER = ("frames", "flow", "eigenvector", "cut", "masks", "affinity", "seeds")


class LayerSet:
    """The layers of one video in one viewer.

    Parameters
    ----------
    viewer : ViewerModel
    frames : Layer
        That shows the video.
    video : Video
    results : FrameResults
        What the layers show.
    """

    def __init__(self, viewer: ViewerModel, frames: Layer, video: Video, results: FrameResults) -> None:
        self._viewer_of = weakref.ref(viewer)
        self._video = video
        self._results = results
        self._layers: dict[str, Layer] = {"frames": frames}
        self._deleted: set[str] = set()
        self._sizes: dict[str, tuple[int, ...]] = {}
        viewer.layers.events.removed.connect(self._on_removed)

    @property
    def _viewer(self) -> ViewerModel:
        viewer = self._viewer_of()
        if viewer is None:
            raise ReferenceError("the viewer is closed")
        return viewer

    def __getitem__(self, role: str) -> Layer | None:
        return self._layers.get(role)

    def put_frames(self, layer: Layer) -> None:
        """Take up another layer of the frames."""
        self._layers["frames"] = layer

    def roles(self) -> list[str]:
        """Return the roles that have a layer now."""
        return list(self._layers)

    @property
    def deleted(self) -> set[str]:
        """The roles whose layers the user deleted; they come back by `restore`."""
        return set(self._deleted)

    def missing(self, size: tuple[int, int], grid: tuple[int, int], iterations: int, has_flow: bool) -> list[str]:
        """Return the roles that have no layer of the right size yet, and which the user did not delete."""
        wanted = {"masks": (self._video.height, self._video.width)}
        if has_flow:
            wanted["flow"] = size
        for iteration in range(1, iterations + 1):
            wanted[f"cut {iteration}"] = wanted[f"eigenvector {iteration}"] = grid
        wanted["seeds"] = grid
        return [role for role, size in wanted.items() if role not in self._deleted and self._sizes.get(role) != size]

    def make(self, role: str, size: tuple[int, int], grid: tuple[int, int]) -> None:
        """Make the layer of a role, or give the one that is there the new size of its pictures."""
        frames = len(self._video)
        kind, _, number = role.partition(" ")
        iteration = int(number) if number else 0
        if kind == "masks":
            own = (self._video.height, self._video.width)
            self._show(role, own, MaskLabels(self._results, self._video), "labels", styles.MASKS)
        elif kind == "flow":
            self._show(role, size, FlowPictures(self._results, frames, size), "image", styles.FLOW)
        elif kind == "eigenvector":
            self._show(role, grid, Eigenvectors(self._results, iteration, frames, grid), "image", styles.EIGENVECTOR)
        elif kind == "cut":
            self._show(role, grid, RawCuts(self._results, iteration, frames, grid), "labels", styles.CUT)
        elif kind == "seeds":
            self._show(role, grid, Seeds(self._results, frames, grid), "labels", styles.SEEDS)
        else:
            raise ValueError(f"there is no layer {role!r}")

    def show_affinity(self, row: np.ndarray, name: str) -> None:
        """Show an affinity row (rows, cols) over the frame, on every frame until it is hidden."""
        grid = (row.shape[0], row.shape[1])
        frames = len(self._video)
        # One picture for all frames: the probe follows the frame that is looked at.
        data = np.broadcast_to(row.astype(np.float32), (frames, *grid))
        self._deleted.discard("affinity")
        self._show("affinity", grid, data, "image", styles.AFFINITY)
        layer = self._layers["affinity"]
        if layer.data is not data:
            layer.data = data
        layer.name = name

    def remove(self, role: str) -> None:
        """Take a layer away, not for good."""
        layer = self._layers.pop(role, None)
        self._sizes.pop(role, None)
        if layer is not None and layer in self._viewer.layers:
            self._viewer.layers.remove(layer)

    def refresh(self, wanted: Callable[[str], bool]) -> None:
        """Draw the layers anew whose roles are `wanted`; hidden ones cost nothing."""
        for role, layer in list(self._layers.items()):
            if role != "frames" and wanted(role):
                layer.refresh(extent=False)

    def show_frame(self, frame: int) -> None:
        """Bring what does not follow the time axis by itself to a frame: the features of the masks."""
        masks = self._layers.get("masks")
        if masks is not None:
            masks.features = mask_features(self._results, frame)

    def restore(self) -> set[str]:
        """Forget what the user deleted, so that it is made again; return what that was."""
        deleted, self._deleted = self._deleted, set()
        return deleted

    def close(self) -> None:
        """Take all layers but the frames away; they belonged to this video alone."""
        self._viewer.layers.events.removed.disconnect(self._on_removed)
        for role in [role for role in self._layers if role != "frames"]:
            self.remove(role)

    def _on_removed(self, event: Any) -> None:
        for role, layer in list(self._layers.items()):
            if layer is event.value:
                del self._layers[role]
                self._sizes.pop(role, None)
                self._deleted.add(role)

    def _show(self, role: str, size: tuple[int, int], data: Any, kind: str, style: styles.LayerStyle) -> None:
        scale = (1.0, self._video.height / size[0], self._video.width / size[1])
        # The centre of the first patch does not lie on the centre of the first pixel.
        shift = (0.0, (scale[1] - 1) / 2, (scale[2] - 1) / 2)
        self._sizes[role] = size
        layer = self._layers.get(role)
        if layer is not None:
            layer.data = data
            layer.scale, layer.translate = scale, shift
            layer.editable = False  # new data are editable again
            return
        options = {
            "name": role,
            "scale": scale,
            "translate": shift,
            "axis_labels": styles.AXES,
            "metadata": {KEY: {"role": role, "video": self._video.name}},
            **style.options(),
        }
        if role.startswith("eigenvector"):
            options["colormap"] = styles.eigenvector_colormap()
        elif role == "affinity":
            options["colormap"] = styles.affinity_colormap()
        elif kind == "labels":
            options["colormap"] = styles.label_colormap()
        selected = {layer for layer in self._viewer.layers.selection if role_of(layer) not in ("frames", "truth")}
        layer = getattr(self._viewer, f"add_{kind}")(data, **options)
        layer.editable = False
        self._layers[role] = layer
        self._place(role, layer)
        # What the user had chosen stays chosen; else the masks are what one wants to hold.
        if not selected and (masks := self._layers.get("masks")):
            selected = {masks}
        if selected:
            self._viewer.layers.selection = selected

    def _place(self, role: str, layer: Layer) -> None:
        """Move a new layer below those of ours that belong over it; layers of the user's stay where they are."""
        above = [
            self._viewer.layers.index(other)
            for name, other in self._layers.items()
            if other is not layer and other in self._viewer.layers and _rank(name) > _rank(role)
        ]
        if above:
            self._viewer.layers.move(self._viewer.layers.index(layer), min(above))


def _rank(role: str) -> tuple[int, int]:
    kind, _, number = role.partition(" ")
    return _ORDER.index(kind), -int(number or 0)


def mask_features(results: FrameResults, frame: int) -> dict[str, list[Any]]:
    """Return a table with a row for each iteration of a frame, kept or not; ``index`` is the label."""
    masks, answer = results.masks(frame), results.answer(frame)
    table: dict[str, list[Any]] = {
        name: [] for name in ("index", "iteration", "area", "eigenvalue", "gap", "crf_iou", "rejected")
    }

    def add(*row: Any) -> None:
        for column, value in zip(table.values(), row, strict=True):
            column.append(value)

    nan = float("nan")
    if masks is not None:
        for kept in masks.instances:
            numbers = (nan if value is None else value for value in (kept.eigenvalue, kept.eigengap, kept.crf_iou))
            add(kept.id, kept.iteration or 0, kept.area, *numbers, "")
        for lost in masks.rejected:
            iou = lost.iou if lost.reason in ("crf_iou", "empty") and lost.iou is not None else nan
            add(lost.iteration, lost.iteration, 0, lost.eigenvalue, lost.eigengap, iou, lost.reason)
    elif answer is not None:
        for cut in answer.result.cuts:
            add(cut.iteration, cut.iteration, 0, cut.eigenvalue, cut.eigengap, nan, "")
    return table
