"""Predictions of one video as ``flowcut predict`` wrote them: tracks with a score, and a mask in each frame.

What a person sees of them follows METHOD 9.3: masks may overlap, and the one with the best score lies on top.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from flowcut_napari.core.errors import InputError, printable
from flowcut_napari.core.frames import Video
from flowcut_napari.core.json_stream import read_items, read_list
from flowcut_napari.core.segmentations import Packed, area_of, pack, stated_size, unpack

RESULTS, VIDEOS, ABOUT = "results.json", "videos.json", "prediction.json"
SCHEMA = "flowcut.prediction/1"
# A label is a number of 16 bits, and nobody looks at more.
MOST_TRACKS = 1000
# What a pixel of `differences` is.
NOTHING, HIT, MISS, FALSE = 0, 1, 2, 3


@dataclass(frozen=True, slots=True)
class PredictedTrack:
    """One instance through a video.

    Attributes
    ----------
    id : int
        Its label, from 1 by falling score; the same in all frames.
    score : float
        0 to 1.
    masks : tuple of (Packed or None)
        One for each frame of the prediction; None where it has no pixel.
    """

    id: int
    score: float
    masks: tuple[Packed | None, ...]

    @property
    def seen(self) -> int:
        """In how many frames it has a pixel."""
        return sum(mask is not None for mask in self.masks)


# No two are equal: who keeps what was made of one asks whether it is the same.
@dataclass(frozen=True, eq=False)
class Prediction:
    """The tracks of one video.

    Attributes
    ----------
    path : Path
        The folder that they were read from.
    video : str
        Name of the video.
    size : (int, int)
        Height and width in pixels.
    frames : tuple of int
        The frames of the video that were predicted on, rising; not all of them need be.
    tracks : tuple of PredictedTrack
        By falling score.
    model : str
        The weights file, as the prediction names it; empty where it does not.
    step : int or None
        Steps of training of the model, where known.
    windows : int
        In how many windows the video was seen; 1 is all of it at once.
    seconds : float or None
        What it took.
    """

    path: Path
    video: str
    size: tuple[int, int]
    frames: tuple[int, ...]
    tracks: tuple[PredictedTrack, ...]
    model: str = ""
    step: int | None = None
    windows: int = 1
    seconds: float | None = None

    @cached_property
    def _places(self) -> dict[int, int]:
        return {frame: place for place, frame in enumerate(self.frames)}

    def place_of(self, frame: int) -> int | None:
        """Return the place of a frame of the video in `frames`; None if it was not predicted on."""
        return self._places.get(frame)

    def count(self, threshold: float) -> int:
        """Return how many tracks have at least this score: the first so many of `tracks`."""
        return sum(track.score >= threshold for track in self.tracks)

    def paint(self, frame: int, threshold: float = 0.0) -> np.ndarray:
        """Return the labels of a frame, (H, W) uint16: the id of the track at each pixel, else 0.

        Painted by rising score, so that of overlapping masks the best is seen (METHOD 9.3). A frame that was not
        predicted on is empty.
        """
        # pycocotools counts down the columns, so all of it does; napari takes either.
        labels = np.zeros(self.size, np.uint16, order="F")
        place = self.place_of(frame)
        if place is not None:
            for track in reversed(self.tracks[: self.count(threshold)]):
                if (mask := track.masks[place]) is not None:
                    np.copyto(labels, np.uint16(track.id), where=unpack(mask).view(bool))
        return labels


def differences(prediction: np.ndarray, reference: np.ndarray, void: np.ndarray | None = None) -> np.ndarray:
    """Compare the foreground of two pictures of labels, pixel by pixel.

    Parameters
    ----------
    prediction, reference : (H, W) integer
        0 is background.
    void : (H, W) bool, optional
        Pixels that do not count.

    Returns
    -------
    (H, W) uint8
        0 nothing, 1 hit (both), 2 miss (the reference alone), 3 false (the prediction alone).

    Raises
    ------
    InputError
        If they differ in size.
    """
    if prediction.shape != reference.shape:
        raise InputError(f"labels of {_by(prediction.shape)} cannot be compared with those of {_by(reference.shape)}")
    found, wanted = prediction > 0, reference > 0
    compared = np.where(found, np.where(wanted, np.uint8(HIT), np.uint8(FALSE)), wanted * np.uint8(MISS))
    if void is not None:
        compared[void] = NOTHING
    return compared


def read_prediction(folder: Path, video: Video) -> Prediction:
    """Read the predictions of one video out of a folder of ``flowcut predict``.

    Parameters
    ----------
    folder : Path
        With ``results.json`` and ``videos.json``, of one video or of many.
    video : Video
        The one that is looked at; known by its name, its size and the names of its frames.

    Raises
    ------
    InputError
        If there is nothing of this video, it is of another size, or the files are damaged.
    """
    about = _read_about(folder)
    listed = _find(folder, video)
    number, files = int(listed["id"]), listed["file_names"]
    frames = _frames_of(folder / VIDEOS, files, video)
    tracks = []
    for place, item in enumerate(read_list(folder / RESULTS)):
        if not isinstance(item, dict) or type(item.get("video_id")) is not int:
            raise InputError(f"{folder / RESULTS}: result {place} is none of a video")
        if item["video_id"] == number:
            tracks.append(_track(f"{folder / RESULTS}: result {place}", item, len(files), (video.height, video.width)))
            if len(tracks) > MOST_TRACKS:
                raise InputError(f"{folder / RESULTS}: more than {MOST_TRACKS} instances of {video.name}")
    # Stable: of equal scores the order of the file holds.
    tracks.sort(key=lambda track: -track[0])
    best = tuple(PredictedTrack(place, score, masks) for place, (score, masks) in enumerate(tracks, start=1))
    return Prediction(folder, video.name, (video.height, video.width), frames, best, **about.get(number, {}))


def frame_names(video: Video) -> list[tuple[str, ...]]:
    """Return what files call each frame of a video: as its own json does, and as results and exports do."""
    names: list[tuple[str, ...]] = []
    for index in range(len(video)):
        file = video.frame_file(index) or f"{index:05d}.jpg"
        names.append((file, f"{video.name}/{file}"))
    return names


def _read_about(folder: Path) -> dict[int, dict[str, Any]]:
    """Return what ``prediction.json`` says of each video, by its id; nothing where there is no such file."""
    path = folder / ABOUT
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    if not path.is_file():
        if not (folder / RESULTS).is_file():
            raise InputError(f"{folder}: no predictions here; give a folder that `flowcut predict -o` made")
        return {}
    schema = form = None
    model: dict[str, Any] = {}
    videos: dict[int, dict[str, Any]] = {}
    for name, value in read_items(path):
        if name == "schema":
            schema = value
        elif name == "format":
            form = value
        elif name == "model" and isinstance(value, dict):
            model = value
        elif name == "videos" and isinstance(value, dict) and type(value.get("id")) is int:
            videos[value["id"]] = value
    if schema != SCHEMA:
        raise InputError(f"{path}: its schema is {str(schema)[:60]!r}; this version reads {SCHEMA!r}")
    if form != "ytvis":
        raise InputError(f"{folder}: pictures of {str(form)[:20]}, which know no scores; predict with --format ytvis")
    file, step = model.get("file"), model.get("step")
    return {
        number: {
            "model": printable(file) if isinstance(file, str) else "",
            "step": step if type(step) is int else None,
            "windows": _windows(value.get("windows")),
            "seconds": float(seconds) if isinstance(seconds := value.get("seconds"), int | float) else None,
        }
        for number, value in videos.items()
    }


def _windows(windows: Any) -> int:
    count = windows.get("count") if isinstance(windows, dict) else None
    return count if type(count) is int and count > 0 else 1


def _find(folder: Path, video: Video) -> Mapping[str, Any]:
    """Return what ``videos.json`` says of a video."""
    path = folder / VIDEOS
    names: list[str] = []
    for place, (name, value) in enumerate(read_items(path)):
        if name != "videos":
            continue
        if not isinstance(value, dict) or type(value.get("id")) is not int or not isinstance(value.get("name"), str):
            raise InputError(f"{path}: video {place} has no id or no name")
        if value["name"] != video.name:
            names.append(printable(value["name"])[:80])
            continue
        files = value.get("file_names")
        if not isinstance(files, list) or not files or not all(isinstance(file, str) for file in files):
            raise InputError(f"{path}: {video.name} has no list of file_names")
        size = value.get("height"), value.get("width")
        if size != (video.height, video.width):
            stated = "x".join(str(side)[:12] for side in reversed(size))
            raise InputError(
                f"{folder}: predictions for {video.name} of {stated}; the video that is open is {video.width}x"
                f"{video.height}"
            )
        return value
    if not names:
        raise InputError(f"{path}: lists no videos")
    some = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    raise InputError(f"{folder}: predictions for {some}; the video that is open is {video.name}")


def _frames_of(path: Path, files: Sequence[str], video: Video) -> tuple[int, ...]:
    """Return which frames of the video some files are."""
    index_of = {name: index for index, names in enumerate(frame_names(video)) for name in names}
    frames = []
    for file in files:
        if file not in index_of:
            raise InputError(f"{path}: {video.name}, as it is open, has no frame {printable(file)[:80]!r}")
        frames.append(index_of[file])
    if any(later <= earlier for earlier, later in pairwise(frames)):
        raise InputError(f"{path}: the frames of {video.name} are not in their order")
    return tuple(frames)


def _track(
    where: str, item: Mapping[str, Any], length: int, size: tuple[int, int]
) -> tuple[float, tuple[Packed | None, ...]]:
    score = item.get("score")
    # True is an int to Python; NaN is in no range.
    if not isinstance(score, int | float) or isinstance(score, bool) or not 0 <= score <= 1:
        raise InputError(f"{where}: its score is {repr(score)[:40]}, not from 0 to 1")
    masks = item.get("segmentations")
    if not isinstance(masks, list) or len(masks) != length:
        found = len(masks) if isinstance(masks, list) else "no list of"
        raise InputError(f"{where}: it has {found} masks for {length} frames")
    packed: list[Packed | None] = []
    for place, mask in enumerate(masks):
        if mask is None:
            packed.append(None)
            continue
        if stated_size(mask) is None:
            raise InputError(f"{where}, frame {place}: its mask is no run-length code")
        try:
            code = pack(mask, *size)
        except InputError as error:
            raise InputError(f"{where}, frame {place}: {error}") from None
        packed.append(code if area_of(code) else None)
    return float(score), tuple(packed)


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
