"""Videos and masks files as napari layers. What cannot be read gives one notification and no layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from flowcut_napari.core.errors import FlowCutError, InputError, printable
from flowcut_napari.core.store import SUFFIX, VideoMasks, load_masks
from flowcut_napari.core.video import Video, find_videos
from flowcut_napari.viewer import layer_styles as styles
from flowcut_napari.viewer.frame_results import FrameResults
from flowcut_napari.viewer.lazy_arrays import MaskLabels
from flowcut_napari.viewer.video_layers import KEY, frames_layer_data

LayerData = tuple[Any, dict[str, Any], str]
# What npe2 takes for "read, and there is no layer in it": the notification has said why.
_NOTHING: list[tuple[None]] = [(None,)]


def get_reader(path: str | Sequence[str]) -> Callable[[str | Sequence[str]], list[Any]] | None:
    """Return what reads a path that napari.yaml claims; several paths at once are no video of ours."""
    return read_layers if isinstance(path, str) else None


def read_layers(path: str | Sequence[str]) -> list[Any]:
    """Return the layers of a folder, a video file, a DAVIS root or a masks file."""
    from napari.utils.notifications import show_error, show_info

    assert isinstance(path, str)  # see get_reader
    try:
        if path.endswith(SUFFIX):
            return masks_layers(Path(path))
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
    video = video_of_masks(masks, path)
    if has_changed(masks, video):
        text = f"{path.name}: {video.path} has changed since these masks were made; they may not fit its frames"
        show_info(printable(text))
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
    return [video_layer(video), (labels, options, "labels")]


def video_of_masks(masks: VideoMasks, path: Path) -> Video:
    """Open the video that masks were made of.

    Raises
    ------
    InputError
        If it is not where it was when they were made, or has another size or length.
    """
    record = masks.video
    try:
        # Not by its address: what is safe as the name of a file need not be what the video is called there.
        entries = find_videos(record.path)
        named = [entry for entry in entries if entry.name == record.name]
        if not named and len(entries) > 1:
            raise InputError(f"{record.path}: has no video {record.name} any more")
        video = (named or entries)[0].open()
    except InputError as error:
        raise InputError(f"{path}: the video of these masks cannot be opened: {error}") from None
    if (len(video), video.height, video.width) != (record.frames, record.height, record.width):
        raise InputError(
            f"{path}: was made of {record.frames} frames of {record.width}x{record.height}, but {record.path} has "
            f"{len(video)} of {video.width}x{video.height}"
        )
    return video


def has_changed(masks: VideoMasks, video: Video) -> bool:
    """Whether a video of the same size and length is not what it was when masks were made of it."""
    try:
        return video.fingerprint() != masks.video.fingerprint
    except OSError:  # what cannot be read is said when it is shown
        return False
