"""The life of an evaluation: one process, always a final state; the numbers that are there stay until others come."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from qtpy.QtCore import QObject, Signal

from flowcut_napari.core.errors import InputError
from flowcut_napari.core.evaluation_report import Kind, Report, read_report
from flowcut_napari.core.evaluation_tables import summary
from flowcut_napari.core.files import write_atomically
from flowcut_napari.live.backend import BackendEnd
from flowcut_napari.widgets.backend_process import BackendProcess
from flowcut_napari.widgets.evaluate.opener import WorstOpener
from flowcut_napari.widgets.evaluate.progress import EvaluateProgress
from flowcut_napari.widgets.evaluate.settings import EvaluateSettings
from flowcut_napari.widgets.session.background import Background
from flowcut_napari.widgets.workbench import Workbench

_WHAT: dict[Kind, str] = {"ytvis": "videos", "davis": "sequences"}


def evaluate_of(bench: Workbench) -> EvaluateController:
    """Return the evaluation of a workbench, the same every time: it outlives the panel that started it."""
    found = bench.findChild(EvaluateController)
    return found if found is not None else EvaluateController(bench)


class EvaluateController(QObject):
    """Knows what is to be evaluated, and starts, follows and ends the evaluation.

    Signals
    -------
    changed
        `progress` is another.
    settings_changed
        `settings` are others.
    report_changed
        `report` is another.

    Attributes
    ----------
    report : Report or None
        What the last evaluation found that came to its end.
    opener : WorstOpener
        Shows the worst frames of its videos.
    """

    changed = Signal()
    settings_changed = Signal()
    report_changed = Signal()

    def __init__(self, bench: Workbench) -> None:
        super().__init__(bench)
        self._bench = bench
        self.settings = EvaluateSettings()
        self.progress = EvaluateProgress()
        self.report: Report | None = None
        self.opener = WorstOpener(bench, self)
        self._kind: Kind = "ytvis"
        self._document: dict[str, Any] | None = None
        self._process = BackendProcess(bench, self)
        self._process.said.connect(self._on_said)
        self._process.ended.connect(self._on_ended)
        self._background = Background(bench)
        bench.closing.connect(self.shutdown)

    # What is set.

    def edit(self, name: str, value: Any) -> None:
        """Set one field of the settings, or a place of the kind that is set."""
        if name in ("ground_truth", "predictions"):
            self._set_settings(self.settings.with_place(name, value))
        else:
            self._set_settings(replace(self.settings, **{name: value}))

    def take_predictions(self, path: Path) -> None:
        """Set the predictions to what was just made: a folder of ``flowcut predict``, or results in json."""
        is_json = path.suffix.lower() == ".json" or (path / "results.json").is_file()
        settings = replace(self.settings, kind="ytvis" if is_json else "davis")
        self._set_settings(settings.with_place("predictions", os.path.abspath(path)))

    def _set_settings(self, settings: EvaluateSettings) -> None:
        self.settings = settings
        self.settings_changed.emit()
        if self.progress.state in ("failed", "cancelled"):  # which was said of other settings
            self._set(EvaluateProgress())

    # The evaluation.

    @property
    def pid(self) -> int | None:
        """The number of the process, while there is one."""
        return self._process.pid

    def start(self) -> None:
        """Start the evaluation that is set; what cannot be is said."""
        if self.progress.is_going_on or self._bench.is_shut:
            return
        try:
            arguments = self.settings.followed()
        except InputError as error:
            self._set(EvaluateProgress("failed", text=str(error)))
            return
        self._kind, self._document = self.settings.kind, None
        self._set(EvaluateProgress("reading", _WHAT[self._kind]))
        self._process.start(arguments, in_lines=True)

    def cancel(self) -> None:
        """End the evaluation; the numbers that are there stay."""
        if self.progress.is_going_on:
            self._process.drop()
            self._set(EvaluateProgress("cancelled"))

    def shutdown(self) -> None:
        """End the evaluation without another word. May be called again."""
        self._process.drop()
        self.opener.shutdown()

    # The tables.

    def save(self, path: Path, text: str) -> None:
        """Write a table on a thread; what came of it is remarked."""
        self._background.run(partial(write_atomically, path, text), partial(self._tell_saved, path))

    def _tell_saved(self, path: Path, _: None) -> None:
        self._bench.remarked.emit(f"saved: {path}")

    # What is said.

    def _on_said(self, event: dict[str, Any]) -> None:
        if event.get("event") == "done":
            self._document = event
        elif event.get("event") == "progress":
            done, total = event.get("done"), event.get("total")
            if type(done) is int and type(total) is int:
                self._set(replace(self.progress, state="running", done=done, total=total))

    def _on_ended(self, end: BackendEnd) -> None:
        document, self._document = self._document, None
        if end.code != 0 or document is None:
            text = re.sub(r"^it (?=was )", "the evaluation ", end.reason) or "the evaluation ended without a result"
            self._set(EvaluateProgress("failed", text=text))
            return
        try:
            report = read_report(self._kind, document)
        except InputError as error:
            self._set(EvaluateProgress("failed", text=str(error)))
            return
        self.report = report
        self.opener.take(report)
        self._set(EvaluateProgress("done", _WHAT[self._kind], text=summary(report)))
        self.report_changed.emit()

    def _set(self, progress: EvaluateProgress) -> None:
        self.progress = progress
        self.changed.emit()
