"""The Train tab: what is trained, on what, where; what is known of that; and the command that does it."""

from __future__ import annotations

from functools import partial
from typing import Any

from qtpy.QtGui import QFontDatabase, QGuiApplication
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QPushButton,
    QSizePolicy,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from flowcut_napari.core.errors import FlowCutError
from flowcut_napari.widgets.notices import plain, text_label
from flowcut_napari.widgets.rows import form_layout, push_button, show_row
from flowcut_napari.widgets.train.controller import NAMED_WEIGHTS, train_of
from flowcut_napari.widgets.train.fields import ParameterLine, PlaceLine, is_typed_in, side_by_side
from flowcut_napari.widgets.train.findings import describe_measured, window_words
from flowcut_napari.widgets.train.parameter_table import ParameterTable
from flowcut_napari.widgets.tune.form import blocked
from flowcut_napari.widgets.workbench import Workbench

# Those that matter, in rows; all others are under More parameters, and these too.
_ROWS = (
    ("Steps, batch", ("optimizer.steps", "optimizer.batch")),
    ("Learning rate", ("optimizer.lr",)),
    ("Sides, px", ("data.short_side", "data.max_side")),
)
_STARTS = (
    ("cutler", "CutLER's Mask2Former, as the paper"),
    ("dino-resnet50", "DINO's ResNet-50, all else random"),
    ("scratch", "random weights"),
)
_FILE = "Another configuration…"


