"""The life of a prediction: one process, always a final state, and nothing half-written."""

from __future__ import annotations

import contextlib
import os
import threading
import time
import weakref
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
from qtpy.QtCore import QObject, QTimer, Signal

from flowcut_napari.core.cache import expand_home
from flowcut_napari.core.errors import FlowCutError, InputError
from flowcut_napari.core.files import clear_unfinished
from flowcut_napari.core.prediction_files import ABOUT, read_prediction
from flowcut_napari.core.predictions import Prediction
from flowcut_napari.core.run_checkpoints import RunCheckpoint, list_checkpoints
from flowcut_napari.core.video import Video
from flowcut_napari.core.video_job import choose_frames, parse_frames
from flowcut_napari.live.backend import BackendEnd
from flowcut_napari.widgets.backend_process import BackendProcess
from flowcut_napari.widgets.predict.desk import looking_of
from flowcut_napari.widgets.predict.errand import Errand
from flowcut_napari.widgets.predict.job import PredictJob, checkpoint_of, suggested_out, window_words
from flowcut_napari.widgets.predict.progress import PredictProgress, describe_place, number_in
from flowcut_napari.widgets.training_desk import training_of
from flowcut_napari.widgets.workbench import Workbench

# New checkpoints are looked for while somebody looks.
_LOOK_MILLISECONDS = 4000
_GONE_SECONDS, _PAUSE_SECONDS = 10.0, 0.05


@dataclass(frozen=True)
class PredictSettings:
    """What the tab is set to.

    Attributes
    ----------
    model : str
        A run or a weights file; empty for the run that is watched.
    checkpoint : str
        ``best``, ``last`` or a step.
    frames : str
        ``START:STOP:STEP``; empty for all.
    device : str
    """

    model: str = ""
    checkpoint: str = "best"
    frames: str = ""
    device: str = "auto"


def predict_of(bench: Workbench) -> PredictController:
    """Return the prediction of a workbench, the same every time: it outlives the panel that started it."""
    found = bench.findChild(PredictController)
    return found if found is not None else PredictController(bench)


