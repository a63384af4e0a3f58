"""The layers of the match view: a frame and its partner side by side, their objects, and what matches."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from flowcut_napari.core.video import Video
from flowcut_napari.viewer import layer_styles as styles
from flowcut_napari.viewer.lazy_arrays import LazyFrames, TimeSeries
from flowcut_napari.viewer.pair_view import Arrangement, PairView, draw_pair, drawing_scale
from flowcut_napari.viewer.video_layers import KEY

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Labels, Layer

# From the bottom up, over all others of ours.
ROLES = ("partner frame", "partner objects", "objects", "matches")


class ObjectLabels(TimeSeries):
    """The objects of a video as labels by identity, (T, H, W) int32, on which a brush can paint.

    What was painted stays here until it is taken (`take_painted`), and becomes part of the masks by that way alone.
    """

    def __init__(self, view: PairView, video: Video) -> None:
        super().__init__((len(video), video.height, video.width), np.int32)
        self._view = view
        self._known: tuple[Any, np.ndarray] | None = None
        # Of each frame that is painted on: as it was before, and as it is now.
        self._painted: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def frame(self, index: int) -> np.ndarray:
        """Return the labels of a frame, with what was painted on it."""
        return self._painted[index][1] if index in self._painted else self._made(index)

    def _made(self, index: int) -> np.ndarray:
        about = self._view.about(index)
        if self._known is None or self._known[0] != about:
            labels = np.zeros(self.shape[1:], np.int32)
            for _, identity, mask in self._view.objects(index):
                labels[mask] = identity
            self._known = about, labels
        return self._known[1]

    def __getitem__(self, key: Any) -> np.ndarray:
        """Return what numpy would; of a single frame a copy: napari writes into what it is given, to show it."""
        found = super().__getitem__(key)
        first = key[0] if isinstance(key, tuple) and key else key
        return found.copy() if isinstance(first, int | np.integer) else found

    def __setitem__(self, key: Any, value: Any) -> None:
        """Paint, as napari's brush does: at slices or arrays of indices (frames, rows, columns)."""
        first, rest = key[0], key[1:]
        if isinstance(first, int | np.integer):
            self._canvas(range(len(self))[first])[rest] = value
            return
        if isinstance(first, slice):
            frames = range(len(self))[first]
            values = np.broadcast_to(value, (len(frames), *np.shape(value)[1:])) if np.ndim(value) else None
            for place, index in enumerate(frames):
                self._canvas(index)[rest] = value if values is None else values[place]
            return
        indices = np.broadcast_arrays(first, *rest)
        values = np.broadcast_to(value, indices[0].shape)
        for index in np.unique(indices[0]):
            here = indices[0] == index
            self._canvas(int(index))[tuple(part[here] for part in indices[1:])] = values[here]

    def _canvas(self, index: int) -> np.ndarray:
        """Return the labels of a frame to be painted on."""
        if index not in self._painted:
            before = self._made(index)
            self._painted[index] = before, before.copy()
        return self._painted[index][1]

    def take_painted(self) -> dict[int, np.ndarray]:
        """Return the labels of the frames that were painted on, and forget them."""
        self.take_changes()
        painted, self._painted = self._painted, {}
        return {index: after for index, (_, after) in painted.items()}

    def take_changes(self) -> None:
        """Put what was painted on the masks as they are now: a key may have changed them in the middle of a stroke."""
        for index, (before, after) in list(self._painted.items()):
            is_painted = before != after
            if is_painted.any():
                now = self._made(index)
                self._painted[index] = now, np.where(is_painted, after, now)
            else:  # a stroke that was given up
                del self._painted[index]


class PartnerFrames(TimeSeries):
    """For each frame the one that it is matched with, (T, H, W, 3) uint8; dark where there is none."""

    def __init__(self, view: PairView, frames: LazyFrames) -> None:
        super().__init__(frames.shape, np.uint8)
        self._view = view
        self._frames = frames
        self._nothing = np.broadcast_to(np.uint8(28), frames.shape[1:])

    def frame(self, index: int) -> np.ndarray:
        """Return the partner of a frame."""
        partner = self._view.partner(index)
        return self._nothing if partner is None else self._frames.frame(partner)


