"""The life of an export: one process, always a final state, and nothing half-written."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from qtpy.QtCore import QObject, Signal

from flowcut_napari.core.about import ABOUT
from flowcut_napari.core.dataset import ExportPlan
from flowcut_napari.core.errors import FlowCutError, InputError
from flowcut_napari.core.files import clear_unfinished
from flowcut_napari.core.masks_file import MasksFile, wait_for_all
from flowcut_napari.core.parameters import CurationParameters, one_line
from flowcut_napari.live.export_count import is_there
from flowcut_napari.live.export_messages import ExportDone, ExportJob, ExportStep
from flowcut_napari.live.messages import Failed
from flowcut_napari.widgets.curate.desk import curation_of
from flowcut_napari.widgets.export.counting import LiveCounts
from flowcut_napari.widgets.export.progress import ExportProgress
from flowcut_napari.widgets.export.settings import (
    ExportSettings,
    Place,
    look_at,
    parse_clip_length,
    parse_gaps,
    why_not,
    window_words,
)
from flowcut_napari.widgets.workbench import Workbench
from flowcut_napari.widgets.worker_process import WorkerProcess

_MODULE = "flowcut_napari.live.export_job"
# A disk takes milliseconds; whoever waits longer than this is told why.
_SAVE_SECONDS = 10.0
_SHARED = ("gaps", "iou", "method")


def export_of(bench: Workbench) -> ExportController:
    """Return the export of a workbench, the same every time: it outlives the panel that started it."""
    found = bench.findChild(ExportController)
    return found if found is not None else ExportController(bench)


class ExportController(QObject):
    """Knows what is to be exported, counts it, and starts, follows and ends the export.

    Signals
    -------
    changed
        `progress` is another.
    settings_changed
        `settings` or the parameters shared with the curation are others, or other masks are open.
    place_changed
        `place` is another.
    """

    changed = Signal()
    settings_changed = Signal()
    place_changed = Signal()
    _tidied = Signal(int, object)
    _looked = Signal(int, str)
    _saved_first = Signal(int, object)

    def __init__(self, bench: Workbench) -> None:
        super().__init__(bench)
        self._bench = bench
        self.desk = curation_of(bench)
        self.settings = ExportSettings()
        self.progress = ExportProgress()
        self.place: Place = "free"
        self.counting = LiveCounts(bench.preferences.environment(), self)
        self._is_watched = False
        self._process = WorkerProcess(_MODULE, bench.preferences.environment(), self)
        self._process.answered.connect(self._on_answer)
        self._process.ended.connect(self._on_ended)
        self._job: ExportJob | None = None
        self._before: tuple[int, int] | None = None
        self._tidying = 0
        self._looking = 0
        self._place_of: Path | None = None
        self._tidied.connect(self._on_tidied)
        self._looked.connect(self._on_looked)
        self._saved_first.connect(self._on_saved_first)
        self.counting.wanted.connect(self._recount)
        self.desk.changed.connect(self._on_masks)
        self.desk.saved_changed.connect(self._on_saved)
        self.desk.parameters_changed.connect(self._on_settings)
        bench.closing.connect(self.shutdown)

    # What is set.

    @property
    def parameters(self) -> CurationParameters:
        """What clips are made with: shared with the curation but for what an export alone has."""
        own = {"clip_length": self.settings.clip_length, "only_accepted": self.settings.only_accepted}
        return self.desk.parameters.model_copy(update=own)

    @property
    def plan(self) -> ExportPlan:
        """The parameters as the format completes them."""
        return ExportPlan(self.parameters, self.settings.format, self.settings.frame_files)

    def edit(self, name: str, value: Any) -> None:
        """Set one field of the parameters or of the settings; what cannot be is remarked, and changes nothing."""
        try:
            if name == "gaps" and isinstance(value, str):
                value = parse_gaps(value)
            elif name == "clip_length" and isinstance(value, str):
                value = parse_clip_length(value)
            if name in CurationParameters.model_fields:
                # Sliders give 0.30000000000000004, and what is written down is written down for good.
                value = round(value, 6) if isinstance(value, float) else value
                CurationParameters(**{**self.parameters.model_dump(), name: value})
        except (InputError, ValidationError) as error:
            self._bench.remarked.emit(one_line(error) if isinstance(error, ValidationError) else str(error))
            self.settings_changed.emit()  # so that the control shows again what holds
            return
        if name in _SHARED:
            self.desk.set_parameters(CurationParameters(**{**self.desk.parameters.model_dump(), name: value}))
            # Also where nothing has changed: what was typed is shown as it is understood.
            self.settings_changed.emit()
        elif getattr(self.settings, name) == value:
            self.settings_changed.emit()
        else:
            # To replace a dataset is said of one folder, not of another.
            more = {"overwrite": False} if name in ("out", "source", "chosen") else {}
            self.settings = replace(self.settings, **{**more, name: value})
            self._on_settings()

    def set_settings(self, settings: ExportSettings) -> None:
        """Set all of them at once."""
        self.settings = settings
        self._on_settings()

    def job(self) -> ExportJob:
        """Return the export as things are set now.

        Raises
        ------
        FlowCutError
            If something is missing, or cannot be.
        """
        return self.settings.job(self.desk.path, self.desk.parameters)

    def _on_settings(self) -> None:
        self.settings_changed.emit()
        self._look()
        self._refresh()

    def _on_masks(self) -> None:
        self._look()
        self._refresh()
        self.settings_changed.emit()

    def _on_saved(self) -> None:
        # What is counted in files is another now.
        if self.settings.source != "video":
            self._refresh()

    # The counts.

    def watch(self, is_watched: bool) -> None:
        """Count as long as somebody looks."""
        self._is_watched = is_watched
        if is_watched:
            self._look(again=True)
            self._refresh()
        else:
            self.counting.stop()

    def _refresh(self) -> None:
        if self._is_watched and not self._bench.is_shut:
            self.counting.refresh()

    def _recount(self) -> None:
        parameters = self.plan.parameters
        masks = self.desk.masks
        if self.settings.source == "video" and masks is not None:
            self.counting.count_masks(masks, parameters)
            return
        try:
            self.counting.count_files(self.settings.addresses(self.desk.path), parameters)
        except FlowCutError as error:
            self.counting.count_nothing(str(error))

    # The folder.

    def _look(self, again: bool = False) -> None:
        """Find out what is in the folder for the dataset: that may be a large file to read."""
        try:
            folder = self.settings.folder(self.desk.path)
        except FlowCutError:
            self._place_of = None
            self._looking += 1
            self._on_looked(self._looking, "free")
            return
        if not self._is_watched or (folder == self._place_of and not again):
            return
        self._place_of = folder
        self._looking += 1
        looking = self._looking

        def look() -> None:
            found = look_at(folder)
            with contextlib.suppress(RuntimeError):  # the window is gone
                self._looked.emit(looking, found)

        threading.Thread(target=look, daemon=True).start()

    def _on_looked(self, looking: int, place: Place) -> None:
        if looking == self._looking and place != self.place:
            self.place = place
            self.place_changed.emit()

    # The export.

    def export(self) -> None:
        """Save what is not saved yet, and start the export that is set; what cannot be is remarked."""
        if self.progress.is_going_on:
            return
        try:
            job = self.job()
            self._check_video(job)
        except FlowCutError as error:
            self._bench.remarked.emit(why_not(error))
            return
        self._save_first(job)

    def _check_video(self, job: ExportJob) -> None:
        masks = self.desk.masks
        if self.settings.source != "video" or masks is None or job.videos or job.frame_files == "none":
            return
        if not is_there(masks.video.path):
            raise InputError(
                f"{masks.video.name}: its video is not at {masks.video.path[:200]} any more; say in Videos at where "
                "it is now, or choose no frame files"
            )

    def _save_first(self, job: ExportJob) -> None:
        """Wait on a thread until what is exported is on disk, and start then."""
        self._tidying += 1
        saving = self._tidying
        files = [document.file for document in self.desk.documents()]
        self._set(ExportProgress("starting", text="saving …"))

        def wait() -> None:
            unsaved = wait_for_all([file for file in files if _is_at(file.path, job.addresses)], _SAVE_SECONDS)
            with contextlib.suppress(RuntimeError):  # the window is gone
                self._saved_first.emit(saving, (job, unsaved))

        threading.Thread(target=wait, daemon=True).start()

    def _on_saved_first(self, saving: int, found: tuple[ExportJob, list[MasksFile]]) -> None:
        if saving != self._tidying:  # cancelled meanwhile
            return
        job, unsaved = found
        if not unsaved:
            self._begin(job)
            return
        self._set(ExportProgress())
        self._bench.remarked.emit(
            f"{unsaved[0].path}: not all that you did is saved, so nothing is exported; see to that first"
        )

    def start(self, job: ExportJob) -> None:
        """Start an export; one at a time."""
        if not self.progress.is_going_on:
            self._begin(job)

    def _begin(self, job: ExportJob) -> None:
        self._tidying += 1
        self._job, self._before = job, _stamp(job.out)
        self._set(ExportProgress("starting"))
        self._process.send(job)

    def cancel(self) -> None:
        """End the export; nothing of it stays, unless it was whole already."""
        if not self.progress.can_be_cancelled:
            return
        if self._job is None:  # it has not begun
            self._tidying += 1
            self._set(ExportProgress("cancelled", text="cancelled; nothing was written"))
            return
        self._set(ExportProgress("cancelling", self.progress.step))
        self._tidy("")

    def shutdown(self) -> None:
        """End the export and the counting without another word. May be called again."""
        self.counting.shutdown()
        self._tidy("")

    def _tidy(self, why: str) -> None:
        """End the process, and clear away what it could not any more; takes a while for many files."""
        self._tidying += 1
        tidying, before = self._tidying, self._before
        child = self._process.let_go()
        job, self._job = self._job, None
        if job is None:
            return

        def tidy() -> None:
            if child is not None:
                child.stop()
            clear_unfinished(job.out)
            is_whole = _stamp(job.out) != before
            with contextlib.suppress(RuntimeError):  # the window is gone
                self._tidied.emit(tidying, (why, job.out if is_whole else None))

        # No daemon: what is half-written goes, also while the program ends.
        threading.Thread(target=tidy).start()

    def _on_tidied(self, tidying: int, found: tuple[str, Path | None]) -> None:
        if tidying != self._tidying:
            return
        why, whole = found
        if why:
            self._set(ExportProgress("failed", self.progress.step, text=why))
        elif whole is not None:
            self._set(ExportProgress("cancelled", text=f"cancelled too late: the dataset was whole already → {whole}"))
        else:
            self._set(ExportProgress("cancelled", self.progress.step, text="cancelled; nothing was written"))
        self._look(again=True)

    def _on_answer(self, answer: Any) -> None:
        if isinstance(answer, ExportStep):
            self._set(ExportProgress("running", answer))
            return
        self._process.drop()
        self._job = None
        if isinstance(answer, ExportDone):
            step = ExportStep(1, 1)
            self._set(ExportProgress("done", step, answer))
        elif isinstance(answer, Failed):
            self._set(ExportProgress("failed", self.progress.step, text=window_words(answer.text)))
        self._look(again=True)

    def _on_ended(self, reason: str) -> None:
        if self.progress.is_going_on:
            self._tidy(f"the export ended before it was done: {reason}")

    def _set(self, progress: ExportProgress) -> None:
        self.progress = progress
        self.changed.emit()


def _is_at(path: Path, addresses: Iterable[str]) -> bool:
    """Whether a masks file is one of some files, or in one of some folders, whatever links lead there."""
    real = os.path.realpath(path)
    places = {real, os.path.dirname(real), os.path.realpath(path.parent)}
    return any(os.path.realpath(address) in places for address in addresses)


def _stamp(folder: Path) -> tuple[int, int] | None:
    """Return what tells one dataset in a folder from the next."""
    try:
        found = (folder / ABOUT).stat()
    except (OSError, ValueError):
        return None
    return found.st_ino, found.st_mtime_ns
