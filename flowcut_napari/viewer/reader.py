"""Videos, masks files and sessions as napari layers. What cannot be read gives one notification and no layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from flowcut_napari.core.errors import FlowCutError, InputError, printable
from flowcut_napari.core.store import SUFFIX, VideoMasks, load_masks
from flowcut_napari.core.video import Video, find_videos
from flowcut_napari.viewer import layer_styles as styles
from flowcut_napari.viewer.find_video import FoundVideo, MovedVideoError, find_again
from flowcut_napari.viewer.frame_results import FrameResults
from flowcut_napari.viewer.lazy_arrays import MaskLabels
from flowcut_napari.viewer.openers import open_in_panel
from flowcut_napari.viewer.session import SUFFIX as SESSION_SUFFIX
from flowcut_napari.viewer.session import SessionVideo, read_session
from flowcut_napari.viewer.video_layers import KEY, frames_layer_data

LayerData = tuple[Any, dict[str, Any], str]
# What npe2 takes for "read, and there is no layer in it": the notification has said why.
_NOTHING: list[tuple[None]] = [(None,)]


def get_reader(path: str | Sequence[str]) -> Callable[[str | Sequence[str]], list[Any]] | None:
    """Return what reads a path that napari.yaml claims; several paths at once are no video of ours."""
    return read_layers if isinstance(path, str) else None


def read_layers(path: str | Sequence[str]) -> list[Any]:
    """Return the layers of a folder, a video file, a DAVIS root, a masks file or a session.

    What the panel does better, it does: it opens a session with all that belongs to it, takes masks up where their
    video is open already, and asks where a video is that has moved. Then there are no layers here.
    """
    from napari.utils.notifications import show_error, show_info

    assert isinstance(path, str)  # see get_reader
    try:
        if path.endswith(SESSION_SUFFIX):
            return _NOTHING if open_in_panel(path) else session_layers(Path(path))
        if path.endswith(SUFFIX):
            return _NOTHING if open_in_panel(path) else masks_layers(Path(path))
        entries = find_videos(path)
        video = entries[0].open()
    except FlowCutError as error:
        show_error(printable(str(error)))
        return _NOTHING
    if len(entries) > 1:
        text = f"{path}: {len(entries)} videos; opened {video.name}, the others are in the list of the FlowCut panel"
        show_info(printable(text))
    for text in video.notices:
        show_info(printable(text))
    return [video_layer(video, address=path)]


def video_layer(video: Video, address: str | None = None) -> LayerData:
    """Return the frames of a video as a layer; `address` is where its sisters are found."""
    data, options = frames_layer_data(video)
    if address is not None:
        options["metadata"][KEY]["address"] = address
    return data, options, "image"


def masks_layers(path: Path) -> list[LayerData]:
    """Return the frames and the masks of a masks file.

    Raises
    ------
    InputError
        If the file cannot be read, its video is not where it was, or is another one.
    """
    from napari.utils.notifications import show_info

    masks = load_masks(path)
    found = video_of_masks(masks, path)
    if found.has_changed:
        show_info(printable(f"{path.name}: {changed_text(found)}"))
    return [video_layer(found.video), masks_layer(masks, path, found.video)]


def masks_layer(masks: VideoMasks, path: Path, video: Video) -> LayerData:
    """Return the masks of a file as a layer over the frames of their video."""
    results = FrameResults(masks.parameters)
    results.put_saved(masks)
    labels = MaskLabels(results, video)
    options = {
        "name": f"{video.name} masks",
        "axis_labels": styles.AXES,
        "metadata": {KEY: {"role": "file masks", "video": video.name, "path": str(path)}},
        "colormap": styles.label_colormap(),
        **styles.MASKS.options(),
    }
    return labels, options, "labels"


def session_layers(path: Path) -> list[Any]:
    """Return the frames and the masks of all videos of a session, the one that was looked at last.

    Raises
    ------
    InputError
        If the session cannot be read. What of it cannot be opened gives a notification, and the others are there.
    """
    from napari.utils.notifications import show_error

    session = read_session(path)
    order = list(session.videos)
    if session.current is not None:
        order.append(order.pop(session.current))
    layers: list[Any] = []
    for item in order:
        try:
            layers += _item_layers(item)
        except FlowCutError as error:
            show_error(printable(f"{path.name}: {error}"))
    return layers or _NOTHING


def _item_layers(item: SessionVideo) -> list[LayerData]:
    if item.masks is not None:
        return masks_layers(Path(item.masks))
    try:
        return [video_layer(find_again(item.video).video, item.video.path)]
    except MovedVideoError as error:
        raise InputError(f"the video {item.video.name} {error}") from None


def video_of_masks(masks: VideoMasks, path: Path, moved: Mapping[str, str] | None = None) -> FoundVideo:
    """Open the video that masks were made of; `moved` has new places by old ones, see `find_again`.

    Raises
    ------
    MovedVideoError
        If it is not where it was when they were made, or has another size or length.
    """
    try:
        return find_again(masks.video, moved)
    except MovedVideoError as error:
        raise MovedVideoError(f"{path}: the video of these masks {error}", masks.video) from None


def changed_text(found: FoundVideo) -> str:
    """Say that a video has another content than when masks were made of it."""
    return f"{found.video.path} has changed since these masks were made; they may not fit its frames"
