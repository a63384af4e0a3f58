"""Opening the videos and masks of a session again: looked for on a thread, put into the window when all are there."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from flowcut_napari.core.errors import FlowCutError
from flowcut_napari.core.store import VideoMasks, load_masks, update_masks
from flowcut_napari.viewer.find_video import FoundVideo, MovedVideoError, find_again, has_changed
from flowcut_napari.viewer.reader import changed_text, video_of_masks
from flowcut_napari.viewer.session import Session, SessionVideo
from flowcut_napari.viewer.video_layers import frames_layer, layer_of
from flowcut_napari.widgets.workbench import Workbench


@dataclass(frozen=True)
class Wanted:
    """A video that is to be opened.

    Attributes
    ----------
    item : SessionVideo
        With its masks file and its frame.
    is_looked_at : bool
        Whether it comes to the front.
    brings_parameters : bool
        Whether the parameters of its masks become those of the window: not in a session, which has its own.
    """

    item: SessionVideo
    is_looked_at: bool = True
    brings_parameters: bool = False


@dataclass(frozen=True)
class Opened:
    """What was found of it: the video and its masks, or where it has moved from."""

    wanted: Wanted
    found: FoundVideo | None = None
    masks: VideoMasks | None = None
    moved: MovedVideoError | None = None


def wanted_by_masks(path: str) -> Wanted:
    """Return the video of a masks file as one that is to be opened.

    Raises
    ------
    InputError
        If the file cannot be read.
    """
    return Wanted(SessionVideo(video=load_masks(path).video, masks=path), brings_parameters=True)


def wanted_by_session(session: Session) -> list[Wanted]:
    """Return the videos of a session as those that are to be opened."""
    return [Wanted(item, place == session.current) for place, item in enumerate(session.videos)]


def open_wanted(wanted: Sequence[Wanted], moved: Mapping[str, str], notes: list[str]) -> list[Opened]:
    """Find the videos and read their masks; takes a while. What is to be said goes to `notes`, a line each."""
    return [_open_one(one, moved, notes) for one in wanted]


def _open_one(wanted: Wanted, moved: Mapping[str, str], notes: list[str]) -> Opened:
    item = wanted.item
    masks: VideoMasks | None = None
    if item.masks is not None:
        try:
            masks = load_masks(item.masks)
        except FlowCutError as error:
            notes.append(f"{error}; {item.video.name} is opened without masks")
    try:
        try:
            found = find_again(item.video, moved)
        except MovedVideoError as error:
            # The masks may know better: another session may have been told.
            if masks is None:
                raise MovedVideoError(f"the video {item.video.name} {error}", item.video) from None
            found = video_of_masks(masks, Path(item.masks or ""), moved)
    except MovedVideoError as error:
        return Opened(wanted, moved=error)
    except FlowCutError as error:
        notes.append(str(error))
        return Opened(wanted)
    if found.has_changed or (masks is not None and has_changed(masks.video, found.video)):
        notes.append(changed_text(found))
    elif masks is not None and moved and item.masks is not None:
        masks = _remember(masks, found, item.masks)
    return Opened(wanted, found, masks)


def _remember(masks: VideoMasks, found: FoundVideo, path: str) -> VideoMasks:
    """Let masks say where their video is now, so that it is asked for once."""
    place = str(found.video.path.resolve())
    if place == masks.video.path:
        return masks

    def tell(there: VideoMasks | None) -> VideoMasks:
        there = there or masks
        return replace(there, video=replace(there.video, path=place))

    with contextlib.suppress(FlowCutError):  # it is not ours to write: then it is asked for again
        return update_masks(path, tell)
    return masks


def show_opened(bench: Workbench, opened: Sequence[Opened]) -> None:
    """Put what was found into the window, that which is looked at last; the time axis goes to its frame."""
    front: Opened | None = None
    for one in opened:
        if one.found is None:
            continue
        if one.wanted.is_looked_at:
            front = one
        else:
            _show_behind(bench, one)
    if front is None:
        front = next((one for one in opened if one.found is not None and bench.video is None), None)
    if front is not None and front.found is not None:
        found = front.found
        bench.take(found.entry, found.video, found.sisters)
        _give_masks(bench, front)
        dims = bench.viewer.dims
        if dims.ndim >= 3:
            dims.set_current_step(dims.ndim - 3, min(front.wanted.item.frame, len(found.video) - 1))


def _show_behind(bench: Workbench, one: Opened) -> None:
    found = one.found
    assert found is not None  # asked of those only
    layer = layer_of(bench.viewer, found.video)
    if layer is None:
        # Known before it is there, so that the workbench does not take it for one that is to be looked at.
        bench.desk.put(found.video, found.entry, found.sisters)
        layer = frames_layer(bench.viewer, found.video)
        layer.visible = False
    if one.masks is not None and one.wanted.item.masks is not None:
        video = layer.data.video
        bench.desk.results(video, bench.parameters).put_saved(one.masks, Path(one.wanted.item.masks))


def _give_masks(bench: Workbench, one: Opened) -> None:
    path = one.wanted.item.masks
    if one.masks is None or path is None:
        return
    if one.wanted.brings_parameters:
        bench.set_parameters(one.masks.parameters)
    bench.take_saved(one.masks, Path(path))
