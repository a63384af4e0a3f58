"""What the Train tab knows and does, without any widget."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from qtpy.QtCore import QObject, QTimer, Signal

from flowcut_napari.core.errors import FlowCutError, InputError
from flowcut_napari.core.run_checkpoints import list_checkpoints
from flowcut_napari.core.run_control import last_start
from flowcut_napari.live.backend import BackendEnd
from flowcut_napari.widgets.backend_process import BackendProcess
from flowcut_napari.widgets.export.controller import export_of
from flowcut_napari.widgets.recent import Recent
from flowcut_napari.widgets.train.findings import Findings, window_words
from flowcut_napari.widgets.train.launcher import Launcher
from flowcut_napari.widgets.train.parameters import BackendAbout, Parameter
from flowcut_napari.widgets.train.settings import TrainSettings
from flowcut_napari.widgets.training_desk import training_of
from flowcut_napari.widgets.workbench import Workbench

# Until somebody who types has stopped.
_REST_MILLISECONDS = 700
# What `run.init` may name instead of a file.
NAMED_WEIGHTS = ("cutler", "dino-resnet50")


def train_of(bench: Workbench) -> TrainController:
    """Return the training of a workbench, the same every time: it outlives the panel that started it."""
    found = bench.findChild(TrainController)
    return found if found is not None else TrainController(bench)


class TrainController(QObject):
    """Knows what is to be trained, has it checked, and starts it.

    Signals
    -------
    settings_changed
        `settings` are others.
    about_changed
        `about` or `about_problem` is another.
    findings_changed
        `findings` are others.
    """

    settings_changed = Signal()
    about_changed = Signal()
    findings_changed = Signal()
    _looked = Signal(int, object)
    _found_start = Signal(object, object)

    def __init__(self, bench: Workbench) -> None:
        super().__init__(bench)
        self._bench = bench
        self.desk = training_of(bench)
        self.settings = TrainSettings()
        self.about: BackendAbout | None = None
        self.about_problem = ""
        self.findings = Findings()
        self.holds_run = False
        self._is_watched = False
        self._is_refused = False  # the value that was typed last
        self._looking = 0
        self.launcher = Launcher(self.desk, bench, self)
        self.recent = Recent("runs", bool(bench.preferences.autosave_seconds))
        self._asking = BackendProcess(bench, self)
        self._asking.ended.connect(self._on_about)
        self._checking = BackendProcess(bench, self)
        self._checking.said.connect(self._on_finding)
        self._checking.ended.connect(self._on_checked)
        self._rest = QTimer(self)
        self._rest.setSingleShot(True)
        self._rest.setInterval(_REST_MILLISECONDS)
        self._rest.timeout.connect(self.check)
        self._looked.connect(self._on_looked)
        self._found_start.connect(self._on_found_start)
        self.desk.resume_wanted.connect(self.resume)
        self.launcher.changed.connect(self._on_launched)
        self._export = export_of(bench)
        self._export.changed.connect(self._suggest_dataset)
        bench.closing.connect(self.shutdown)

    # What is set.

    def edit(self, name: str, value: Any) -> None:
        """Set one field of the settings."""
        if getattr(self.settings, name) == value:
            return
        more: dict[str, Any] = {}
        if name == "dataset":
            more["resume"] = False
        elif name == "run":
            # To go on is said of one folder, not of another.
            more["resume"] = False
        self._set(replace(self.settings, **{**more, name: value}))

    def change(self, name: str, text: str) -> None:
        """Give a parameter another value than its configuration has; the same value, or nothing, takes it back."""
        parameter, text = self.parameter(name), text.strip()
        changes = {key: value for key, value in self.settings.changes.items() if key != name}
        if parameter is None:
            return
        if text != self._unchanged(parameter) and (text or parameter.optional):
            if problem := parameter.problem(text):
                self._is_refused = True
                self._bench.remarked.emit(problem)
                self.settings_changed.emit()  # so that the control shows again what holds
                return
            changes[name] = text
        if self._is_refused:  # what was said of it holds no more
            self._is_refused = False
            self._bench.remarked.emit("")
        # Also where nothing has changed: what was typed is shown as it is understood.
        self._set(replace(self.settings, changes=changes))

    def parameter(self, name: str) -> Parameter | None:
        """Return what is known of a parameter."""
        return next((one for one in self.about.parameters if one.name == name), None) if self.about else None

    def value(self, name: str) -> str:
        """Return the value that a parameter has now, as text."""
        parameter = self.parameter(name)
        default = self._unchanged(parameter) if parameter else ""
        return self.settings.changes.get(name, default)

    def _unchanged(self, parameter: Parameter) -> str:
        # What a run has that goes on stands in its folder.
        return "" if self.settings.resume else parameter.shown(self.settings.configuration)

    @property
    def planned(self) -> TrainSettings:
        """The settings without what does not count now, but may again.

        These are changes that a run which goes on cannot make, and a file of weights where none are named.
        """
        settings, about = self.settings, self.about
        if settings.resume and about is not None:
            fixed = {parameter.name for parameter in about.parameters if not parameter.changeable}
            settings = replace(
                settings, changes={name: text for name, text in settings.changes.items() if name not in fixed}
            )
        init = self.value("run.init")
        is_named = init in NAMED_WEIGHTS
        return replace(settings, weights=settings.weights if is_named else "", weights_of=init)

    def _set(self, settings: TrainSettings) -> None:
        self.settings = settings
        self._forget_findings()
        self.settings_changed.emit()
        self._look()
        if self._is_watched:
            self._rest.start()

    def _suggest_dataset(self) -> None:
        """Train on what was exported last, if nothing else was chosen."""
        done = self._export.progress.done
        if done is not None and not self.settings.dataset:
            self.edit("dataset", str(done.path / done.parts[0] if done.parts else done.path))

    # What the interpreter says of itself.

    def watch(self, is_watched: bool) -> None:
        """Keep what is shown up to date as long as somebody looks."""
        self._is_watched = is_watched
        if is_watched:
            if self.about is None and not self._asking.is_there:
                self.ask()
            self._suggest_dataset()
            if self.findings == Findings():
                self._rest.start()
        else:
            self._rest.stop()

    def ask(self) -> None:
        """Ask the interpreter what it can train with."""
        self.about_problem = ""
        self._asking.start(["backend", "--json"], in_lines=False)
        self.about_changed.emit()

    @property
    def is_asking(self) -> bool:
        """Whether it was asked and has not answered."""
        return self._asking.is_there

    def _on_about(self, end: BackendEnd) -> None:
        try:
            if end.reason:
                raise InputError(end.reason)
            self.about = BackendAbout.read(end.document)
        except FlowCutError as error:
            self.about, self.about_problem = None, str(error)
        self.about_changed.emit()
        self.settings_changed.emit()

    # What would be trained.

    def check(self, *, estimate: bool = False) -> None:
        """Have it checked; `estimate` tries two steps for time and memory."""
        self._rest.stop()
        if self.launcher.at_work and self._current_run() in self.launcher.at_work:
            return
        try:
            planned = self.planned
            arguments, environment = planned.checking(estimate=estimate), planned.command().environment
        except FlowCutError:  # nothing is chosen yet; Start says so
            self._forget_findings()
            return
        self.findings = Findings(is_checking=True)
        self._checking.start(arguments, in_lines=True, environment=environment)
        self.findings_changed.emit()

    def _current_run(self) -> Path | None:
        with contextlib.suppress(FlowCutError):
            return self.settings.folder
        return None

    def _forget_findings(self) -> None:
        self._checking.drop()
        self.findings = Findings()
        self.findings_changed.emit()

    def _on_finding(self, event: Mapping[str, Any]) -> None:
        self.findings = self.findings.taking(event)
        self.findings_changed.emit()

    def _on_checked(self, end: BackendEnd) -> None:
        found = replace(self.findings, is_checking=False)
        if end.reason and not found.problems:
            found = replace(found, problems=(window_words(end.reason),))
        self.findings = found
        self.findings_changed.emit()

    def _look(self) -> None:
        """Find out whether the folder holds a run; it may lie on a disk that is slow."""
        self._looking += 1
        looking, run = self._looking, self._current_run()

        def look() -> bool:
            return run is not None and (run / "config.yaml").is_file() and bool(list_checkpoints(run))

        self._on_thread(look, lambda found: self._looked.emit(looking, found))

    def _on_looked(self, looking: int, found: object) -> None:
        if looking == self._looking and isinstance(found, bool) and found != self.holds_run:
            self.holds_run = found
            self.settings_changed.emit()

    def _on_thread(self, work: Callable[[], Any], tell: Callable[[Any], None]) -> None:
        def do() -> None:
            try:
                found: Any = work()
            except (FlowCutError, OSError, ValueError) as error:
                found = error
            with contextlib.suppress(RuntimeError):  # the window is gone
                tell(found)

        threading.Thread(target=do, daemon=True).start()

    # Runs.

    def start(self) -> None:
        """Start the run that is set, and watch it; what cannot be is remarked."""
        try:
            command = self.planned.command()
            self._checking.drop()
            self._rest.stop()
            self.launcher.start(command)
        except FlowCutError as error:
            self._bench.remarked.emit(window_words(str(error)))
            return
        # What this folder is from now on, and what the next one is called.
        self.settings = replace(self.settings, run="", resume=False)
        self._forget_findings()
        self.settings_changed.emit()
        self._show(command.run)

    def _show(self, run: Path) -> None:
        self.recent.put(str(run))
        self.desk.watch(run, show=True)

    def resume(self, run: Path) -> None:
        """Go on with a run, with the dataset and the device that it had."""
        self._on_thread(lambda: last_start(run), lambda found: self._found_start.emit(run, found))

    def _on_found_start(self, run: Path, found: Any) -> None:
        try:
            if isinstance(found, Exception):
                raise InputError(str(found))
            if found is None or not found.dataset_path:
                raise InputError(f"{run}: its events do not say on what it was trained; go on with it in the Train tab")
            if not os.path.isabs(found.dataset_path):
                raise InputError(
                    f"{run}: was trained on {found.dataset}, of another folder; choose it in the Train tab"
                )
            kind = "cuda" if found.device.lower() not in ("cpu", "mps") else found.device.lower()
            device = self.settings.device if self.settings.device.startswith(kind) else "auto"
            device = kind if kind != "cuda" else device
            settings = TrainSettings(
                found.dataset_path, str(run), device=device, processes=max(1, found.world), resume=True
            )
            self.launcher.start(settings.command())
        except FlowCutError as error:
            self._bench.remarked.emit(window_words(str(error)))
            return
        self._show(run)

    def _on_launched(self) -> None:
        self._look()
        self.settings_changed.emit()

    def shutdown(self) -> None:
        """End all that was started here and was not left to itself. May be called again."""
        self._rest.stop()
        self._asking.drop()
        self._checking.drop()
        self.launcher.shutdown()
