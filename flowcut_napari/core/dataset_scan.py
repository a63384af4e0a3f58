"""Where the clips of a json stand in its file, so that one of 100,000 is read without the others.

`flowcut_training.data.index` does the same and stops at the first thing that is wrong, as training must. Here
everything is taken that can be looked at, and what cannot is counted.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal, NamedTuple

import numpy as np

from flowcut_napari.core.errors import InputError
from flowcut_napari.core.json_stream import read_part, read_places

# Items between two words on how far it is.
_STEP = 64
# Of a problem as it is shown, letters.
_LONGEST = 160


class Progress(NamedTuple):
    """How far opening is: clips found so far, and the share of the work that is done, 0 to 1."""

    clips: int
    share: float


class Problems:
    """What is wrong, kind by kind: how often, and where it was first."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[int, str]] = {}

    def say(self, kind: str, place: str) -> None:
        """Take down one of a kind."""
        count, first = self._found.get(kind, (0, place[:_LONGEST]))
        self._found[kind] = count + 1, first

    def lines(self) -> tuple[str, ...]:
        """Return a line for each kind.

        Examples
        --------
        >>> problems = Problems()
        >>> for number in (3, 9):
        ...     problems.say("refers to no clip", f"annotation {number}")
        >>> problems.lines()
        ('annotation 3: refers to no clip (and 1 more like it)',)
        """
        return tuple(
            f"{first}: {kind}" + (f" (and {count - 1:,} more like it)" if count > 1 else "")
            for kind, (count, first) in self._found.items()
        )


@dataclass(frozen=True)
class JsonIndex:
    """The clips of a json, in the order of the file.

    Attributes
    ----------
    path : Path
    format : str
        ``ytvis``, or ``coco``, where each picture is a clip of one frame.
    clips : ndarray
        (clips, 2) int64, the first byte of each clip's item and the byte after its last.
    lengths : ndarray
        (clips,) int32, frames of each clip; 0 where it names none.
    tracks : ndarray
        (tracks, 2) int64, the same bytes of annotations, those of one clip together.
    firsts : ndarray
        (clips + 1,) int64: the tracks of clip `i` are ``firsts[i]`` to before ``firsts[i + 1]``.
    names : list of str
        Of the videos, each once.
    videos : ndarray
        (clips,) int32, which of `names` is that of each clip.
    frames : int
        Different frames of all clips.
    categories : dict
        Names of categories by their ids.
    problems : tuple of str
        What cannot be shown, a line each.
    """

    path: Path
    format: Literal["ytvis", "coco"]
    clips: np.ndarray
    lengths: np.ndarray
    tracks: np.ndarray
    firsts: np.ndarray
    names: list[str]
    videos: np.ndarray
    frames: int
    categories: dict[Hashable, str]
    problems: tuple[str, ...]
    stamp: tuple[int, int]

    def item(self, number: int) -> Any:
        """Read what the json says of a clip.

        Raises
        ------
        InputError
            If the json is no longer what was indexed.
        """
        return next(self._values(self.clips[number : number + 1]))

    def annotations(self, number: int) -> list[Any]:
        """Read the annotations of a clip; errors are those of `item`."""
        first, last = self.firsts[number : number + 2]
        return list(self._values(self.tracks[first:last]))

    def _values(self, places: np.ndarray) -> Iterator[Any]:
        try:
            with self.path.open("rb") as stream:
                if _stamp(os.fstat(stream.fileno())) != self.stamp:
                    raise InputError(f"{self.path}: was changed while it was looked at; open it again")
                for start, end in places.tolist():
                    yield read_part(self.path, stream, start, end)
        except OSError as error:
            raise InputError(f"{self.path}: cannot be read ({error.strerror or error})") from None


def files_of(item: Any) -> list[Any]:
    """Return the names of the frames of a clip as its item has them, whatever they are; none where it has none."""
    if not isinstance(item, dict):
        return []
    files = item.get("file_names") if "file_names" in item else [item["file_name"]] if "file_name" in item else []
    return files if isinstance(files, list) else []


def video_name(files: list[Any], number: int) -> str:
    """Return what the video of a clip is called: the folder of its frames, or the file of a picture without one."""
    if not files or not isinstance(files[0], str):
        return f"({number})"
    file = PurePosixPath(files[0][:1000])
    return file.parent.name or file.stem or f"({number})"


