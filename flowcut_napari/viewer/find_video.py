"""Finding the video again that masks or a session were made of, also where it has moved."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from flowcut_napari.core.errors import InputError
from flowcut_napari.core.store import VideoRecord
from flowcut_napari.core.video import Video, VideoEntry, find_videos, find_videos_below


class MovedVideoError(InputError):
    """The video is not where it was, or is another one there; a user may know where it went."""

    def __init__(self, message: str, record: VideoRecord) -> None:
        super().__init__(message)
        self.record = record


@dataclass(frozen=True)
class FoundVideo:
    """A video that was found again: how, opened, with what else was there; `has_changed` if its content is another."""

    entry: VideoEntry
    video: Video
    sisters: tuple[VideoEntry, ...]
    has_changed: bool


def find_again(record: VideoRecord, moved: Mapping[str, str] | None = None) -> FoundVideo:
    """Find and open a video where it was, or where a user says that it has gone.

    Parameters
    ----------
    record : VideoRecord
        What is known of it; `path` may be any address that `find_videos` takes.
    moved : mapping of str to str, optional
        New places by old ones. A folder may also be one that has the video in it. Others that lay beside a video
        that has moved are looked for beside its new place.

    Raises
    ------
    MovedVideoError
        If it is not there, or has another size or length. The text goes on from "the video of ...".
    """
    places = new_places(record.path, moved or {})
    problem: MovedVideoError | None = None
    for address, is_chosen in places or [(record.path, False)]:
        for below in (False, True) if is_chosen else (False,):
            try:
                return _open_at(address, record, below)
            except InputError as error:
                # What is said of the first place is what a user can make use of.
                problem = problem or MovedVideoError(str(error), record)
    assert problem is not None  # there is one place at least
    raise problem


def new_places(address: str, moved: Mapping[str, str]) -> list[tuple[str, bool]]:
    """Return where a video may be now, and whether a user named that place; nothing if nothing is known of it.

    Examples
    --------
    >>> new_places("/old/DAVIS/dog", {"/old/DAVIS/cat": "/new/DAVIS/cat"})
    [('/new/DAVIS/dog', False)]
    """
    if address in moved:
        return [(moved[address], True)]
    found = []
    for old, new in moved.items():
        old_parts, new_parts = list(Path(old).parts), list(Path(new).parts)
        while old_parts and new_parts and old_parts[-1] == new_parts[-1]:
            old_parts.pop()
            new_parts.pop()
        if old_parts and tuple(old_parts) == Path(address).parts[: len(old_parts)]:
            found.append((str(Path(*new_parts, *Path(address).parts[len(old_parts) :])), False))
    return found


def address_of(video: Video, entry: VideoEntry | None, sisters: int) -> str:
    """Return an address at which a video is found again by its name, and the others that were found with it."""
    if entry is None:
        return os.path.abspath(video.path)
    place = os.path.abspath(entry.place)
    root, separator, _ = place.rpartition("::")
    if separator:
        return root
    if sisters < 2:
        return place
    return next((str(parent.parent) for parent in Path(place).parents if parent.name == "JPEGImages"), place)


def _open_at(address: str, record: VideoRecord, below: bool) -> FoundVideo:
    try:
        entries = find_videos_below(address)[0] if below else find_videos(address)
        # Not by its address: what is safe as the name of a file need not be what the video is called there.
        named = [entry for entry in entries if entry.name == record.name]
        if not named and (below or len(entries) > 1):
            raise InputError(f"{address}: has no video {record.name}")
        entry = (named or entries)[0]
        video = entry.open()
    except InputError as error:
        raise InputError(f"cannot be opened: {error}") from None
    if (len(video), video.height, video.width) != (record.frames, record.height, record.width):
        raise InputError(
            f"had {record.frames} frames of {record.width}x{record.height}, but {address} has "
            f"{len(video)} of {video.width}x{video.height}"
        )
    return FoundVideo(entry, video, tuple(entries), has_changed(record, video))


def has_changed(record: VideoRecord, video: Video) -> bool:
    """Whether a video of the same size and length is not what it was."""
    try:
        return bool(record.fingerprint) and video.fingerprint() != record.fingerprint
    except OSError:  # what cannot be read is said when it is shown
        return False
