"""The life of a sweep: one process, cells as they come, always a final state."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any, Literal

from qtpy.QtCore import QObject, Signal

from flowcut_napari.core.errors import FlowCutError, printable
from flowcut_napari.core.files import check_writable
from flowcut_napari.core.grid import Grid, Setting
from flowcut_napari.core.recipe import as_command
from flowcut_napari.core.sweep_cells import Cell
from flowcut_napari.core.video import VideoEntry
from flowcut_napari.core.video_job import choose_frames
from flowcut_napari.live.messages import Failed
from flowcut_napari.live.sweep_messages import SweepCell, SweepDone, SweepJob, SweepNote, SweepStarted, SweepStep
from flowcut_napari.widgets.live import Trouble
from flowcut_napari.widgets.notices import readable
from flowcut_napari.widgets.run.controller import duration
from flowcut_napari.widgets.sweep.settings import SweepSettings, window_words
from flowcut_napari.widgets.workbench import Workbench
from flowcut_napari.widgets.worker_process import WorkerProcess

State = Literal["idle", "starting", "running", "done", "failed", "cancelled"]
_MODULE = "flowcut_napari.live.sweep_job"


@dataclass(frozen=True)
class SweepProgress:
    """How far a sweep is, in cuts: all settings of all frames; some are `known` from before and took no time."""

    state: State = "idle"
    done: int = 0
    total: int = 0
    seconds: float = 0.0
    known: int = 0
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
        >>> SweepProgress("running", 500, 2000, 10.0).describe()
        '500 of 2000 cuts, 30 s left'
        """
        if self.state == "starting":
            return "loading models …"
        if self.state == "running":
            text = f"{self.done} of {self.total} cuts"
            made = self.done - self.known
            if not made or not self.seconds:
                return text
            return f"{text}, {duration((self.total - self.done) * self.seconds / made)} left"
        if self.state == "done":
            made = self.total - self.known
            known = f", {self.known} known from before" if self.known else ""
            cuts = (
                f"{made} cuts in {duration(self.seconds)}{known}"
                if made
                else f"all {self.total} cuts known from before"
            )
            return f"{cuts}; click a cell to see its masks"
        if self.state == "cancelled":
            return "cancelled; what is measured is kept, and Sweep goes on from there"
        if self.state == "failed":
            return readable(self.trouble) if self.trouble is not None else "failed"
        return ""


def sweep_of(bench: Workbench) -> SweepController:
    """Return the sweep of a workbench, the same every time: it outlives the panel that started it."""
    found = bench.findChild(SweepController)
    return found if found is not None else SweepController(bench)