def scan_json(path: Path, on_progress: Callable[[Progress], None] | None = None) -> JsonIndex:
    """Read a YouTube-VIS or COCO json through, item by item, and note where everything stands.

    Parameters
    ----------
    path : Path
    on_progress : callable, optional
        Called now and then; what it raises ends the reading.

    Raises
    ------
    InputError
        If the file cannot be read, or no clip is in it.
    """
    tell = on_progress or (lambda progress: None)
    try:
        stamp = _stamp(path.stat())
        _refuse_lists(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    size = max(1, stamp[0])
    names: set[str] = set()
    tables = {"videos": _Table("video_id"), "images": _Table("image_id")}
    categories: dict[Hashable, str] = {}
    for place, (name, value, start, end) in enumerate(read_places(path, names)):
        if place % _STEP == 0:
            tell(Progress(max(len(table) for table in tables.values()), start / size))
        if name in tables:
            tables[name].add_clip(value, start, end)
        elif name == "annotations" and value is not None:  # null in files whose truth is kept back
            is_track = isinstance(value, dict) and ("segmentations" in value or "video_id" in value)
            tables["videos" if is_track else "images"].add_track(value, start, end)
        elif name == "categories" and isinstance(value, dict):
            number, word = value.get("id"), value.get("name")
            if isinstance(number, int | str) and isinstance(word, str):
                categories[number] = word
    # Some list the pictures of their videos, too.
    name = "videos" if "videos" in names and (tables["videos"].files or "images" not in names) else "images"
    table = tables[name]
    if not len(table):
        what = f"its {name} are none" if name in names else "it has neither videos nor images"
        raise InputError(f"{path}: no dataset ({what})")
    tell(Progress(len(table), 1.0))
    return table.to_index(path, "ytvis" if name == "videos" else "coco", categories, stamp)


def _stamp(state: os.stat_result) -> tuple[int, int]:
    return state.st_size, state.st_mtime_ns


def _refuse_lists(path: Path) -> None:
    with path.open("rb") as stream:
        start = stream.read(4096).lstrip()
    if not start:
        raise InputError(f"{path}: no dataset (the file is empty)")
    if start.startswith(b"["):
        raise InputError(f"{path}: no dataset (a list, perhaps of results; a dataset has videos and annotations)")


class _Table:
    """Clips and tracks as they are found, in arrays of numbers."""

    def __init__(self, reference: str) -> None:
        self._reference = reference
        self._problems = Problems()
        # Ids may be numbers or texts, and be referred to before they are there.
        self._keys: dict[Hashable, int] = {}
        self._names: dict[str, int] = {}
        # Of each: key, start, end, frames, name.
        self._clips = array("q")
        # Of each: key of its clip, start, end.
        self._tracks = array("q")
        # Clips share frames; of their names a number each will do.
        self.files: set[int] = set()

    def __len__(self) -> int:
        return len(self._clips) // 5

    def add_clip(self, value: Any, start: int, end: int) -> None:
        number = len(self)
        key = self._key(value.get("id") if isinstance(value, dict) else None)
        if key is None:
            self._problems.say("is no clip with an id", f"item {number} of the list")
            return
        files = files_of(value)
        name = self._names.setdefault(video_name(files, number), len(self._names))
        self.files.update(hash(file) for file in files if isinstance(file, str))
        self._clips.extend((key, start, end, len(files), name))

    def add_track(self, value: Any, start: int, end: int) -> None:
        key = self._key(value.get(self._reference) if isinstance(value, dict) else None)
        if key is None:
            self._problems.say(f"has no {self._reference}", f"item {len(self._tracks) // 3} of annotations")
        else:
            self._tracks.extend((key, start, end))

    def _key(self, number: Any) -> int | None:
        if not isinstance(number, int | str) or isinstance(number, bool):
            return None
        return self._keys.setdefault(number, len(self._keys))

    def to_index(
        self, path: Path, kind: Literal["ytvis", "coco"], categories: dict[Hashable, str], stamp: tuple[int, int]
    ) -> JsonIndex:
        clips = np.array(self._clips, dtype=np.int64).reshape(-1, 5)
        tracks = np.array(self._tracks, dtype=np.int64).reshape(-1, 3)
        ids = list(self._keys)
        # The first clip of an id has its annotations.
        keys, rows = np.unique(clips[:, 0], return_index=True)
        for row in np.setdiff1d(np.arange(len(clips)), rows):
            self._problems.say("its id is there twice; the first has all masks", f"clip {ids[clips[row, 0]]}")
        owners = np.full(len(ids), -1)
        owners[keys] = rows
        owner = owners[tracks[:, 0]]
        for key in tracks[owner < 0, 0].tolist():
            self._problems.say("masks of a clip that is not there", f"{self._reference} {ids[key]}")
        order = np.argsort(owner, kind="stable")
        return JsonIndex(
            path=path,
            format=kind,
            clips=clips[:, 1:3].copy(),
            lengths=clips[:, 3].astype(np.int32),
            tracks=tracks[order, 1:3],
            firsts=np.searchsorted(owner[order], np.arange(len(clips) + 1)).astype(np.int64),
            names=list(self._names),
            videos=clips[:, 4].astype(np.int32),
            frames=len(self.files),
            categories=categories,
            problems=self._problems.lines(),
            stamp=stamp,
        )
