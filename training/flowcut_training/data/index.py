"""Where the clips of a json stand in its file, so that one of 321,000 is read without the others.

A json of 2 GB would be 10 GB of Python objects. It is read once, item by item; what is kept are arrays of numbers.
"""

from __future__ import annotations

import io
import zipfile
from array import array
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from flowcut_napari.core.errors import InputError
from flowcut_napari.core.files import write_atomically
from flowcut_napari.core.json_stream import read_places
from flowcut_training.data.records import LIST_NAMES, Kind, read_clip, read_track

_VERSION = 1
_KINDS: tuple[Kind, ...] = ("clips", "stills")
# Numbers that are noted of a clip and of a track.
_CLIP, _TRACK = 6, 8


@dataclass(frozen=True)
class ClipIndex:
    """The clips of a json, in the order of the file.

    Attributes
    ----------
    stamp : ndarray
        (4,) int64: version, kind, and size in bytes and time of change in ns of the json; it is valid for these alone.
    ids : ndarray
        (clips,) int64.
    clips : ndarray
        (clips, 2) int64, the first byte of each clip's item and the byte after its last.
    lengths : ndarray
        (clips,) int32, frames of each clip.
    tracks : ndarray
        (tracks, 2) int64, the same bytes of annotations, those of one clip together, else in the order of the file.
    crowds : ndarray
        (tracks,) bool, those that are crowds.
    firsts : ndarray
        (clips + 1,) int64: the tracks of clip `i` are ``firsts[i]`` to before ``firsts[i + 1]``.
    other_category : ndarray
        (2,) int64: the first annotation that is of another category than 1, and the category; zeros where none is.
    """

    stamp: np.ndarray
    ids: np.ndarray
    clips: np.ndarray
    lengths: np.ndarray
    tracks: np.ndarray
    crowds: np.ndarray
    firsts: np.ndarray
    other_category: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def instances(self) -> np.ndarray:
        """(clips,) int64: instances of each clip that are no crowds."""
        upto = np.concatenate(([0], np.cumsum(~self.crowds)))
        return upto[self.firsts[1:]] - upto[self.firsts[:-1]]

    def save(self, path: Path) -> None:
        """Write it whole or not at all.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        content = io.BytesIO()
        np.savez(content, **{field.name: getattr(self, field.name) for field in fields(self)})
        write_atomically(path, content.getvalue())


def stamp_of(path: Path, kind: Kind) -> np.ndarray:
    """Return what an index must say to be valid for a json as it is now.

    Raises
    ------
    InputError
        If there is no such file.
    """
    try:
        state = path.stat()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    return np.array([_VERSION, _KINDS.index(kind), state.st_size, state.st_mtime_ns], dtype=np.int64)


def load_index(path: Path, stamp: np.ndarray) -> ClipIndex | None:
    """Read an index, or return None where there is none, or it is of another state of the json, or damaged."""
    try:
        with np.load(path, allow_pickle=False) as content:
            index = ClipIndex(**{field.name: content[field.name] for field in fields(ClipIndex)})
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    return index if np.array_equal(index.stamp, stamp) and _is_sound(index) else None


def _is_sound(index: ClipIndex) -> bool:
    """Whether all arrays have their shapes and types, and all places lie in the file and in the arrays."""
    clips, tracks = len(index.ids), len(index.tracks)
    wanted = {
        "ids": ((clips,), np.int64),
        "clips": ((clips, 2), np.int64),
        "lengths": ((clips,), np.int32),
        "tracks": ((tracks, 2), np.int64),
        "crowds": ((tracks,), np.bool_),
        "firsts": ((clips + 1,), np.int64),
        "other_category": ((2,), np.int64),
    }
    if any(
        getattr(index, name).shape != shape or getattr(index, name).dtype != kind
        for name, (shape, kind) in wanted.items()
    ):
        return False
    size = int(index.stamp[2])
    places = np.concatenate((index.clips, index.tracks))
    return bool(
        (places[:, 0] >= 0).all()
        and (places[:, 0] < places[:, 1]).all()
        and (places[:, 1] <= size).all()
        and index.firsts[0] == 0
        and index.firsts[-1] == tracks
        and (np.diff(index.firsts) >= 0).all()
    )


def scan(path: Path, kind: Kind) -> ClipIndex:
    """Read a json through, check every item, and note where it stands.

    Masks are decoded when they are needed, not here.

    Parameters
    ----------
    path : Path
    kind : str
        ``clips`` for YouTube-VIS, ``stills`` for COCO.

    Raises
    ------
    InputError
        If the file cannot be read or anything in it is not as it should be, naming the first such item.
    """
    stamp = stamp_of(path, kind)
    scanned = _Scan(path, kind)
    names: set[str] = set()
    try:
        for name, value, start, end in read_places(path, names):
            if name == LIST_NAMES[kind]:
                scanned.add_clip(value, start, end)
            elif name == "annotations":
                scanned.add_track(value, start, end)
        _check_names(names, kind)
        scanned.check_references()
    except InputError as error:
        # What the reader raises names the file already.
        raise error if str(error).startswith(f"{path}: ") else InputError(f"{path}: {error}") from None
    return scanned.to_index(stamp)


def _check_names(names: set[str], kind: Kind) -> None:
    other: Kind = "clips" if kind == "stills" else "stills"
    if LIST_NAMES[kind] not in names and LIST_NAMES[other] in names:
        raise InputError(f"holds {other} (it has {LIST_NAMES[other]}), where {kind} are needed")
    for name in (LIST_NAMES[kind], "annotations"):
        if name not in names:
            raise InputError(f"has no {name}")


class _Scan:
    """What is found on the way, in arrays of numbers."""

    def __init__(self, path: Path, kind: Kind) -> None:
        self.path = path
        self.kind = kind
        self.other_category = (0, 0)
        # Of each: id, start, end, frames, height, width.
        self.clips = array("q")
        # Of each: id, start, end, clip, frames, height, width, crowd.
        self.tracks = array("q")

    def add_clip(self, value: object, start: int, end: int) -> None:
        clip = read_clip(value, self.kind, len(self.clips) // _CLIP)
        self.clips.extend((clip.id, start, end, len(clip.files), clip.height, clip.width))

    def add_track(self, value: object, start: int, end: int) -> None:
        track = read_track(value, self.kind, len(self.tracks) // _TRACK)
        if track.category != 1 and self.other_category == (0, 0):
            self.other_category = (track.id, track.category)
        height, width = track.size or (0, 0)
        self.tracks.extend((track.id, start, end, track.clip, len(track.segmentations), height, width, track.is_crowd))

    def check_references(self) -> None:
        clips, tracks = self._clip_table(), self._track_table()
        word = "clip" if self.kind == "clips" else "still"
        for what, ids in ((word, clips[:, 0]), ("annotation", tracks[:, 0])):
            if (twice := _first_repeated(ids)) is not None:
                raise InputError(f"{what} {twice}: its id is there twice")
        owners = self._owners()
        known = owners >= 0
        if not known.all():
            track = tracks[np.argmin(known)]
            raise InputError(f"annotation {track[0]}: refers to {word} {track[3]}, which is not there")
        owned = clips[owners] if len(tracks) else clips[:0]
        if (wrong := tracks[:, 4] != owned[:, 3]).any():
            track, clip = tracks[np.argmax(wrong)], owned[np.argmax(wrong)]
            raise InputError(
                f"annotation {track[0]} of {word} {clip[0]}: has {track[4]} segmentations, its {word} {clip[3]} frames"
            )
        if (wrong := (tracks[:, 5] > 0) & (tracks[:, 5:7] != owned[:, 4:6]).any(axis=1)).any():
            track, clip = tracks[np.argmax(wrong)], owned[np.argmax(wrong)]
            raise InputError(
                f"annotation {track[0]} of {word} {clip[0]}: its masks are {track[6]}x{track[5]}, "
                f"its {word} {clip[5]}x{clip[4]}"
            )

    def to_index(self, stamp: np.ndarray) -> ClipIndex:
        clips, tracks, owners = self._clip_table(), self._track_table(), self._owners()
        order = np.argsort(owners, kind="stable")
        firsts = np.searchsorted(owners[order], np.arange(len(clips) + 1))
        return ClipIndex(
            stamp=stamp,
            ids=clips[:, 0].copy(),
            clips=clips[:, 1:3].copy(),
            lengths=clips[:, 3].astype(np.int32),
            tracks=tracks[order, 1:3],
            crowds=tracks[order, 7].astype(bool),
            firsts=firsts.astype(np.int64),
            other_category=np.array(self.other_category, dtype=np.int64),
        )

    def _clip_table(self) -> np.ndarray:
        return np.array(self.clips, dtype=np.int64).reshape(-1, _CLIP)

    def _track_table(self) -> np.ndarray:
        return np.array(self.tracks, dtype=np.int64).reshape(-1, _TRACK)

    def _owners(self) -> np.ndarray:
        """Return the row of the clip of each track, -1 where there is none."""
        ids, wanted = self._clip_table()[:, 0], self._track_table()[:, 3]
        if not len(ids):
            return np.full(len(wanted), -1)
        order = np.argsort(ids, kind="stable")
        places = np.minimum(np.searchsorted(ids[order], wanted), len(ids) - 1)
        return np.where(ids[order][places] == wanted, order[places], -1)


def _first_repeated(ids: np.ndarray) -> int | None:
    rising = np.sort(ids)
    repeated = np.flatnonzero(rising[1:] == rising[:-1])
    return int(rising[repeated[0]]) if len(repeated) else None