class PartnerObjects(TimeSeries):
    """For each frame the objects of its partner, (T, H, W) int32 by identity."""

    def __init__(self, view: PairView, video: Video) -> None:
        super().__init__((len(video), video.height, video.width), np.int32)
        self._view = view
        self._objects = ObjectLabels(view, video)
        self._nothing = np.zeros(self.shape[1:], np.int32)

    def frame(self, index: int) -> np.ndarray:
        """Return the labels of the partner of a frame."""
        partner = self._view.partner(index)
        return self._nothing if partner is None else self._objects.frame(partner)


class MatchDrawings(TimeSeries):
    """For each frame the drawing of its matches, (T, h, w, 4) uint8; see `draw_pair`."""

    def __init__(self, view: PairView, video: Video, arrangement: Arrangement) -> None:
        super().__init__((len(video), *arrangement.shape), np.uint8)
        self._view = view
        self.arrangement = arrangement
        self._known: tuple[Any, np.ndarray] | None = None

    def frame(self, index: int) -> np.ndarray:
        """Return the drawing for a frame."""
        view = self._view
        partner = view.partner(index)
        others = view.about(partner) if partner is not None else None
        about = index, view.gap, view.pair(index), view.about(index), others, view.selection_in(index)
        if self._known is None or self._known[0] != about:
            self._known = about, draw_pair(view, index, self.arrangement)
        return self._known[1]


