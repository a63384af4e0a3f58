"""Reading what ``flowcut predict`` wrote of one video, or results of others in the same forms; all of it is checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from flowcut_napari.core.errors import InputError, printable
from flowcut_napari.core.frames import Video
from flowcut_napari.core.json_stream import read_items, read_list
from flowcut_napari.core.label_pictures import read_labels
from flowcut_napari.core.predictions import PredictedTrack, Prediction
from flowcut_napari.core.scoring import VOID, read_annotations
from flowcut_napari.core.segmentations import Packed, area_of, pack, pack_mask, stated_size

RESULTS, VIDEOS, ABOUT = "results.json", "videos.json", "prediction.json"
SCHEMA = "flowcut.prediction/1"
# A label is a number of 16 bits, and nobody looks at more.
MOST_TRACKS = 1000


def read_prediction(folder: Path, video: Video) -> Prediction:
    """Read the predictions of one video out of a folder of ``flowcut predict``.

    Parameters
    ----------
    folder : Path
        With ``results.json`` and ``videos.json``, or a folder of indexed PNG for each video (DAVIS), which know no
        scores; of one video or of many.
    video : Video
        The one that is looked at; known by its name, its size and the names of its frames.

    Raises
    ------
    InputError
        If there is nothing of this video, it is of another size, or the files are damaged.
    """
    about = _read_about(folder)
    if not (folder / RESULTS).is_file() and (folder / video.name).is_dir():
        return _read_pictures(folder, video, about)
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
    more = about.get(video.name, {})
    return Prediction(folder, video.name, (video.height, video.width), frames, best, **more)


def frame_names(video: Video) -> list[tuple[str, ...]]:
    """Return what files call each frame of a video: as its own json does, and as results and exports do."""
    names: list[tuple[str, ...]] = []
    for index in range(len(video)):
        file = video.frame_file(index) or f"{index:05d}.jpg"
        names.append((file, f"{video.name}/{file}"))
    return names


def _read_about(folder: Path) -> dict[str, dict[str, Any]]:
    """Return what ``prediction.json`` says of each video, by its name; nothing where there is no such file."""
    path = folder / ABOUT
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    if not path.is_file():
        if not (folder / RESULTS).is_file() and not any(entry.is_dir() for entry in folder.iterdir()):
            raise InputError(f"{folder}: no predictions here; give a folder that `flowcut predict -o` made")
        return {}
    schema = None
    model: dict[str, Any] = {}
    videos: dict[str, dict[str, Any]] = {}
    for name, value in read_items(path):
        if name == "schema":
            schema = value
        elif name == "model" and isinstance(value, dict):
            model = value
        elif name == "videos" and isinstance(value, dict) and isinstance(value.get("name"), str):
            videos[value["name"]] = value
    if schema != SCHEMA:
        raise InputError(f"{path}: its schema is {str(schema)[:60]!r}; this version reads {SCHEMA!r}")
    file, step = model.get("file"), model.get("step")
    return {
        name: {
            "model": printable(file) if isinstance(file, str) else "",
            "step": step if type(step) is int else None,
            "windows": _windows(value.get("windows")),
            "seconds": float(seconds) if isinstance(seconds := value.get("seconds"), int | float) else None,
        }
        for name, value in videos.items()
    }


def _read_pictures(folder: Path, video: Video, about: Mapping[str, dict[str, Any]]) -> Prediction:
    """Read a picture of numbers a frame: whoever has the lower number had the better score."""
    files = read_annotations(folder / video.name)
    frames: list[int] = []
    found: dict[int, dict[int, Packed]] = {}
    for index in range(len(video)):
        path = files.get(PurePosixPath(video.frame_file(index) or f"{index:05d}").stem)
        if path is None:
            continue
        labels = read_labels(path, video)
        for number in np.unique(labels):
            if number not in (0, VOID):
                found.setdefault(int(number), {})[len(frames)] = pack_mask(labels == number)
        frames.append(index)
    if not frames:
        raise InputError(f"{folder / video.name}: none of its pictures is of a frame of {video.name}")
    tracks = tuple(
        PredictedTrack(place, None, tuple(masks.get(spot) for spot in range(len(frames))))
        for place, (_, masks) in enumerate(sorted(found.items()), start=1)
    )
    more = about.get(video.name, {})
    return Prediction(folder, video.name, (video.height, video.width), tuple(frames), tracks, **more)


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
