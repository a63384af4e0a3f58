"""The Tune tab: sliders, presets, models; all made from the fields of `CutParameters`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import get_args

from qtpy.QtCore import Qt
from qtpy.QtGui import QGuiApplication
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)
from superqt import QCollapsible

from flowcut_napari.core.parameters import CutParameters, PresetName
from flowcut_napari.widgets.tune.controller import METHOD, MODELS, MORE, TuneController
from flowcut_napari.widgets.tune.form import ModelForm, blocked
from flowcut_napari.widgets.workbench import Workbench

_PRESET_HELP = {
    "flowcut": "FlowCut (the paper): DINO keys and RAFT-large flow, three cuts",
    "locate": "LOCATE: as FlowCut, one cut at tau 0.35",
    "maskcut": "MaskCut: DINO keys without flow, three cuts",
    "tokencut": "TokenCut: DINO keys without flow, one cut",
    "handmade": "nothing to download: hand-made features and OpenCV's DIS flow",
}


class TuneTab(QWidget):
    """Sliders whose moves are seen at once."""

    def __init__(self, bench: Workbench, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._bench = bench
        self.controller = TuneController(bench)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 8, 8, 8)
        layout.setSpacing(8)
        layout.addLayout(self._preset_row())
        self._changes = QLabel()
        self._changes.setObjectName("changes")
        self._changes.setWordWrap(True)
        layout.addWidget(self._changes)
        features = ["dino", "handmade"]
        self.forms = [
            ModelForm(CutParameters, METHOD, {}),
            ModelForm(CutParameters, MODELS, {"features": features}),
            ModelForm(CutParameters, MORE, {}),
        ]
        layout.addWidget(_group("Method", self.forms[0]))
        self._add_machine_rows(self.forms[1])
        layout.addWidget(_group("Models and machine", self.forms[1]))
        more = QCollapsible("More parameters")
        more.setObjectName("more")
        more.setDuration(0)
        more.setExpandedIcon("▾")
        more.setCollapsedIcon("▸")
        more.addWidget(self.forms[2])
        layout.addWidget(more)
        layout.addLayout(self._copy_row())
        layout.addStretch(1)
        for form in self.forms:
            form.edited.connect(self.controller.edit)
        self.controller.refused.connect(bench.remarked)
        bench.parameters_changed.connect(self.show_parameters)
        bench.video_changed.connect(self._show_gap_range)
        self.show_parameters()

    def show_parameters(self) -> None:
        """Show what is set now, whoever set it."""
        parameters = self._bench.parameters
        for form in self.forms:
            form.show_values(parameters)
        with blocked(self.preset):
            self.preset.setCurrentText(self.controller.preset)
        changes = self.controller.changes()
        named = ", ".join(CutParameters.model_fields[name].title or name for name in changes)
        self._changes.setText(f"changed: {named}" if changes else "as the preset has it")
        self.reset.setEnabled(bool(changes))
        # Without flow these change nothing.
        for name in ("gap", "min_flow"):
            for form in self.forms:
                if name in form.controls:
                    form.controls[name].setEnabled(parameters.uses_flow)

    def _preset_row(self) -> QHBoxLayout:
        self.preset = QComboBox()
        self.preset.setObjectName("preset")
        self.preset.setAccessibleName("Preset")
        for name in get_args(PresetName):
            self.preset.addItem(name)
            self.preset.setItemData(self.preset.count() - 1, _PRESET_HELP[name], Qt.ItemDataRole.ToolTipRole)
        self.preset.setToolTip("\n".join(f"{name}: {text}" for name, text in _PRESET_HELP.items()))
        self.preset.activated.connect(lambda _: self.controller.choose_preset(self.preset.currentText()))
        self.reset = QPushButton("Reset")
        self.reset.setObjectName("reset")
        self.reset.setToolTip("Take back all that departs from the preset")
        self.reset.clicked.connect(lambda: self.controller.reset())
        row = QHBoxLayout()
        label = QLabel("Preset")
        label.setBuddy(self.preset)
        row.addWidget(label)
        row.addWidget(self.preset, 1)
        row.addWidget(self.reset)
        return row

    def _add_machine_rows(self, form: ModelForm) -> None:
        self.device = QComboBox()
        self.device.setObjectName("device")
        self.device.setEditable(True)
        self.device.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.device.addItems(["auto", "cpu"])
        self._bench.live.devices_found.connect(self._add_devices)
        self.device.setCurrentText(self._bench.machine.device)
        self.device.setToolTip("Where models run: auto, cpu, cuda, cuda:N or mps. Cuts and CRF are the CPU's.")
        self.device.activated.connect(lambda _: self._set_device())
        self.device.lineEdit().editingFinished.connect(self._set_device)
        self.weights = QPushButton("Choose a file…")
        self.weights.setObjectName("weights")
        self.weights.setToolTip(
            "Use a weights file for the features or the flow, such as dino_deitsmall16_pretrain.pth or raft_small.pth"
        )
        self.weights.clicked.connect(lambda: self.ask_for_weights())
        form.add_row("Device", self.device)
        form.add_row("Weights", self.weights)

    def _copy_row(self) -> QHBoxLayout:
        row = QHBoxLayout()
        for name, text, what, tip in (
            ("copy_command", "Copy command", self.controller.command, "Copy a command line that makes these masks"),
            ("copy_python", "Copy Python", self.controller.python, "Copy Python code that makes these masks"),
        ):
            button = QPushButton(text)
            button.setObjectName(name)
            button.setToolTip(tip)
            button.clicked.connect(lambda _=False, what=what: self._copy(what()))
            row.addWidget(button)
        return row

    def _copy(self, text: str) -> None:
        QGuiApplication.clipboard().setText(text)
        self._bench.remarked.emit(f"copied: {text.splitlines()[0]}")

    def _add_devices(self, found: tuple[tuple[str, str], ...]) -> None:
        for name, what in found:
            if self.device.findText(name) < 0:
                self.device.addItem(name)
                self.device.setItemData(self.device.count() - 1, what, Qt.ItemDataRole.ToolTipRole)

    def _set_device(self) -> None:
        device = self.device.currentText().strip() or "auto"
        self._bench.set_machine(replace(self._bench.machine, device=device))

    def ask_for_weights(self, name: str | None = None) -> None:
        """Let the user choose a weights file, for the model `name` or the one that the file seems to be of."""
        pattern = "Weights (*.pth *.pt *.safetensors *.bin);;All files (*)"
        chosen, _ = QFileDialog.getOpenFileName(self, f"Weights of {name}" if name else "Weights", "", pattern)
        if chosen and name:
            self._bench.give_weights(name, Path(chosen))
        elif chosen:
            self.controller.give_weights(Path(chosen))

    def _show_gap_range(self) -> None:
        """Let the slider of the gap end where the video does."""
        video = self._bench.video
        slider = self.forms[0].controls["gap"]
        if video is not None and len(video) > 1:
            with blocked(slider):
                most = max(self._bench.parameters.gap, min(12, len(video) - 1))
                slider.setMaximum(most)


def _group(title: str, content: QWidget) -> QGroupBox:
    box = QGroupBox(title)
    layout = QVBoxLayout(box)
    layout.setContentsMargins(8, 8, 8, 8)
    layout.addWidget(content)
    return box