class SweepController(QObject):
    """Starts a sweep, follows it, keeps its cells, and ends it.

    Signals
    -------
    changed
        `progress` is another.
    cells_changed
        `job` or `cells` are others.
    """

    changed = Signal()
    cells_changed = Signal()

    def __init__(self, bench: Workbench) -> None:
        super().__init__(bench)
        self._bench = bench
        self.settings = SweepSettings()
        self.progress = SweepProgress()
        # What was swept last, and what is known of it.
        self.job: SweepJob | None = None
        self.cells: dict[Setting, Cell] = {}
        # Those of them that are of the first frames only, so far.
        self.part: set[Setting] = set()
        self._began = 0.0
        self._process = WorkerProcess(_MODULE, bench.preferences.environment(), self)
        self._process.answered.connect(self._on_answer)
        self._process.ended.connect(self._on_ended)
        bench.closing.connect(self.shutdown)

    @property
    def grid(self) -> Grid | None:
        """What was swept last, None where that was another video than the one that is looked at."""
        return self.job.grid if self.job is not None and self.other_video is None else None

    @property
    def other_video(self) -> str | None:
        """The name of the video that was swept last, if it is not the one that is looked at."""
        if self.job is None or (self._bench.video is not None and self._entry().place == self.job.entry.place):
            return None
        return self.job.entry.name

    def _entry(self) -> VideoEntry:
        bench = self._bench
        assert bench.video is not None  # whoever asks has seen to it
        return bench.entry or VideoEntry.of(bench.video)

    def make_job(self) -> SweepJob:
        """Return the sweep of the video that is looked at, as things are set now.

        Raises
        ------
        FlowCutError
            If there is no video, a value cannot be, or the folder cannot be written.
        """
        bench, settings = self._bench, self.settings
        if bench.video is None:
            raise FlowCutError("no video is open")
        grid = settings.grid(bench.parameters)
        frames, truth, out = settings.check()
        choose_frames(frames, bench.video)
        check_writable(out)
        return SweepJob(
            entry=self._entry(),
            out=out,
            grid=grid,
            measure=settings.measure,
            frames=frames,
            ground_truth=truth,
            only_annotated=settings.only_annotated and truth is not None,
            machine=bench.machine,
            workers=settings.workers,
        )

    def start(self, job: SweepJob) -> None:
        """Start a sweep; one at a time."""
        if self.progress.is_going_on:
            return
        self.job, self.cells, self.part = job, {}, set()
        self.cells_changed.emit()
        self._set(SweepProgress("starting"))
        self._process.send(job)

    def cancel(self) -> None:
        """End the sweep with all its processes; the cells that are there stay."""
        if self.progress.is_going_on:
            self._process.drop()
            self._set(replace(self.progress, state="cancelled"))

    def shutdown(self) -> None:
        """End the sweep without another word. May be called again."""
        self._process.drop()

    def choose(self, **fields: Any) -> None:
        """Take what the user says of these fields of the settings; an empty folder says nothing."""
        said = {name for name in fields if fields[name] != "" or name != "out"}
        chosen = (self.settings.chosen - set(fields)) | said
        self.settings = replace(self.settings, **fields, chosen=chosen)
        if "measure" in fields:
            self.cells_changed.emit()

    def value(self, setting: Setting) -> float | None:
        """Return the measure of a setting, None where it is not known."""
        cell = self.cells.get(setting)
        return cell.measures.get(self.settings.measure) if cell is not None else None

    @property
    def first_frames(self) -> int | None:
        """The least number of frames that a cell which is not whole yet is of; None if all are whole."""
        return min((self.cells[setting].frames for setting in self.part), default=None)

    @property
    def best(self) -> Setting | None:
        """The setting with the highest measure so far; of equal ones the first.

        One of the first frames only is no match for those that are whole.
        """
        settings = self.grid.settings if self.grid else ()
        whole = [setting for setting in settings if setting in self.cells and setting not in self.part]
        known = [(value, setting) for setting in whole or settings if (value := self.value(setting)) is not None]
        return max(known, key=lambda item: item[0])[1] if known else None

    @property
    def present(self) -> Setting | None:
        """The setting that the sliders are at, None where that is none of the swept ones."""
        settings = self.grid.settings if self.grid else ()
        return next((setting for setting in settings if setting.parameters == self._bench.parameters), None)

    def go_to(self, setting: Setting) -> None:
        """Set the sliders to a setting: its masks are seen at once."""
        self._bench.set_parameters(setting.parameters)

    def command(self, setting: Setting) -> str:
        """Return the command line that makes the masks of the whole video with a setting."""
        assert self.job is not None  # there are settings
        machine = self.job.machine
        return as_command(setting.parameters, self.job.entry.place, weights=machine.weights, device=machine.device)

    def _on_answer(self, answer: Any) -> None:
        progress = self.progress
        if isinstance(answer, SweepStarted):
            self._began = time.monotonic()
            self._set(replace(progress, state="running", total=answer.total, done=answer.known, known=answer.known))
        elif isinstance(answer, SweepStep):
            seconds = time.monotonic() - self._began
            self._set(replace(progress, done=progress.done + answer.cuts, seconds=seconds))
        elif isinstance(answer, SweepNote):
            self._set(replace(progress, notes=(*progress.notes, printable(answer.text))))
        elif isinstance(answer, SweepCell):
            self.cells[answer.cell.setting] = answer.cell
            (self.part.discard if answer.is_whole else self.part.add)(answer.cell.setting)
            self.cells_changed.emit()
        elif isinstance(answer, SweepDone):
            self._process.drop()
            self._set(replace(progress, state="done", done=progress.total, seconds=answer.seconds))
        elif isinstance(answer, Failed):
            self._process.drop()
            self._fail(Trouble(window_words(answer.text), answer.missing))

    def _on_ended(self, reason: str) -> None:
        if self.progress.is_going_on:
            self._fail(Trouble(f"the sweep ended before it was done: {reason}"))

    def _fail(self, trouble: Trouble) -> None:
        self._set(replace(self.progress, state="failed", trouble=trouble))

    def _set(self, progress: SweepProgress) -> None:
        self.progress = progress
        self.changed.emit()
