"""Results of one video as YouTube-VIS and DAVIS have them."""

from __future__ import annotations

import json
import shutil
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
from PIL import Image

from flowcut_napari.core.errors import InputError
from flowcut_napari.core.formats.davis import davis_palette
from flowcut_napari.core.formats.ytvis import CATEGORIES
from flowcut_napari.core.masks import decode_rle
from flowcut_training.evaluation.davis import MOST_PROPOSALS
from flowcut_training.predict.growing import GrowingList
from flowcut_training.predict.tracks import Track, VideoPrediction

PredictionFormat = Literal["ytvis", "davis"]
PREDICTION, RESULTS, VIDEOS = "prediction.json", "results.json", "videos.json"


@dataclass(frozen=True)
class ResultVideo:
    """What results say of a video: `files` are the names of its frames that were predicted on."""

    id: int
    name: str
    height: int
    width: int
    files: tuple[str, ...]


class ResultWriter(ABC):
    """Writes the results of videos into a folder, one video after the other."""

    documents: Sequence[GrowingList] = ()

    @abstractmethod
    def add(self, video: ResultVideo, prediction: VideoPrediction) -> int:
        """Write the results of a video; return how many instances they have.

        Raises
        ------
        InputError
            If the format cannot hold them.
        OSError
            If they cannot be written; then `undo` must follow.
        """

    @abstractmethod
    def undo(self, video: ResultVideo) -> None:
        """Take away what `add` has written outside of `documents`."""

    @abstractmethod
    def finish(self) -> None:
        """Write what belongs to all videos."""


class YtvisResults(ResultWriter):
    """``results.json``, a list of instances (METHOD 7.6), and ``videos.json``, which says what their ids stand for."""

    def __init__(self, folder: Path) -> None:
        self._results = GrowingList(folder / RESULTS)
        self._videos = GrowingList(folder / VIDEOS, '{"videos":')
        self.documents = (self._results, self._videos)

    def add(self, video: ResultVideo, prediction: VideoPrediction) -> int:
        """Add a video and its instances."""
        self._results.add(_ytvis_result(video.id, track) for track in prediction.tracks)
        about = {
            "id": video.id,
            "name": video.name,
            "width": video.width,
            "height": video.height,
            "length": len(video.files),
            "file_names": video.files,
        }
        self._videos.add([json.dumps(about, separators=(",", ":"))])
        return len(prediction.tracks)

    def undo(self, video: ResultVideo) -> None:
        """Do nothing: all is in the documents."""

    def finish(self) -> None:
        """Close both documents."""
        self._results.finish()
        self._videos.finish(f',\n"categories":{CATEGORIES},"annotations":[]}}')


class DavisResults(ResultWriter):
    """A folder a video with a palette PNG a frame: the number of the instance at each pixel, 0 where there is none.

    Masks are painted by rising score, so that of overlapping ones the best is seen (METHOD 9.3). Numbers go from 1
    by falling score, over those that are seen somewhere; the benchmark takes 20.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, video: ResultVideo, prediction: VideoPrediction) -> int:
        """Paint the frames of a video."""
        if video.name.casefold() == PREDICTION:
            raise InputError(f"{video.name}: the results have a file of this name; rename the video")
        tracks = [track for track in prediction.tracks if any(track.masks)][:MOST_PROPOSALS]
        size = (video.height, video.width)
        seen = np.zeros(len(tracks) + 1, dtype=bool)
        for place in range(len(video.files)):
            seen[paint(tracks, place, size)] = True
        seen[0] = False
        # Numbers without a pixel would count as proposals.
        numbers = np.where(seen, np.cumsum(seen), 0).astype(np.uint8)
        folder = self._folder / video.name
        folder.mkdir()
        for place, name in enumerate(frame_names(video.files)):
            picture = Image.fromarray(numbers[paint(tracks, place, size)])
            picture.putpalette(davis_palette())
            picture.save(folder / f"{name}.png")
        return int(seen.sum())

    def undo(self, video: ResultVideo) -> None:
        """Remove the folder of a video."""
        shutil.rmtree(self._folder / video.name, ignore_errors=True)

    def finish(self) -> None:
        """Do nothing: every video is whole by itself."""


def paint(tracks: Sequence[Track], place: int, size: tuple[int, int]) -> np.ndarray:
    """Return the labels of a frame, (H, W) uint8: the place in `tracks`, the best first, from 1; the best is on top."""
    labels = np.zeros(size, dtype=np.uint8)
    for number in range(len(tracks), 0, -1):
        mask = tracks[number - 1].masks[place]
        if mask is not None:
            labels[decode_rle(mask)] = number
    return labels


def frame_names(files: Sequence[str]) -> list[str]:
    """Return the names of frames without folder and suffix where these tell them apart, else numbers."""
    names = [PurePosixPath(file).stem for file in files]
    if len({name.casefold() for name in names}) < len(names):
        return [f"{place:05d}" for place in range(len(files))]
    return names


def _ytvis_result(number: int, track: Track) -> str:
    result = {"video_id": number, "category_id": 1, "score": track.score, "segmentations": track.masks}
    return json.dumps(result, separators=(",", ":"))
