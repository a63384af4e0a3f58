"""The process that counts what a dataset of many videos would hold: running totals, and nothing is written."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from flowcut_napari.core.clips import CuratedVideo, Yield
from flowcut_napari.core.dataset import curate_file
from flowcut_napari.core.errors import InputError
from flowcut_napari.core.parameters import CurationParameters
from flowcut_napari.core.sources import find_masks, name_of
from flowcut_napari.live.export_messages import Counted, CountJob, Counts
from flowcut_napari.live.messages import Failed
from flowcut_napari.live.pipe import ParentPipes

_TELL_SECONDS = 0.1
# Names that are worth showing; there may be thousands.
_SHOWN = 8


@dataclass(frozen=True)
class VideoCount:
    """What one video adds: its figures by gap, and where its frames were; or why it cannot be used."""

    name: str
    yields: Mapping[int, Yield] = field(default_factory=dict)
    has_clip: bool = False
    place: str = ""
    failure: str = ""

    @classmethod
    def of(cls, curated: CuratedVideo) -> VideoCount:
        """Count a video that is curated."""
        record = curated.masks.video
        return cls(record.name, curated.yields, bool(curated.clips), record.path)


class Tally:
    """The sum of what videos add."""

    def __init__(self) -> None:
        self._yields: dict[int, Yield] = {}
        self._done = self._videos = 0
        self._empty: list[str] = []
        self._failed: list[tuple[str, str]] = []
        self._moved: list[tuple[str, str]] = []

    def add(self, video: VideoCount) -> None:
        """Add a video."""
        self._done += 1
        if video.failure:
            self._failed.append((video.name, video.failure))
            return
        for gap, figures in video.yields.items():
            self._yields.setdefault(gap, Yield()).add(figures)
        if not video.has_clip:
            self._empty.append(video.name)
            return
        self._videos += 1
        # Of a video without a clip no frame is wanted.
        if not is_there(video.place):
            self._moved.append((video.name, video.place))

    def counts(self, total: int) -> Counts:
        """Return the sum so far, out of `total` videos."""
        return Counts(
            dict(sorted(self._yields.items())),
            self._done,
            total,
            self._videos,
            tuple(self._empty[:_SHOWN]),
            len(self._empty),
            tuple(self._failed[:_SHOWN]),
            len(self._failed),
            tuple(self._moved[:_SHOWN]),
            len(self._moved),
        )


class Counter:
    """Counts masks files, and those again that have changed.

    Parameters
    ----------
    tell : callable
        Takes `Counted` and `Failed`.
    is_stale : callable
        Whether something else is asked by now.
    """

    def __init__(self, tell: Callable[[Counted | Failed], None], is_stale: Callable[[], bool]) -> None:
        self._tell, self._is_stale = tell, is_stale
        self._parameters: CurationParameters | None = None
        # With what the file was like, for the present parameters.
        self._known: dict[Path, tuple[object, VideoCount]] = {}

    def count(self, job: CountJob) -> None:
        """Answer one question, unless it gets stale."""
        if job.parameters != self._parameters:
            self._parameters = job.parameters
            self._known.clear()
        try:
            files = find_masks(job.addresses)
        except InputError as error:
            self._tell(Failed(job.number, str(error)))
            return
        told = time.monotonic()
        tally = Tally()
        for file in files:
            if self._is_stale():
                return
            tally.add(self._video(file, job.parameters))
            if (now := time.monotonic()) - told >= _TELL_SECONDS:
                told = now
                self._tell(Counted(job.number, tally.counts(len(files))))
        self._tell(Counted(job.number, tally.counts(len(files))))

    def _video(self, file: Path, parameters: CurationParameters) -> VideoCount:
        state = _state_of(file)
        if file in self._known and state is not None and self._known[file][0] == state:
            return self._known[file][1]
        try:
            found = VideoCount.of(curate_file(file, parameters))
        except InputError as error:
            found = VideoCount(name_of(file), failure=str(error))
        self._known[file] = state, found
        return found


def _state_of(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def is_there(path: str) -> bool:
    """Whether a video is where its masks say."""
    try:
        return Path(path).exists()
    except (OSError, ValueError):  # no path that could be
        return False


def main() -> None:
    """Serve the window that started this process: the newest question, until there are no more."""
    parent = ParentPipes()
    questions: queue.SimpleQueue[CountJob | None] = queue.SimpleQueue()

    def listen() -> None:
        for record in parent.records():
            questions.put(record)
        questions.put(None)

    threading.Thread(target=listen, daemon=True).start()
    counter = Counter(parent.send, lambda: not questions.empty())
    while (job := questions.get()) is not None:
        while not questions.empty():
            newer = questions.get()
            if newer is None:
                return
            job = newer
        counter.count(job)


if __name__ == "__main__":
    main()
