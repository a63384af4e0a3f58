"""The life of a run over the whole video: one process, always a final state."""

from __future__ import annotations

import contextlib
import os
import re
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from qtpy.QtCore import QObject, Signal

from flowcut_napari.core.errors import FlowCutError
from flowcut_napari.core.files import check_writable
from flowcut_napari.core.sample import sample_folder
from flowcut_napari.core.store import VideoMasks, load_masks
from flowcut_napari.core.video import Video, VideoEntry
from flowcut_napari.core.video_job import choose_frames
from flowcut_napari.live.messages import Failed, FrameDone, RunDone, RunJob, RunStarted
from flowcut_napari.viewer.frame_results import FrameResults
from flowcut_napari.widgets.live import Trouble
from flowcut_napari.widgets.notices import readable
from flowcut_napari.widgets.workbench import Workbench
from flowcut_napari.widgets.worker_process import WorkerProcess

State = Literal["idle", "starting", "running", "done", "failed", "cancelled"]
_MODULE = "flowcut_napari.live.whole_run"


@dataclass(frozen=True)
class RunProgress:
    """How far a run is; `seconds` since its first frame began."""

    state: State = "idle"
    done: int = 0
    total: int = 0
    seconds: float = 0.0
    path: Path | None = None
    trouble: Trouble | None = None
    notes: tuple[str, ...] = ()

    @property
    def is_going_on(self) -> bool:
        """Whether there is something to cancel."""
        return self.state in ("starting", "running")

    def describe(self) -> str:
        """Say it in one line.

        Examples
        --------
        >>> RunProgress("running", 10, 80, 5.0).describe()
        '10 of 80 frames, 2.0 frames/s, 35 s left'
        """
        if self.state == "idle":
            return ""
        if self.state == "starting":
            return "loading models …"
        if self.state == "running":
            if not self.done or not self.seconds:
                return f"0 of {self.total} frames"
            speed = self.done / self.seconds
            left = (self.total - self.done) / speed
            return f"{self.done} of {self.total} frames, {speed:.1f} frames/s, {duration(left)} left"
        if self.state == "done":
            return f"{self.total} frames in {duration(self.seconds)} → {self.path}"
        if self.state == "cancelled":
            return f"cancelled after {self.done} of {self.total} frames; nothing was written"
        if self.trouble is None:
            return "failed"
        text = readable(self.trouble)
        if names := " ".join(self.trouble.missing):
            text += f" Fetch them by: flowcut weights fetch {names}; or choose Hand-made in the Tune tab."
        return text


