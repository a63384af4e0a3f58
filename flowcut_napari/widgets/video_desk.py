"""The videos of one viewer: where each was found, what is known of it, and which of them is in sight."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING

from flowcut_napari.core.parameters import CutParameters
from flowcut_napari.core.video import Video, VideoEntry
from flowcut_napari.viewer.frame_results import FrameResults
from flowcut_napari.viewer.video_layers import found_beside, ours, video_of

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer


class VideoDesk:
    """Remembers the videos of a viewer as long as somebody holds them, and sees to what napari shows of them."""

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = weakref.ref(viewer)
        # To look once more where videos were found would take time, or find other things.
        self._origins: weakref.WeakKeyDictionary[Video, tuple[VideoEntry | None, list[VideoEntry]]] = (
            weakref.WeakKeyDictionary()
        )
        self._results: weakref.WeakKeyDictionary[Video, FrameResults] = weakref.WeakKeyDictionary()

    @property
    def viewer(self) -> ViewerModel:
        """The viewer.

        Raises
        ------
        ReferenceError
            If it is gone.
        """
        viewer = self._viewer()
        if viewer is None:
            raise ReferenceError("the viewer is closed")
        return viewer

    @property
    def has_viewer(self) -> bool:
        """Whether the viewer is still there."""
        return self._viewer() is not None

    def videos(self) -> list[Video]:
        """Return the videos that have a layer."""
        return [video for layer in ours(self.viewer.layers) if (video := video_of(layer)) is not None]

    def put(self, video: Video, entry: VideoEntry | None, sisters: Sequence[VideoEntry]) -> None:
        """Remember where a video was found, and what else was there."""
        self._origins[video] = entry, list(sisters)

    def origin(self, layer: Layer) -> tuple[VideoEntry | None, list[VideoEntry]]:
        """Return where the video of a layer was found, and what else was there."""
        video = video_of(layer)
        assert video is not None  # asked of layers of frames only
        if video in self._origins:
            return self._origins[video]
        sisters = found_beside(layer)
        return next((entry for entry in sisters if entry.name == video.name), None), sisters

    def results(self, video: Video, parameters: CutParameters) -> FrameResults:
        """Return what is known of a video; kept, so that looking at another one meanwhile costs nothing."""
        results = self._results.setdefault(video, FrameResults(parameters))
        results.parameters = parameters
        results.holds = True
        return results

    def known(self, video: Video) -> FrameResults | None:
        """Return what is known of a video, if anything is; for those who only look."""
        return self._results.get(video)

    def is_copy(self, video: Video) -> bool:
        """Whether this is another object of a video that is known: a layer that a user duplicated."""
        return any(video.path == known.path and video.name == known.name for known in self._origins)

    def show_only(self, layer: Layer | None) -> None:
        """Show the frames of one video, or of none, and hide those of the others."""
        for other in ours(self.viewer.layers):
            other.visible = other is layer

    def frame_of(self, video: Video, layer: Layer | None) -> int:
        """Return the frame of a video that the viewer stands at."""
        point = self.viewer.dims.point
        # The user may have given the axis another scale, such as seconds.
        place = layer.world_to_data(point)[0] if layer is not None else point[-3] if len(point) >= 3 else 0
        return min(max(0, round(float(place))), len(video) - 1)

    def clear(self) -> None:
        """Forget everything."""
        self._origins.clear()
        self._results.clear()