class PredictController(QObject):
    """Starts a prediction, follows it, and ends it; the result goes to the desk that shows it.

    Signals
    -------
    changed
        `progress` is another.
    settings_changed
        `settings` are others, or the run that is watched.
    listed
        `checkpoints` are others, or why there are none.
    """

    changed = Signal()
    settings_changed = Signal()
    listed = Signal()
    _tidied = Signal(int, object)

    def __init__(self, bench: Workbench) -> None:
        super().__init__(bench)
        self._bench = bench
        self._desk = looking_of(bench)
        self._training = training_of(bench)
        self.settings = PredictSettings(device=bench.preferences.device)
        self.progress = PredictProgress()
        self.checkpoints: tuple[RunCheckpoint, ...] = ()
        # Why there are none.
        self.problem = ""
        self._process = BackendProcess(bench, self)
        self._process.said.connect(self._on_said)
        self._process.ended.connect(self._on_ended)
        self._job: PredictJob | None = None
        # The one it was started on, whichever is looked at meanwhile.
        self._video: weakref.ref[Video] | None = None
        self._before: tuple[int, int] | None = None
        self._began = 0.0
        self._tidying = 0
        self._tidied.connect(self._on_tidied)
        self._reading = Errand(self)
        self._reading.done.connect(self._on_read)
        self._reading.failed.connect(self._on_unreadable)
        self._listing = Errand(self)
        self._listing.done.connect(self._on_listed)
        self._listing.failed.connect(self._on_unlisted)
        self._look = QTimer(self)
        self._look.setInterval(_LOOK_MILLISECONDS)
        self._look.timeout.connect(self.list_again)
        self._training.run_changed.connect(self._on_run)
        bench.closing.connect(self.shutdown)

    # What is set.

    @property
    def model(self) -> Path | None:
        """The run or the weights file that is used; None if there is none."""
        if self.settings.model:
            return Path(os.path.abspath(expand_home(self.settings.model)))
        return self._training.run

    @property
    def is_run(self) -> bool:
        """Whether that is a run, which has checkpoints, and not a weights file."""
        return self.model is not None and not self.model.is_file()

    def edit(self, name: str, value: str) -> None:
        """Set one of the settings."""
        if getattr(self.settings, name) == value:
            return
        # A step is one of a run, not of another.
        more = {"checkpoint": "best"} if name == "model" else {}
        self.settings = replace(self.settings, **{**more, name: value})
        self.settings_changed.emit()
        if name == "model":
            self._list_anew()

    def watch(self, is_watched: bool) -> None:
        """Look for new checkpoints as long as somebody looks."""
        if is_watched:
            self.list_again()
            self._look.start()
        else:
            self._look.stop()

    def list_again(self) -> None:
        """Look which checkpoints there are."""
        model = self.model
        if self._bench.is_shut:
            return
        if model is None:
            self._on_unlisted("no run is watched; choose one, or a weights file")
        elif not self._listing.is_going_on:
            self._listing.start(lambda _: () if model.is_file() else tuple(list_checkpoints(model)))

    def _list_anew(self) -> None:
        self._listing.drop()
        self.checkpoints, self.problem = (), ""
        self.listed.emit()
        self.list_again()

    def _on_run(self) -> None:
        if not self.settings.model:
            self.settings = replace(self.settings, checkpoint="best")
            self.settings_changed.emit()
            self._list_anew()

    def _on_listed(self, found: tuple[RunCheckpoint, ...]) -> None:
        if found != self.checkpoints or self.problem:
            self.checkpoints, self.problem = found, ""
            self.listed.emit()

    def _on_unlisted(self, why: str) -> None:
        if why != self.problem or self.checkpoints:
            self.checkpoints, self.problem = (), why
            self.listed.emit()

    def job(self) -> PredictJob:
        """Return the prediction as things are set now.

        Raises
        ------
        FlowCutError
            If something is missing, or cannot be.
        """
        bench, settings, model = self._bench, self.settings, self.model
        if bench.video is None:
            raise InputError("no video is open")
        if model is None:
            raise InputError("no run is watched; choose one, or a weights file")
        choose_frames(parse_frames(settings.frames or None), bench.video)
        address = os.path.abspath(bench.entry.place if bench.entry is not None else bench.video.path)
        step, checkpoint = None, ""
        if not model.is_file():
            # Not from the list: a run goes on meanwhile, and removes checkpoints.
            chosen = checkpoint_of(list_checkpoints(model), settings.checkpoint)
            step, checkpoint = chosen.step, str(chosen.step)
        out = suggested_out(model, step, bench.video.name, address, settings.frames)
        return PredictJob(model, checkpoint, address, out, settings.frames, settings.device)

    # The prediction.

    def predict(self) -> None:
        """Start the prediction that is set, one at a time; what cannot be is said as its failure."""
        if self.progress.is_going_on:
            return
        try:
            job = self.job()
        except FlowCutError as error:
            self._set(PredictProgress("failed", text=window_words(str(error))))
            return
        video = self._bench.video
        assert video is not None  # it has a job
        self._tidying += 1
        self._job, self._video = job, weakref.ref(video)
        self._before, self._began = _stamp(job.out), 0.0
        self._set(PredictProgress("starting", video.name, out=job.out))
        self._process.start([*job.arguments(), "--events"], in_lines=True)

    def cancel(self) -> None:
        """End the prediction with all its processes."""
        if not self.progress.can_be_cancelled:
            return
        if self.progress.state == "reading":
            self._reading.drop()
            self._job = None
            out = self.progress.out
            self._set(replace(self.progress, state="cancelled", text=f"cancelled; the results are whole → {out}"))
            return
        self._set(replace(self.progress, state="cancelling"))
        self._tidy("")

    def open(self, folder: str) -> None:
        """Read predictions that ``flowcut predict`` made earlier, of the video that is looked at."""
        video = self._bench.video
        if self.progress.is_going_on:
            return
        if video is None:
            self._set(PredictProgress("failed", text="open the video first that these predictions are of"))
            return
        self._read(Path(os.path.abspath(expand_home(folder))), video)

    def shutdown(self) -> None:
        """End all that goes on without another word. May be called again."""
        self._look.stop()
        self._reading.drop()
        self._listing.drop()
        self._tidy("")

    def _on_said(self, event: dict[str, Any]) -> None:
        progress, kind = self.progress, event.get("event")
        if progress.state not in ("starting", "running"):
            return
        if kind == "video":
            self._began = time.monotonic()
            progress = replace(progress, state="running", total=number_in(event, "frames"))
        elif kind == "stage" and isinstance(event.get("stage"), str):
            progress = replace(progress, stage=event["stage"])
        elif kind == "frames":
            done = number_in(event, "done")
            if done < progress.done:  # after a lack of memory it begins again
                self._began = time.monotonic()
            progress = replace(progress, done=done, seconds=time.monotonic() - self._began)
        if progress != self.progress:
            self._set(progress)

    def _on_ended(self, end: BackendEnd) -> None:
        if not self.progress.is_going_on:
            return
        if end.reason:
            self._tidy(window_words(end.reason))
            return
        job, video = self._job, self._video() if self._video is not None else None
        self._job = None
        if job is None or video is None:
            self._set(
                replace(self.progress, state="done", text=f"its video is closed; the results are in {job and job.out}")
            )
            return
        self._read(job.out, video)

    def _read(self, folder: Path, video: Video) -> None:
        self._set(replace(self.progress, state="reading", video=video.name, out=folder, text=""))
        self._reading.start(lambda _: (read_prediction(folder, video), weakref.ref(video)))

    def _on_read(self, found: tuple[Prediction, weakref.ref[Video]]) -> None:
        prediction, video = found[0], found[1]()
        self._job = None
        self._set(replace(self.progress, state="done", text=describe_place(prediction.path)))
        if video is not None:
            self._desk.put(video, prediction)

    def _on_unreadable(self, why: str) -> None:
        self._job = None
        self._set(replace(self.progress, state="failed", text=why))

    def _tidy(self, why: str) -> None:
        """End the process, and clear away what it could not any more."""
        self._tidying += 1
        tidying, before, pid = self._tidying, self._before, self._process.pid
        self._process.drop()
        job, self._job = self._job, None
        if job is None:
            return

        def tidy() -> None:
            # Who started it waits for it, and must be the one who learns of its end.
            end = time.monotonic() + _GONE_SECONDS
            while pid is not None and psutil.pid_exists(pid) and time.monotonic() < end:
                time.sleep(_PAUSE_SECONDS)
            clear_unfinished(job.out)
            is_whole = _stamp(job.out) not in (before, None)
            with contextlib.suppress(RuntimeError):  # the window is gone
                self._tidied.emit(tidying, (why, is_whole))

        # No daemon: what is half-written goes, also while the program ends.
        threading.Thread(target=tidy).start()

    def _on_tidied(self, tidying: int, found: tuple[str, bool]) -> None:
        if tidying != self._tidying:
            return
        why, is_whole = found
        if why:
            self._set(replace(self.progress, state="failed", text=why))
        elif is_whole:
            self._set(
                replace(self.progress, state="cancelled", text=f"cancelled too late: whole → {self.progress.out}")
            )
        else:
            self._set(replace(self.progress, state="cancelled", text="cancelled; nothing was written"))

    def _set(self, progress: PredictProgress) -> None:
        self.progress = progress
        self.changed.emit()


def _stamp(folder: Path) -> tuple[int, int] | None:
    """Return what tells one prediction in a folder from the next."""
    try:
        found = (folder / ABOUT).stat()
    except (OSError, ValueError):
        return None
    return found.st_ino, found.st_mtime_ns
