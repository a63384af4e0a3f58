"""The upper half of the Predict tab: which model, on which frames, where; and how far it is."""

from __future__ import annotations

from functools import partial

from qtpy.QtCore import Qt
from qtpy.QtGui import QGuiApplication
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QProgressBar,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from flowcut_napari.core.errors import FlowCutError, printable
from flowcut_napari.core.run_checkpoints import best_checkpoint
from flowcut_napari.widgets.export.form import told_when_done
from flowcut_napari.widgets.notices import plain, text_label
from flowcut_napari.widgets.predict.controller import predict_of
from flowcut_napari.widgets.predict.job import describe_checkpoint, window_words
from flowcut_napari.widgets.predict.parts import push_button
from flowcut_napari.widgets.tune.form import blocked
from flowcut_napari.widgets.workbench import Workbench

_BAR = 1000
_DEVICES = ("auto", "cpu", "cuda", "cuda:1", "mps")
_WEIGHTS = "Weights (*.safetensors *.pth *.pkl);;All files (*)"


class ModelRows(QWidget):
    """Chooses a model and predicts with it on the video that is looked at."""

    def __init__(self, bench: Workbench, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._bench = bench
        self.controller = predict_of(bench)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        layout.addLayout(self._form())
        self.problem = text_label("model_problem")
        layout.addWidget(self.problem)
        layout.addLayout(self._buttons())
        self.bar = QProgressBar()
        self.bar.setObjectName("predict_progress")
        layout.addWidget(self.bar)
        self.text = text_label("predict_text")
        layout.addWidget(self.text)
        controller = self.controller
        controller.changed.connect(self.show_progress)
        controller.settings_changed.connect(self.show_settings)
        controller.listed.connect(self.show_checkpoints)
        bench.video_changed.connect(self.show_progress)
        self.show_settings()
        self.show_progress()

    def _form(self) -> QFormLayout:
        edit = self.controller.edit
        self.model = told_when_done(QLineEdit(), partial(edit, "model"))
        self.model.setObjectName("predict_model")
        self.model.setToolTip("The folder of a run, or a weights file; empty: the run that is watched")
        model_row = QHBoxLayout()
        model_row.setSpacing(4)
        model_row.addWidget(self.model, 1)
        model_row.addWidget(push_button("choose_run", "Run…", "Choose the folder of a run", self._ask_run))
        model_row.addWidget(push_button("choose_weights_file", "File…", "Choose a weights file", self._ask_file))
        self.checkpoint = QComboBox()
        self.checkpoint.setObjectName("predict_checkpoint")
        self.checkpoint.setToolTip("Best: the highest AP of the run's own evaluations, the last one if there were none")
        self.checkpoint.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.checkpoint.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.checkpoint.activated.connect(self._choose_checkpoint)
        self.frames = told_when_done(QLineEdit(), partial(edit, "frames"))
        self.frames.setObjectName("predict_frames")
        self.frames.setPlaceholderText("all")
        self.frames.setToolTip("START:STOP:STEP, blanks allowed, such as 0::5; nothing for all frames")
        self.device = QComboBox()
        self.device.setObjectName("predict_device")
        self.device.setEditable(True)
        self.device.addItems(_DEVICES)
        self.device.setToolTip("Where the model runs: auto, cpu, cuda, cuda:N or mps")
        self.device.activated.connect(self._choose_device)
        self.device.lineEdit().editingFinished.connect(self._choose_device)
        label = QLabel("Device")
        label.setBuddy(self.device)
        small_row = QHBoxLayout()
        small_row.setSpacing(8)
        small_row.addWidget(self.frames, 1)
        small_row.addWidget(label)
        small_row.addWidget(self.device)
        form = QFormLayout()
        form.setHorizontalSpacing(10)
        form.setVerticalSpacing(5)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
        form.setLabelAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        form.addRow("Model", model_row)
        form.addRow("Checkpoint", self.checkpoint)
        form.addRow("Frames", small_row)
        return form

    def _buttons(self) -> QHBoxLayout:
        self.start = push_button("predict", "Predict", "Run the model on the video that is open", self.predict)
        self.stop = push_button(
            "cancel_predict", "Cancel", "End it; nothing half-written stays", self.controller.cancel
        )
        self.copy = push_button(
            "copy_predict", "Copy command", "Copy a command line that predicts the same", self._copy_command
        )
        row = QHBoxLayout()
        row.addWidget(self.start, 1)
        row.addWidget(self.stop)
        row.addWidget(self.copy)
        return row

    # What is shown.

    def show_settings(self) -> None:
        """Show what is set now, whoever set it."""
        controller, settings = self.controller, self.controller.settings
        if self.model.text() != settings.model:
            self.model.setText(settings.model)
        model = controller.model
        is_watched = model is not None and not settings.model
        self.model.setPlaceholderText(
            f"watched: {printable(model.name)}" if is_watched and model is not None else "a run or a weights file"
        )
        tip = "The folder of a run, or a weights file; empty: the run that is watched"
        self.model.setToolTip(plain(f"{tip}\n{printable(str(model))}") if model is not None else tip)
        if self.frames.text() != settings.frames:
            self.frames.setText(settings.frames)
        with blocked(self.device):
            self.device.setCurrentText(settings.device)
        self.show_checkpoints()

    def show_checkpoints(self) -> None:
        """Show which checkpoints there are."""
        controller = self.controller
        found = controller.checkpoints
        with blocked(self.checkpoint):
            self.checkpoint.clear()
            if found:
                self.checkpoint.addItem(f"best: {describe_checkpoint(best_checkpoint(found))}", "best")
                self.checkpoint.addItem(f"last: {describe_checkpoint(found[-1])}", "last")
                for one in reversed(found):
                    self.checkpoint.addItem(describe_checkpoint(one), str(one.step))
                chosen = self.checkpoint.findData(controller.settings.checkpoint)
                if chosen < 0:
                    self.checkpoint.addItem(f"step {controller.settings.checkpoint}: not there any more")
                    chosen = self.checkpoint.count() - 1
                self.checkpoint.setCurrentIndex(chosen)
            elif controller.model is not None and not controller.is_run:
                self.checkpoint.addItem("a weights file has none")
        self.checkpoint.setEnabled(bool(found))
        self.problem.setText(printable(controller.problem[:1].upper() + controller.problem[1:]))
        self.problem.setVisible(bool(controller.problem))
        self._show_start()

    def show_progress(self) -> None:
        """Show how far the prediction is."""
        progress = self.controller.progress
        self.stop.setEnabled(progress.can_be_cancelled)
        self.bar.setVisible(progress.is_going_on)
        share = progress.share
        # 0 of 0 moves to and fro: something happens, and nobody knows how long.
        self.bar.setRange(0, 0 if share is None else _BAR)
        if share is not None:
            self.bar.setValue(round(share * _BAR))
        self.text.setText(progress.describe())
        self.text.setVisible(bool(self.text.text()))
        self._show_start()

    def _show_start(self) -> None:
        controller = self.controller
        why = "" if self._bench.video is not None else "Open a video first"
        if controller.model is None:
            why = "Choose a run or a weights file first"
        self.start.setEnabled(not why and not controller.progress.is_going_on)
        self.start.setToolTip(why or "Run the model on the video that is open")
        self.copy.setEnabled(not why)

    # What the controls do.

    def predict(self) -> None:
        """Start the prediction that the controls describe."""
        # What is still being typed counts, too.
        if (focus := self.focusWidget()) is not None:
            focus.clearFocus()
        self.controller.predict()

    def cancel(self) -> None:
        """End the prediction."""
        self.controller.cancel()

    def _choose_checkpoint(self) -> None:
        if (which := self.checkpoint.currentData()) is not None:
            self.controller.edit("checkpoint", str(which))

    def _choose_device(self) -> None:
        self.controller.edit("device", self.device.currentText().strip() or "auto")

    def _ask_run(self) -> None:
        if chosen := QFileDialog.getExistingDirectory(self, "The folder of a run", self._start()):
            self.controller.edit("model", chosen)

    def _ask_file(self) -> None:
        chosen, _ = QFileDialog.getOpenFileName(self, "Weights", self._start(), _WEIGHTS)
        if chosen:
            self.controller.edit("model", chosen)

    def _start(self) -> str:
        model = self.controller.model
        return str(model) if model is not None else ""

    def _copy_command(self) -> None:
        try:
            command = self.controller.job().command(self._bench.preferences.interpreter)
        except FlowCutError as error:
            self._bench.remarked.emit(window_words(str(error)))
            return
        QGuiApplication.clipboard().setText(command)
        self._bench.remarked.emit(f"copied: {command}")