class TrainTab(QWidget):
    """Starts what ``flowcut train`` does, after it has said what that would be."""

    def __init__(self, bench: Workbench, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._bench = bench
        self.controller = train_of(bench)
        self._missing = ""  # what must be chosen before it can start
        self._make_places()
        self._make_choices()
        self._make_ends()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 8, 8, 8)
        layout.setSpacing(6)
        layout.addLayout(self._rows())
        layout.addWidget(self.more)
        layout.addWidget(self.table)
        # Above all that is said, which grows and shrinks: they stay where they are, and in sight.
        layout.addLayout(self._buttons())
        layout.addWidget(self.said)
        layout.addWidget(self.measured)
        layout.addWidget(self.command)
        layout.addWidget(self.versions)
        layout.addStretch(1)
        self.controller.settings_changed.connect(self.show_settings)
        self.controller.about_changed.connect(self.show_about)
        self.controller.findings_changed.connect(self.show_findings)
        self.show_about()
        self.show_settings()
        self.show_findings()

    # What a shortcut may do.

    def start(self) -> None:
        """Start the run that the controls describe."""
        # What is still being typed counts, too.
        if (focus := self.focusWidget()) is not None:
            focus.clearFocus()
        self.controller.start()

    # How it is made.

    def _make_places(self) -> None:
        edit = self.controller.edit
        self.dataset = PlaceLine(
            "train dataset",
            "Folder of a dataset that Export made, or one in YouTube-VIS form",
            "folder of a dataset",
            _ask_folder,
        )
        self.dataset.edited.connect(partial(edit, "dataset"))
        self.run = PlaceLine(
            "run folder",
            "Folder for events, checkpoints and pictures of the run; empty: runs/NAME-N beside the dataset",
            "beside the dataset",
            _ask_new_folder,
        )
        self.run.edited.connect(self._choose_run)
        self.resume = QCheckBox("Go on with the run in this folder")
        self.resume.setObjectName("resume run")
        self.resume.setToolTip("From its last checkpoint, with its own parameters; some of them may be changed")
        self.resume.toggled.connect(partial(edit, "resume"))
        self.weights = PlaceLine(
            "weights file",
            "File of these weights, if it lies in no folder that is looked at",
            "looked for by its name",
            _ask_file,
        )
        self.weights.edited.connect(partial(edit, "weights"))
        self.evaluate = PlaceLine(
            "run.evaluate", "Dataset on which the model is evaluated now and then; empty for none", "none", _ask_folder
        )
        self.evaluate.edited.connect(partial(self.controller.change, "run.evaluate"))

    def _make_choices(self) -> None:
        self.configuration = _combo("configuration", "What all parameters are that are not changed below")
        self.configuration.activated.connect(self._choose_configuration)
        self.lines = {name: ParameterLine(name) for _, names in _ROWS for name in names}
        for line in self.lines.values():
            line.edited.connect(self.controller.change)
        self.init = _combo("run.init", "Where the weights come from; a file of a model may be named too")
        self.init.setEditable(True)
        self.init.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        for name, meaning in _STARTS:
            self.init.addItem(name)
            self.init.setItemData(self.init.count() - 1, meaning, 3)  # Qt.ItemDataRole.ToolTipRole
        self.init.activated.connect(lambda _: self._choose_start())
        self.init.lineEdit().editingFinished.connect(self._choose_start)
        self.device = _combo("train device", "Where it is trained, with the memory that is free there now")
        self.device.activated.connect(self._choose_device)
        self.refresh = push_button(
            "refresh devices", "↻", "Look for devices and their free memory again", self.controller.ask
        )
        self.refresh.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self.processes = QSpinBox()
        self.processes.setObjectName("train processes")
        self.processes.setRange(1, 64)
        self.processes.setKeyboardTracking(False)
        self.processes.setToolTip("More than one are started by torchrun, a GPU each, from the one that is chosen on")
        self.processes.valueChanged.connect(partial(self.controller.edit, "processes"))
        self.more = QPushButton("More parameters")
        self.more.setObjectName("more parameters")
        self.more.setCheckable(True)
        self.more.setToolTip("All parameters of network, data, loss, optimizer and run")
        self.more.toggled.connect(lambda _: self._show_table())
        self.table = ParameterTable()
        self.table.edited.connect(self.controller.change)

    def _make_ends(self) -> None:
        self.said = text_label("train findings")
        self.estimate = push_button(
            "estimate",
            "Estimate",
            "Try two small steps on the device: how long the run takes, how much memory",
            partial(self.controller.check, estimate=True),
        )
        self.measured = text_label("estimate text", faint=True)
        self.command = text_label("train command", faint=True)
        self.command.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        self.command.setToolTip("What Start runs")
        self.button = push_button("start training", "Start", "Start training, in processes of its own", self.start)
        self.copy = push_button(
            "copy train command", "Copy command", "Copy a command line that trains the same", self._copy
        )
        self.versions = text_label("train versions", faint=True)

    def _rows(self) -> QFormLayout:
        form = self._form = form_layout()
        form.addRow("Dataset", self.dataset)
        form.addRow("Run", self.run)
        form.addRow(" ", self.resume)
        form.addRow("Configuration", self.configuration)
        for word, names in _ROWS:
            form.addRow(word, side_by_side(*(self.lines[name] for name in names)))
        form.addRow("Evaluate on", self.evaluate)
        form.addRow("Start from", self.init)
        form.addRow("Weights", self.weights)
        place = side_by_side(self.device)
        place.layout().addWidget(self.refresh)
        form.addRow("Device", place)
        form.addRow("Processes", self.processes)
        return form

    def _buttons(self) -> QHBoxLayout:
        row = QHBoxLayout()
        row.addWidget(self.button, 1)
        row.addWidget(self.estimate)
        row.addWidget(self.copy)
        return row

    # What is shown.

    def showEvent(self, event: Any) -> None:  # Qt's name
        """Keep up to date while somebody looks."""
        super().showEvent(event)
        self.controller.watch(True)

    def hideEvent(self, event: Any) -> None:  # Qt's name
        """Look no more."""
        super().hideEvent(event)
        self.controller.watch(False)

    def show_settings(self) -> None:
        """Show what is set now, whoever set it."""
        controller, settings = self.controller, self.controller.settings
        self.dataset.show_place(settings.dataset)
        try:
            self.run.show_place(settings.run or str(settings.folder))
        except FlowCutError:
            self.run.show_place(settings.run)
        with blocked(self.resume):
            self.resume.setChecked(settings.resume)
        show_row(self._form, self.resume, controller.holds_run or settings.resume)
        self._show_configuration()
        for name, line in self.lines.items():
            parameter = controller.parameter(name)
            is_open = not settings.resume or bool(parameter and parameter.changeable)
            value = controller.value(name)
            if not is_open:
                value = ""  # it is that of the run
            line.show_parameter(parameter, value, is_changed=is_open and name in settings.changes, is_open=is_open)
            line.setPlaceholderText("as it was" if settings.resume else "")
        self.evaluate.show_place(controller.value("run.evaluate"))
        self.evaluate.line.setPlaceholderText("as it was" if settings.resume else "none")
        init = controller.value("run.init")
        if not is_typed_in(self.init.lineEdit()):
            with blocked(self.init):
                self.init.setCurrentText(init)
        self.weights.show_place(settings.weights)
        for field in (self.init, self.weights, self.configuration):
            field.setEnabled(not settings.resume)
        show_row(self._form, self.weights, init in NAMED_WEIGHTS and not settings.resume)
        with blocked(self.processes):
            self.processes.setValue(settings.processes)
        self._show_device()
        self._show_table()
        self._show_command()

    def _show_configuration(self) -> None:
        about, chosen = self.controller.about, self.controller.settings.configuration
        names = list(about.configurations) if about else [chosen]
        # The paper's first.
        names.sort(key=lambda name: (name != "paper", name))
        names = [*names, *([chosen] if chosen not in names else [])]
        with blocked(self.configuration):
            self.configuration.clear()
            self.configuration.addItems([*names, _FILE])
            self.configuration.setCurrentText(chosen)

    def _show_device(self) -> None:
        about, chosen = self.controller.about, self.controller.settings.device
        with blocked(self.device):
            self.device.clear()
            self.device.addItem("auto · a GPU if there is one", "auto")
            for device in about.devices if about else ():
                self.device.addItem(device.words(), device.name)
            place = self.device.findData(chosen)
            if place < 0:
                self.device.addItem(f"{chosen} · not found", chosen)
                place = self.device.count() - 1
            self.device.setCurrentIndex(place)

    def _show_table(self) -> None:
        self.table.setVisible(self.more.isChecked())
        about, settings = self.controller.about, self.controller.settings
        self.more.setEnabled(about is not None)
        changes = self.controller.planned.changes
        count = len(changes)
        self.more.setText(f"More parameters ({count} changed)" if count else "More parameters")
        if about is not None and self.more.isChecked():
            self.table.show_parameters(about.parameters)
            self.table.show_values(settings.configuration, changes, changeable_only=settings.resume)

    def _show_command(self) -> None:
        try:
            text = self.controller.planned.command().text()
        except FlowCutError as error:
            text, self._missing = "", window_words(str(error))
            self._missing = f"{self._missing[:1].upper()}{self._missing[1:]}."
            self.button.setToolTip(plain(self._missing))
        else:
            self._missing = ""
            self.button.setToolTip("Start training, in processes of its own")
        self.command.setText(text)
        self.command.setVisible(bool(text))
        self.show_findings()

    def _show_button(self) -> None:
        controller = self.controller
        is_set = bool(self.command.text()) and controller.about is not None
        self.button.setEnabled(is_set and not controller.findings.problems)
        self.button.setText("Go on" if controller.settings.resume else "Start")
        self.copy.setEnabled(bool(self.command.text()))
        # Which would forget for a while what is wrong, and try nothing.
        self.estimate.setEnabled(self.button.isEnabled() and not controller.findings.is_checking)

    def show_about(self) -> None:
        """Show what the interpreter says of itself, or why it says nothing."""
        controller = self.controller
        if controller.about is not None:
            self.versions.setText(controller.about.words())
        else:
            self.versions.setText("asking the Python for training …" if controller.is_asking else "")
        self.versions.setVisible(bool(self.versions.text()))
        self.versions.setToolTip(plain("The Python that trains; choose another in Preferences > FlowCut"))
        self.refresh.setEnabled(not controller.is_asking)
        self.show_findings()

    def show_findings(self) -> None:
        """Show what is known of the run that is set."""
        found = self.controller.findings
        # Without that Python nothing can be known, nor done.
        broken = self.controller.about_problem
        self.said.setText(f"✗ {broken}" if broken else found.describe() or self._missing)
        self.said.setVisible(bool(self.said.text()))
        self.measured.setText("" if found.measured is None else describe_measured(found.measured))
        self.measured.setVisible(bool(self.measured.text()))
        self._show_button()

    # What the controls do.

    def _choose_run(self, folder: str) -> None:
        try:
            suggested = str(self.controller.settings.folder) if not self.controller.settings.run else None
        except FlowCutError:
            suggested = None
        # Going through the field is not choosing what it suggests.
        if folder != suggested:
            self.controller.edit("run", folder.strip())
        self.show_settings()  # emptied, it suggests again

    def _choose_configuration(self, place: int) -> None:
        name = self.configuration.itemText(place)
        if name != _FILE:
            self.controller.edit("configuration", name)
            return
        if chosen := _ask_yaml(self):
            self.controller.edit("configuration", chosen)
        self.show_settings()

    def _choose_start(self) -> None:
        self.init.lineEdit().setModified(False)
        self.controller.change("run.init", self.init.currentText())

    def _choose_device(self, place: int) -> None:
        self.controller.edit("device", self.device.itemData(place))

    def _copy(self) -> None:
        QGuiApplication.clipboard().setText(self.command.text())
        self._bench.remarked.emit(f"copied: {self.command.text()}")


def _combo(name: str, tip: str) -> QComboBox:
    box = QComboBox()
    box.setObjectName(name)
    box.setToolTip(tip)
    # A long name must not make the panel wide.
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    box.setMinimumContentsLength(8)
    box.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    return box


def _ask_folder(parent: QWidget, start: str) -> str:
    return str(QFileDialog.getExistingDirectory(parent, "Dataset", start))


def _ask_new_folder(parent: QWidget, start: str) -> str:
    options = QFileDialog.Option.DontConfirmOverwrite
    return str(QFileDialog.getSaveFileName(parent, "Folder for the run", start, "Folder (*)", options=options)[0])


def _ask_file(parent: QWidget, start: str) -> str:
    return str(QFileDialog.getOpenFileName(parent, "Weights", start, "Weights (*.pth *.pkl *.safetensors)")[0])


def _ask_yaml(parent: QWidget) -> str:
    return str(QFileDialog.getOpenFileName(parent, "Configuration", "", "Configuration (*.yaml *.yml)")[0])
