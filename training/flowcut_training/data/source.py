"""A dataset on disk that is read clip by clip; `opening` finds and opens it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from flowcut_napari.core.errors import InputError
from flowcut_napari.core.images import read_rgb
from flowcut_napari.core.json_stream import read_part
from flowcut_napari.core.segmentations import decode_segmentation
from flowcut_training.data.index import ClipIndex
from flowcut_training.data.records import ClipRecord, Kind, TrackRecord, read_clip, read_track


@dataclass(frozen=True)
class LoadedClip:
    """Frames and instances of a clip as they are on disk.

    Attributes
    ----------
    name : str
        What messages call it, ``clip 12 (video)``.
    frames : tuple of ndarray
        (H, W, 3) uint8 RGB each.
    tracks : tuple of tuple
        Of each instance and frame a mask (H, W) uint8, 0 and 1, or None where it is not there.
    """

    name: str
    frames: tuple[np.ndarray, ...]
    tracks: tuple[tuple[np.ndarray | None, ...], ...]


@dataclass(frozen=True)
class ClipSource:
    """Clips or stills of a dataset, numbered from 0 in the order of its json; a still is a clip of one frame.

    Holds numbers alone, so that it is quickly sent to other processes; files are open only while they are read.

    Attributes
    ----------
    path : Path
        The json.
    root : Path
        The folder that file names of frames start from.
    kind : str
        ``clips`` or ``stills``.
    index : ClipIndex
    """

    path: Path
    root: Path
    kind: Kind
    index: ClipIndex

    def __len__(self) -> int:
        return len(self.index)

    def describe(self, number: int) -> str:
        """Return what messages call a clip, ``clip 12 (video)``; 12 is its id in the json."""
        return self._name(self.clip_record(number))

    def clip_record(self, number: int) -> ClipRecord:
        """Read what the json says of a clip.

        Raises
        ------
        InputError
            If the json is no longer what was indexed.
        """
        return self._checked(read_clip, self.item(number))

    def track_records(self, number: int) -> list[TrackRecord]:
        """Read what the json says of the instances of a clip, crowds included; errors are those of `clip_record`."""
        return [self._checked(read_track, value) for value in self.annotations(number)]

    def item(self, number: int) -> dict[str, Any]:
        """Read the video or image as it stands in the json; errors are those of `clip_record`."""
        (value,) = self._values(self.index.clips[number : number + 1])
        return value

    def annotations(self, number: int) -> list[dict[str, Any]]:
        """Read the annotations of a clip as they stand in the json; errors are those of `clip_record`."""
        first, last = self.index.firsts[number : number + 2]
        return self._values(self.index.tracks[first:last])

    def load(self, number: int, places: Sequence[int] | None = None) -> LoadedClip:
        """Read frames and masks of a clip; crowds are left out.

        Parameters
        ----------
        number : int
            From 0.
        places : sequence of int, optional
            Which of its frames, from 0, repeated or not; all where not given.

        Raises
        ------
        InputError
            If a frame is missing, damaged or of another size than the json says, or a mask cannot be decoded; naming
            clip and file.
        """
        clip = self.clip_record(number)
        name = self._name(clip)
        chosen = range(len(clip.files)) if places is None else places
        different = sorted(set(chosen))
        frames = {place: self._frame(clip, place) for place in different}
        tracks = [
            {place: self._mask(clip, track, place) for place in different}
            for track in self.track_records(number)
            if not track.is_crowd
        ]
        return LoadedClip(
            name,
            tuple(frames[place] for place in chosen),
            tuple(tuple(track[place] for place in chosen) for track in tracks),
        )

    def load_frame(self, number: int, place: int) -> np.ndarray:
        """Read one frame of a clip, (H, W, 3) uint8 RGB; errors are those of `load`."""
        return self._frame(self.clip_record(number), place)

    def trainable(self, frames: int) -> np.ndarray:
        """Return the numbers of the clips to train on, (clips,) int64: those that have an instance.

        Raises
        ------
        InputError
            If there is none, one of them has fewer than `frames` frames (unless they are stills, which are repeated),
            or something is of another category than 1.
        """
        if not len(self):
            raise InputError(f"{self.path}: has no {self.kind}")
        annotation, category = (int(number) for number in self.index.other_category)
        if category:
            raise InputError(
                f"{self.path}: annotation {annotation} is of category {category}; the model knows one class, "
                "so every category_id must be 1"
            )
        numbers = np.flatnonzero(self.index.instances)
        if not len(numbers):
            raise InputError(f"{self.path}: none of its {len(self)} {self.kind} has an instance")
        short = numbers[self.index.lengths[numbers] < frames] if self.kind == "clips" else numbers[:0]
        if len(short):
            length = int(self.index.lengths[short[0]])
            raise InputError(
                f"{self.path}: {self.describe(int(short[0]))} has {length} frame{'s' * (length > 1)}, samples have "
                f"{frames}; so short are {len(short)} of {len(numbers)} clips: set frames to {length}, or give longer "
                "clips"
            )
        return numbers

    def _name(self, clip: ClipRecord) -> str:
        return f"clip {clip.id} ({clip.video})" if self.kind == "clips" else f"still {clip.id} ({clip.files[0]})"

    def _values(self, places: np.ndarray) -> list[Any]:
        try:
            with self.path.open("rb") as stream:
                state = os.fstat(stream.fileno())
                if (state.st_size, state.st_mtime_ns) != tuple(self.index.stamp[2:].tolist()):
                    raise InputError(f"{self.path}: was changed while it was in use; start again")
                return [read_part(self.path, stream, int(start), int(end)) for start, end in places]
        except OSError as error:
            raise InputError(f"{self.path}: cannot be read ({error.strerror or error})") from None

    def _checked(self, read: Any, value: Any) -> Any:
        try:
            return read(value, self.kind)
        except InputError as error:
            raise InputError(f"{self.path}: {error}") from None

    def _frame(self, clip: ClipRecord, place: int) -> np.ndarray:
        file = self.root / clip.files[place]
        try:
            frame = read_rgb(file)
        except InputError as error:
            raise InputError(f"{self._name(clip)}: {error}") from None
        height, width = frame.shape[:2]
        if (height, width) != (clip.height, clip.width):
            raise InputError(
                f"{self._name(clip)}: {file}: is {width}x{height}, {self.path.name} says {clip.width}x{clip.height}"
            )
        return frame

    def _mask(self, clip: ClipRecord, track: TrackRecord, place: int) -> np.ndarray | None:
        segmentation = track.segmentations[place]
        if segmentation is None:
            return None
        try:
            return decode_segmentation(segmentation, clip.height, clip.width)
        except InputError as error:
            raise InputError(
                f"{self._name(clip)}: {self.path}: annotation {track.id}, frame {place}: {error}"
            ) from None
