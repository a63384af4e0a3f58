"""The folder of a prediction: results, and ``prediction.json``, which says what they owe their numbers to."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from flowcut_napari.core.errors import InputError, OutputError
from flowcut_napari.core.files import made_whole
from flowcut_napari.core.json_stream import read_items
from flowcut_training.predict.growing import GrowingList
from flowcut_training.predict.results import (
    PREDICTION,
    RESULTS,
    VIDEOS,
    DavisResults,
    PredictionFormat,
    ResultVideo,
    ResultWriter,
    YtvisResults,
)
from flowcut_training.predict.tracks import VideoPrediction, Windows

SCHEMA = "flowcut.prediction/1"


@dataclass(frozen=True)
class VideoSummary:
    """What became of one video; `seconds` is None where SOURCE_DATE_EPOCH fixes the time."""

    id: int
    name: str
    path: str
    frames: int
    height: int
    width: int
    instances: int
    seconds: float | None
    windows: Windows | None


class _NothingToKeep(Exception):
    """Leaves `made_whole` so that no folder is made."""


class PredictionFolder:
    """Results that are being written.

    Each video is there whole or not at all. When work stops early, what is there is kept all the same; a folder
    without a single video is not made.
    """

    def __init__(self, part: Path, final: Path, form: PredictionFormat) -> None:
        self._final = final
        with self._written():
            self._about = GrowingList(part / PREDICTION, f'{{"schema":"{SCHEMA}","format":"{form}","videos":')
            self._writer: ResultWriter = DavisResults(part) if form == "davis" else YtvisResults(part)
        self._documents = (*self._writer.documents, self._about)

    @property
    def videos(self) -> int:
        """How many videos are in it."""
        return self._about.count

    def add(
        self, video: ResultVideo, prediction: VideoPrediction, about: Callable[[int], VideoSummary]
    ) -> VideoSummary:
        """Write the results of a video, and what `about` says of it, given the number of its instances.

        Raises
        ------
        InputError
            If the format cannot hold them.
        OutputError
            If they cannot be written; those of earlier videos stay.
        """
        marks = [(document, document.mark()) for document in self._documents]
        try:
            with self._written():
                said = about(self._writer.add(video, prediction))
                self._about.add([json.dumps(asdict(said), separators=(",", ":"))])
        except BaseException:
            for document, mark in marks:
                with suppress(OSError):
                    document.cut(mark)
            self._writer.undo(video)
            raise
        return said

    def finish(self, more: Mapping[str, Any]) -> None:
        """Write what belongs to all videos; `more` goes into ``prediction.json``."""
        with self._written():
            self._writer.finish()
            self._about.finish(f",\n{json.dumps(more, indent=1, allow_nan=False)[1:]}")

    def close(self) -> None:
        """Let go of all files."""
        for document in self._documents:
            document.close()

    @contextmanager
    def _written(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if isinstance(error, OutputError):
                raise
            raise OutputError(f"{self._final}: cannot be written ({error.strerror or error})") from None


@contextmanager
def prediction_folder(
    out: Path, form: PredictionFormat, overwrite: bool, about: Callable[[], Mapping[str, Any]]
) -> Iterator[PredictionFolder]:
    """Make a folder of results, which takes its place at the end, whichever way work ends.

    Parameters
    ----------
    out : Path
    form : {"ytvis", "davis"}
    overwrite : bool
        Whether an earlier prediction is replaced.
    about : callable
        Gives at the end what ``prediction.json`` says besides the videos.

    Raises
    ------
    InputError
        If something else is in its place.
    OutputError
        If it cannot be written.
    """
    stopped: BaseException | None = None
    with suppress(_NothingToKeep), made_whole(out, is_replaceable, overwrite) as part:
        folder = PredictionFolder(part, out, form)
        try:
            try:
                yield folder
            except BaseException as error:  # noqa: BLE001  # interrupts too: what is finished is kept
                stopped = error
            if not folder.videos:
                raise stopped or _NothingToKeep
            folder.finish({"complete": stopped is None, **about()})
        finally:
            folder.close()
    if stopped is not None:
        raise stopped


def is_replaceable(folder: Path) -> bool:
    """Whether a folder is a prediction of ours and holds nothing else."""
    known = {PREDICTION}
    schema = form = None
    try:
        for name, value in read_items(folder / PREDICTION):
            if name == "schema":
                schema = value
            elif name == "format":
                form = value
            elif name == "videos" and form == "davis":
                known.add(value["name"])
    except (InputError, KeyError, TypeError):
        return False
    if form == "ytvis":
        known |= {RESULTS, VIDEOS}
    return schema == SCHEMA and {entry.name for entry in folder.iterdir()} <= known
