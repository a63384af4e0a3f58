"""Opens an evaluated video at its worst frame, with its ground truth, without keeping the window waiting."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from qtpy.QtCore import QObject, Signal

from flowcut_napari.core.dataset_scan import JsonIndex, Progress, scan_json
from flowcut_napari.core.errors import FlowCutError
from flowcut_napari.core.evaluated_truth import Truth, davis_truth, ytvis_truth
from flowcut_napari.core.evaluated_videos import FramesNotFoundError, entry_of, frame_names, place_of
from flowcut_napari.core.evaluation_report import Report, VideoResult
from flowcut_napari.core.video import Video, VideoEntry
from flowcut_napari.viewer.truth_layer import TruthLayer
from flowcut_napari.viewer.video_layers import layer_of
from flowcut_napari.widgets.workbench import Workbench


class _Dropped(Exception):  # nothing went wrong
    """Nobody waits for it any more."""


@dataclass(frozen=True)
class _Opened:
    entry: VideoEntry
    video: Video
    sisters: list[VideoEntry]
    place: int | None


class WorstOpener(QObject):
    """Shows videos of one report, one at a time; an older request is dropped for a newer one.

    Signals
    -------
    changed
        `opening`, `problem` or `asks_for_frames` is another.
    shown (str, int, Path)
        A video is in sight: its address, the frame that is looked at, and the predictions that were evaluated.

    Attributes
    ----------
    opening : str
        The video that is being opened; empty for none.
    problem : str
        Why the last one cannot be shown as wished; empty if it can.
    asks_for_frames : bool
        Whether it is for want of frames, which a user may know of.
    """

    changed = Signal()
    shown = Signal(str, int, object)
    _found = Signal(int, object)
    _failed = Signal(int, str, bool)
    _truth_came = Signal(int, object)
    _truth_failed = Signal(int, str)

    def __init__(self, bench: Workbench, parent: QObject) -> None:
        super().__init__(parent)
        self._bench = bench
        self._truth = TruthLayer(bench.viewer)
        self._report: Report | None = None
        self._chosen: tuple[Path, ...] = ()
        self._wanted: VideoResult | None = None
        # Of the request: answers to older ones come too late.
        self._number = 0
        self._shown: Video | None = None
        self._index: JsonIndex | None = None
        self._indexing = threading.Lock()
        self.opening = ""
        self.problem = ""
        self.asks_for_frames = False
        self._found.connect(self._on_found)
        self._failed.connect(self._on_failed)
        self._truth_came.connect(self._on_truth)
        self._truth_failed.connect(self._on_truth_failed)
        bench.video_changed.connect(self._on_video)

    def take(self, report: Report) -> None:
        """Show videos of this report from now on."""
        before = self._report
        if before is None or before.ground_truth != report.ground_truth:
            self._chosen, self._index = (), None
        self._report = report
        self._wanted = None
        self._number += 1
        self._say("", "")

    def show(self, video: VideoResult) -> None:
        """Open a video at its worst frame."""
        if self._report is None or self._bench.is_shut:
            return
        self._wanted = video
        self._number += 1
        number, report, chosen = self._number, self._report, self._chosen
        self._say(video.name, "")

        def open_it() -> None:
            try:
                entry = entry_of(report, video, chosen)
                opened = entry.open()
                sisters = [entry if other is video else entry_of(report, other, chosen) for other in report.videos]
                place = place_of(opened, video.worst, len(video.files))
            except FlowCutError as error:
                self._emit(self._failed, number, str(error), isinstance(error, FramesNotFoundError))
            except Exception as error:  # noqa: BLE001  # whatever it is, the tab must not go on saying "opening"
                self._emit(self._failed, number, f"the video cannot be opened ({error})", False)
            else:
                self._emit(self._found, number, _Opened(entry, opened, sisters, place))

        threading.Thread(target=open_it, name="flowcut evaluated video", daemon=True).start()

    def frames_at(self, folder: Path) -> None:
        """Look for frames in this folder first, and open again what was wanted."""
        self._chosen = (folder, *self._chosen)
        if self._wanted is not None:
            self.show(self._wanted)

    def shutdown(self) -> None:
        """Wait for nothing any more. May be called again."""
        self._number += 1
        self._shown = None

    # What comes of it.

    def _on_found(self, number: int, opened: _Opened) -> None:
        if number != self._number or self._bench.is_shut or self._report is None or self._wanted is None:
            return
        bench, wanted, report = self._bench, self._wanted, self._report
        known = layer_of(bench.viewer, opened.video)
        video = known.data.video if known is not None else opened.video
        self._shown = video
        if bench.video is not video:
            self._truth.remove()
            bench.take(opened.entry, opened.video, opened.sisters)
        dims = bench.viewer.dims
        if opened.place is not None and dims.ndim >= 3:
            dims.set_current_step(dims.ndim - 3, min(opened.place, len(video) - 1))
        self._say("", "" if opened.place is not None or wanted.worst is None else _no_frame(wanted))
        self.shown.emit(opened.entry.place, bench.frame, report.predictions)
        self._want_truth(number, report, wanted, video)

    def _on_failed(self, number: int, text: str, asks_for_frames: bool) -> None:
        if number == self._number and not self._bench.is_shut:
            self._say("", text, asks_for_frames)

    def _on_video(self) -> None:
        if self._shown is not None and self._bench.video is not self._shown:
            # Its ground truth is not that of another video, and a video that is opened meanwhile is wanted more.
            self._shown = None
            self._number += 1
            self._truth.remove()

    def _say(self, opening: str, problem: str, asks_for_frames: bool = False) -> None:
        self.opening, self.problem, self.asks_for_frames = opening, problem, asks_for_frames
        self.changed.emit()

    # The ground truth.

    def _want_truth(self, number: int, report: Report, wanted: VideoResult, video: Video) -> None:
        def find() -> None:
            try:
                if report.kind == "davis":
                    truth: Truth = davis_truth(wanted, frame_names(video))
                else:
                    truth = ytvis_truth(self._index_of(report.ground_truth, number), wanted)
            except _Dropped:
                return
            except FlowCutError as error:
                self._emit(self._truth_failed, number, str(error))
            except Exception as error:  # noqa: BLE001  # the video is there; why its truth is not must be said
                self._emit(self._truth_failed, number, f"the ground truth cannot be shown ({error})")
            else:
                self._emit(self._truth_came, number, truth)

        threading.Thread(target=find, name="flowcut ground truth", daemon=True).start()

    def _index_of(self, path: Path, number: int) -> JsonIndex:
        """Return where the masks of each video stand in a json; reading it through takes a while, once."""

        def go_on(_: Progress) -> None:
            if number != self._number:
                raise _Dropped
            # Let the window have its turn: else it waits for this thread 5 ms each time.
            time.sleep(0)

        with self._indexing:
            index = self._index
            if index is None or index.path != path or not _is_unchanged(index):
                index = self._index = scan_json(path, go_on)
            return index

    def _on_truth(self, number: int, truth: Truth) -> None:
        video = self._shown
        if number != self._number or self._bench.is_shut or video is None:
            return
        if truth.frames != len(video):
            self._on_truth_failed(number, f"the ground truth has {truth.frames} frames, the video {len(video)}")
            return
        self._truth.show(truth, video)

    def _on_truth_failed(self, number: int, text: str) -> None:
        if number == self._number and not self._bench.is_shut:
            self._say("", text)

    @staticmethod
    def _emit(signal: object, *values: object) -> None:
        emit: Callable[..., None] = signal.emit  # type: ignore[attr-defined]
        with contextlib.suppress(RuntimeError):  # the window is gone
            emit(*values)


def _is_unchanged(index: JsonIndex) -> bool:
    try:
        state = index.path.stat()
    except OSError:
        return False
    return (state.st_size, state.st_mtime_ns) == index.stamp


def _no_frame(video: VideoResult) -> str:
    assert video.worst is not None  # asked of those only
    return f"{video.name}: the frames that were found have no {video.worst.name}; the video is shown from its beginning"