def duration(seconds: float) -> str:
    """Return a time in words of a length that suits it.

    Examples
    --------
    >>> duration(35.2), duration(125), duration(7260)
    ('35 s', '2 min 5 s', '2 h 1 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def window_words(text: str) -> str:
    """Return what the command line would say in the words of the Run tab.

    Examples
    --------
    >>> window_words("--frames 9:x: give START:STOP:STEP, blanks allowed, such as 0::10")
    'frames 9:x: give START:STOP:STEP, blanks allowed, such as 0::10'
    """
    text = re.sub(r"^--frames ?", "frames ", text)
    text = text.replace("try fewer --workers", "try fewer processes")
    return text.replace("give another -o, or --overwrite to replace it", "choose another folder, or move it away")


def run_of(bench: Workbench) -> RunController:
    """Return the run of a workbench, the same every time: it outlives the panel that started it."""
    found = bench.findChild(RunController)
    return found if found is not None else RunController(bench)


class RunController(QObject):
    """Starts a run, follows it, and ends it; the result is taken up by the workbench.

    Signals
    -------
    changed
        `progress` is another.
    """

    changed = Signal()
    _loaded = Signal(object, object, object)

    def __init__(self, bench: Workbench) -> None:
        super().__init__(bench)
        self._bench = bench
        self._process = WorkerProcess(_MODULE, bench.preferences.environment(), self)
        self._process.answered.connect(self._on_answer)
        self._process.ended.connect(self._on_ended)
        self._began = 0.0
        # Those of the video of the run, whichever is looked at meanwhile.
        self._results: FrameResults | None = None
        self.progress = RunProgress()
        self._loaded.connect(self._on_loaded)
        bench.closing.connect(self.shutdown)

    def job(self, out: Path, frames: slice, workers: int) -> RunJob:
        """Return the job of the video that is looked at, as things are set now.

        Raises
        ------
        FlowCutError
            If there is no video, no such frame, or the folder cannot be written.
        """
        bench = self._bench
        if bench.video is None:
            raise FlowCutError("no video is open")
        choose_frames(frames, bench.video)
        check_writable(out)
        entry = bench.entry or VideoEntry.of(bench.video)
        return RunJob(entry, out, bench.parameters, frames, bench.machine, workers)

    def start(self, job: RunJob) -> None:
        """Start a run; one at a time."""
        if self.progress.is_going_on:
            return
        self._results = self._bench.results
        self._set(RunProgress("starting"))
        self._process.send(job)

    def cancel(self) -> None:
        """End the run with all its processes."""
        if not self.progress.is_going_on:
            return
        self._process.drop()
        self._set(RunProgress("cancelled", self.progress.done, self.progress.total))
        self._forget_frames()

    def shutdown(self) -> None:
        """End the run without another word. May be called again."""
        self._process.drop()

    def _on_answer(self, answer: Any) -> None:
        progress = self.progress
        if isinstance(answer, RunStarted):
            self._began = time.monotonic()
            self._set(RunProgress("running", 0, answer.frames, notes=answer.notes))
        elif isinstance(answer, FrameDone):
            if self._results is not None:
                self._results.put_saved_frame(answer.masks)
                if answer.masks.index == self._bench.frame:
                    self._show(self._results)
            seconds = time.monotonic() - self._began
            self._set(RunProgress("running", progress.done + 1, progress.total, seconds, notes=progress.notes))
        elif isinstance(answer, RunDone):
            self._finish(answer)
        elif isinstance(answer, Failed):
            self._process.drop()
            self._fail(Trouble(window_words(answer.text), answer.missing))

    def _fail(self, trouble: Trouble) -> None:
        self._set(RunProgress("failed", self.progress.done, self.progress.total, trouble=trouble))
        self._forget_frames()

    def _forget_frames(self) -> None:
        # Frames that were shown as they came belong to no file.
        results, self._results = self._results, None
        if results is not None:
            results.put_saved(results.saved, results.saved_path)
            self._show(results)

    def _show(self, results: FrameResults) -> None:
        if results is self._bench.results and not self._bench.is_shut:
            self._bench.show_again()

    def _finish(self, answer: RunDone) -> None:
        self._process.drop()
        notes = (*self.progress.notes, *answer.notes)
        total = self.progress.total
        results, self._results = self._results, None
        self._set(RunProgress("done", total, total, answer.seconds, answer.path, notes=notes))

        def load() -> None:
            # Somebody took it away at once, its frames were shown; or the window is gone.
            with contextlib.suppress(FlowCutError, RuntimeError):
                self._loaded.emit(results, load_masks(answer.path), answer.path)

        # A long video's file takes a second to read.
        threading.Thread(target=load, daemon=True).start()

    def _on_loaded(self, results: FrameResults | None, masks: VideoMasks, path: Path) -> None:
        if results is self._bench.results and not self._bench.is_shut:
            self._bench.take_saved(masks, path)
        elif results is not None:
            results.put_saved(masks, path)

    def _on_ended(self, reason: str) -> None:
        if self.progress.is_going_on:
            self._fail(Trouble(f"the run ended before it was done: {reason}"))

    def _set(self, progress: RunProgress) -> None:
        self.progress = progress
        self.changed.emit()


def default_out(video: Video) -> Path:
    """Return where masks of a video go if nothing is chosen: beside it, or in the home folder if that is not ours.

    Beside a sequence of a DAVIS root is beside its JPEGImages: below it, every folder counts as a sequence.
    """
    parents = Path(os.path.abspath(video.path)).parents
    if sample_folder() in parents:
        return Path.home() / "flowcut-masks"
    beside = next((parent.parent for parent in parents if parent.name == "JPEGImages"), video.path.parent)
    if os.access(beside, os.W_OK) and "site-packages" not in beside.parts:
        return beside / "masks"
    return Path.home() / "flowcut-masks"