class MatchLayers:
    """The layers of the match view of one video in one viewer; there from `show` to `hide`.

    Parameters
    ----------
    viewer : ViewerModel
    video : Video
    frames : LazyFrames
        Of the layer that shows the video: frames that were decoded for one side are there for the other.
    view : PairView
        What is to be shown.
    arrangement : Arrangement
        How both frames lie on the canvas.
    on_paint : callable
        Called when a stroke has ended, with the labels (height, width) int32 of the frames that it changed.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        video: Video,
        frames: LazyFrames,
        view: PairView,
        arrangement: Arrangement,
        on_paint: Callable[[dict[int, np.ndarray]], None],
    ) -> None:
        self._viewer_of = weakref.ref(viewer)
        self._video = video
        self._view = view
        self._on_paint = on_paint
        self.arrangement = arrangement
        self._objects = ObjectLabels(view, video)
        self._data: dict[str, TimeSeries] = {
            "partner frame": PartnerFrames(view, frames),
            "partner objects": PartnerObjects(view, video),
            "objects": self._objects,
            "matches": MatchDrawings(view, video, arrangement),
        }
        self._layers: dict[str, Layer] = {}
        self._shown: dict[str, Any] = {}

    def __getitem__(self, role: str) -> Layer | None:
        """Return the layer of a role; None while it is not there, or if it was deleted."""
        layer = self._layers.get(role)
        viewer = self._viewer_of()
        return layer if layer is not None and viewer is not None and layer in viewer.layers else None

    @property
    def objects(self) -> Labels | None:
        """The layer that can be painted on."""
        return self["objects"]

    @property
    def is_shown(self) -> bool:
        """Whether the view was opened and not closed since."""
        return bool(self._layers)

    def show(self) -> None:
        """Add the layers that are not there."""
        viewer = self._viewer_of()
        if viewer is None:
            return
        for role in ROLES:
            if self[role] is None:
                self._layers[role] = self._add(viewer, role)
        if self.objects is not None:
            viewer.layers.selection = {self.objects}

    def hide(self) -> None:
        """Take them away."""
        viewer = self._viewer_of()
        for layer in list(self._layers.values()):
            if viewer is not None and layer in viewer.layers:
                viewer.layers.remove(layer)
        self._layers.clear()

    def refresh(self, frame: int, *, painted: bool = False) -> None:
        """Draw anew what has changed of the frame that is in sight; after a stroke of the brush that is all of it."""
        self._objects.take_changes()
        shown = self._about(frame)
        for role in ROLES:
            layer = self[role]
            if layer is not None and (painted or shown[role] != self._shown.get(role)):
                layer.refresh(extent=False)
        self._shown = shown

    def _about(self, frame: int) -> dict[str, Any]:
        """Return what each layer shows of a frame; equal where nothing changed."""
        view, partner = self._view, self._view.partner(frame)
        objects = frame, view.about(frame)
        others = partner, view.about(partner) if partner is not None else None
        matches = objects, others, view.gap, view.pair(frame), view.selection_in(frame)
        return {"partner frame": partner, "partner objects": others, "objects": objects, "matches": matches}

    def refresh_drawing(self) -> None:
        """Draw the matches anew, for another choice of objects."""
        if (layer := self["matches"]) is not None:
            layer.refresh(extent=False)

    def paint_with(self, identity: int) -> None:
        """Let the brush paint this object."""
        if self.objects is not None:
            self.objects.selected_label = identity

    def arrange(self, stacked: bool) -> None:
        """Put the partner below the frame, or beside it."""
        if stacked == self.arrangement.stacked:
            return
        self.arrangement = replace(self.arrangement, stacked=stacked)
        for role in ("partner frame", "partner objects"):
            if (layer := self[role]) is not None:
                layer.translate = self._place_of_partner()
        self._draw_anew()

    def draw_for(self, zoom: float) -> None:
        """Draw as finely as the canvas shows it: `zoom` pixels of the screen for one of the video."""
        wanted = drawing_scale(self.arrangement, zoom)
        if not 0.93 < wanted / self.arrangement.scale < 1.07:
            self.arrangement = replace(self.arrangement, scale=wanted)
            self._draw_anew()

    def _draw_anew(self) -> None:
        data = self._data["matches"] = MatchDrawings(self._view, self._video, self.arrangement)
        if (layer := self["matches"]) is not None:
            layer.data = data
            layer.scale, layer.translate = self._place_of_drawing()

    def _place_of_partner(self) -> tuple[float, float, float]:
        down, right = self.arrangement.offset
        return 0.0, float(down), float(right)

    def _place_of_drawing(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        scale = 1 / self.arrangement.scale
        shift = (scale - 1) / 2
        return (1.0, scale, scale), (0.0, shift, shift)

    def _add(self, viewer: ViewerModel, role: str) -> Layer:
        options: dict[str, Any] = {
            "name": role,
            "axis_labels": styles.AXES,
            "metadata": {KEY: {"role": role, "video": self._video.name}},
        }
        data = self._data[role]
        if role.startswith("partner"):
            options["translate"] = self._place_of_partner()
        if role.endswith("objects"):
            if role == "objects":
                self._objects.take_painted()  # on a layer that was deleted in the middle of a stroke
            options |= {"colormap": styles.object_colormap(), **styles.OBJECTS.options()}
            layer = viewer.add_labels(data, **options)
            if role == "objects":
                layer.events.paint.connect(self._take_painted)
                # Some tools say that they painted before they do. The canvas has its share first.
                layer.events.labels_update.connect(self._take_late, position="last")
            else:
                layer.editable = False
            return layer
        if role == "matches":
            options["scale"], options["translate"] = self._place_of_drawing()
            options["interpolation2d"] = "linear"
        return viewer.add_image(data, rgb=True, **options)

    def _take_late(self, event: Any = None) -> None:
        layer = self.objects
        if layer is not None and not layer._block_history:  # else it is in the middle of a stroke
            self._take_painted()

    def _take_painted(self, event: Any = None) -> None:
        layer = self.objects
        painted = self._objects.take_painted()
        if layer is None or not painted:
            return
        # What was painted is part of our own history: undone by napari's, it would be there twice.
        layer._reset_history()
        self._on_paint(painted)
