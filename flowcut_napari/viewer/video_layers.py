"""The layers that show frames of a video: how they are made, and how they are found again in a viewer."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowcut_napari.core.errors import FlowCutError
from flowcut_napari.core.store import VideoMasks
from flowcut_napari.core.video import Video, VideoEntry, find_videos
from flowcut_napari.viewer import layer_styles as styles
from flowcut_napari.viewer.lazy_arrays import LazyFrames, MaskLabels

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

# What layers carry in their metadata, all under one key.
KEY = "flowcut"


def role_of(layer: Layer) -> str | None:
    """Return what a layer is to us: ``frames``, ``flow``, ``eigenvector 2``, ...; None if it is not ours."""
    ours = layer.metadata.get(KEY)
    return ours.get("role") if isinstance(ours, dict) else None


def video_of(layer: Layer) -> Video | None:
    """Return the video whose frames a layer shows, if our reader made it."""
    data = getattr(layer, "data", None)
    return data.video if role_of(layer) == "frames" and isinstance(data, LazyFrames) else None


def frames_layer(viewer: ViewerModel, video: Video) -> Layer:
    """Add the layer of a video's frames."""
    data, options = frames_layer_data(video)
    return viewer.add_image(data, **options)


def frames_layer_data(video: Video) -> tuple[LazyFrames, dict[str, Any]]:
    """Return the frames of a video and the options of their layer."""
    options = {
        "name": video.name,
        "axis_labels": styles.AXES,
        "metadata": {KEY: {"role": "frames", "video": video.name}},
        **styles.FRAMES.options(),
    }
    # napari knows the three colours to be the last axis, and not one of its own.
    return LazyFrames(video), options


def ours(layers: Iterable[Layer]) -> list[Layer]:
    """Return the layers that show frames of a video of ours, in their order."""
    return [layer for layer in layers if video_of(layer) is not None]


def layer_of(viewer: ViewerModel, video: Video) -> Layer | None:
    """Return the layer that shows a video, this one or another of the same place and name."""
    for layer in ours(viewer.layers):
        known = video_of(layer)
        if known is video or (known is not None and (known.path, known.name) == (video.path, video.name)):
            return layer
    return None


def found_beside(layer: Layer) -> list[VideoEntry]:
    """Return the videos that are found where the video of a layer was, itself among them; none if that is gone."""
    video = video_of(layer)
    assert video is not None  # asked of layers of frames only
    try:
        return find_videos(layer.metadata[KEY].get("address") or video.path)
    except FlowCutError:  # the video is open: that its place is gone does not matter
        return []


def take_file_masks(viewer: ViewerModel, video: Video) -> tuple[VideoMasks, Path] | None:
    """Take the layer away in which the reader brought masks of a video; return them and their file, or None."""
    for layer in list(viewer.layers):
        data = getattr(layer, "data", None)
        if role_of(layer) == "file masks" and isinstance(data, MaskLabels) and data.video.path == video.path:
            viewer.layers.remove(layer)
            saved = data.results.saved
            return (saved, Path(layer.metadata[KEY]["path"])) if saved is not None else None
    return None
