"""The Sweep tab: two parameters, a map of a measure, and a click that shows the masks of a cell."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from qtpy.QtGui import QGuiApplication
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLineEdit,
    QMenu,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from flowcut_napari.core.errors import FlowCutError, printable
from flowcut_napari.core.frames import safe_name
from flowcut_napari.core.grid import Setting
from flowcut_napari.core.parameters import CutParameters
from flowcut_napari.widgets import rows
from flowcut_napari.widgets.notices import text_label
from flowcut_napari.widgets.run.controller import default_out
from flowcut_napari.widgets.sweep.controller import sweep_of
from flowcut_napari.widgets.sweep.heat import HeatMap
from flowcut_napari.widgets.sweep.settings import (
    ONLY_ANNOTATED,
    TITLES,
    VALUES,
    measures_for,
    truth_beside,
    window_words,
)
from flowcut_napari.widgets.tune.form import blocked
from flowcut_napari.widgets.workbench import Workbench

_NOTHING = "nothing"


class SweepTab(QWidget):
    """Measures the masks of the video under a grid of settings, as ``flowcut sweep`` does."""

    def __init__(self, bench: Workbench, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._bench = bench
        self.controller = sweep_of(bench)
        self.across, self.across_values = self._axis("across", "tau")
        self.down, self.down_values = self._axis("down", "alpha")
        self.frames = _line(
            "sweep frames",
            "all, or START:STOP:STEP such as 0::5",
            "Frames that are cut; flow partners come from the whole video",
        )
        self.truth = _line(
            "ground truth",
            "none: proxies only",
            "DAVIS root, folder of sequences of PNG, or YouTube-VIS json with the right masks",
        )
        self.only_annotated = QCheckBox(ONLY_ANNOTATED)
        self.only_annotated.setObjectName("sweep only annotated")
        self.only_annotated.setToolTip("Leave out the frames that have no annotation; otherwise that is an error")
        self.out = _line("sweep out", "", "Folder for tables, heat maps and what was measured")
        self.measure = QComboBox()
        self.measure.setObjectName("measure")
        self.measure.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.measure.setMinimumContentsLength(9)
        self.measure.setToolTip("What is shown and what the best setting is chosen by; all are measured")
        self.workers = QSpinBox()
        self.workers.setObjectName("sweep workers")
        self.workers.setRange(1, 256)
        self.workers.setSuffix(" processes")
        self.workers.setToolTip("Processes; the result does not depend on their number")
        self.start = rows.push_button(
            "sweep", "Sweep", "Cut the frames with every setting of the grid and measure the masks", self.run
        )
        self.cancel = rows.push_button(
            "cancel sweep",
            "Cancel",
            "End the sweep; what is measured is kept, and the next one goes on from there",
            self.controller.cancel,
        )
        self.bar = QProgressBar()
        self.bar.setObjectName("sweep progress")
        self.text = text_label("sweep text")
        self.map = HeatMap(self.controller)
        self.cell_text = text_label("cell text")
        self.use_best = rows.push_button(
            "use best", "Use the best", "Set the sliders to the setting with the highest value", self._choose_best
        )
        self.copy = rows.push_button(
            "copy cell",
            "Copy command",
            "Copy the command line that makes the masks of where the sliders are",
            self._copy_command,
        )
        self._lay_out()
        self._show_settings()
        self._connect(bench)
        self.show_video()

    def _lay_out(self) -> None:
        form = QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
        form.addRow("Across", _row((self.across, 0), (self.across_values, 1)))
        form.addRow("Down", _row((self.down, 0), (self.down_values, 1)))
        form.addRow("Frames", _row((self.frames, 1), (self.workers, 0)))
        form.addRow("Truth", _row((self.truth, 1), (self._truth_button(), 0)))
        browse = rows.push_button("browse sweep out", "…", "Choose the folder", self._ask_out)
        browse.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        form.addRow("Save to", _row((self.out, 1), (browse, 0)))
        form.addRow("Measure", _row((self.measure, 1), (self.only_annotated, 0)))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 8, 8, 8)
        layout.setSpacing(8)
        layout.addLayout(form)
        layout.addLayout(_row((self.start, 1), (self.cancel, 0)))
        layout.addWidget(self.bar)
        layout.addWidget(self.text)
        layout.addWidget(self.map)
        layout.addWidget(self.cell_text)
        layout.addLayout(_row((self.use_best, 1), (self.copy, 1)))
        layout.addStretch(1)

    def _connect(self, bench: Workbench) -> None:
        for name, box, line in (("across", self.across, self.across_values), ("down", self.down, self.down_values)):
            box.activated.connect(self._choose_across if name == "across" else self._choose_down)
            line.textEdited.connect(self._take)
        self.frames.textEdited.connect(self._take)
        self.truth.textEdited.connect(self._on_truth)
        self.out.textEdited.connect(self._on_out)
        self.out.editingFinished.connect(self._suggest_out)
        self.only_annotated.toggled.connect(self._take)
        self.workers.valueChanged.connect(self._take)
        self.measure.activated.connect(self._choose_measure)
        self.map.chosen.connect(self.controller.go_to)
        self.controller.changed.connect(self.show_progress)
        self.controller.cells_changed.connect(self.show_cells)
        bench.parameters_changed.connect(self.show_cells)
        bench.parameters_changed.connect(self.map.update)
        bench.video_changed.connect(self.show_video)

    def run(self) -> None:
        """Start the sweep that the controls describe."""
        try:
            job = self.controller.make_job()
        except FlowCutError as error:
            self._bench.remarked.emit(window_words(str(error)))
            return
        self.controller.start(job)

    def show_video(self) -> None:
        """Suggest ground truth and a folder for the video that is looked at."""
        video, settings = self._bench.video, self.controller.settings
        if video is not None and "ground_truth" not in settings.chosen:
            truth = truth_beside(video)
            self._show_truth("" if truth is None else str(truth))
        self._suggest_out()
        self.show_progress()
        self.show_cells()

    def _suggest_out(self) -> None:
        video = self._bench.video
        if video is not None and "out" not in self.controller.settings.chosen:
            # A folder for each video: tables and maps of another one are not overwritten.
            self.out.setText(str(default_out(video).with_name("flowcut-sweep") / safe_name(video.name)))
            self.out.setCursorPosition(0)
        self._take()

    def show_progress(self) -> None:
        """Show how far the sweep is."""
        progress = self.controller.progress
        self.start.setEnabled(self._bench.video is not None and not progress.is_going_on)
        self.cancel.setEnabled(progress.is_going_on)
        self.bar.setVisible(progress.is_going_on)
        # 0 of 0 moves to and fro: something happens, and nobody knows how long.
        self.bar.setRange(0, 0 if progress.state == "starting" else max(1, progress.total))
        self.bar.setValue(progress.done)
        lines = [progress.describe() or "Other settings are those of the Tune tab."]
        if other := self.controller.other_video:
            lines[0] = f"{printable(other)}: {lines[0]}"
        lines += [f"note: {note}" for note in progress.notes]
        self.text.setText("\n".join(lines))

    def show_cells(self) -> None:
        """Show the cells that are known, and what is known of where the sliders are."""
        controller = self.controller
        best, present = controller.best, controller.present
        self.map.setVisible(controller.grid is not None)
        self.use_best.setEnabled(best is not None and best != present)
        self.copy.setEnabled(present is not None)
        lines = [describe_cells(controller.settings.measure, self._known(best), self._known(present))]
        if controller.grid is not None and (frames := controller.first_frames) is not None:
            hatched = "all cells are" if len(controller.part) == len(controller.grid.settings) else "hatched cells are"
            lines.append(f"{hatched} of their first {frames} frames so far")
        self.cell_text.setText("\n".join(line for line in lines if line))
        self.cell_text.setVisible(bool(self.cell_text.text()))

    def _known(self, setting: Setting | None) -> tuple[Setting, float] | None:
        value = self.controller.value(setting) if setting is not None else None
        return (setting, value) if setting is not None and value is not None else None

    def _axis(self, name: str, chosen: str) -> tuple[QComboBox, QLineEdit]:
        box = QComboBox()
        box.setObjectName(f"sweep {name}")
        for field in VALUES:
            box.addItem(CutParameters.model_fields[field].title or field, field)
        if name == "down":
            box.addItem(_NOTHING, "")
        box.setCurrentIndex(box.findData(chosen))
        box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        box.setMinimumContentsLength(9)
        box.setToolTip(f"The parameter that goes {name}")
        tip = f"Its values: a list such as 1, 2, 4, or START:STOP:STEP with the last included ({name})"
        return box, _line(f"{name} values", "0.3:0.7:0.1 or 0.3, 0.5", tip)

    def _truth_button(self) -> QPushButton:
        button = QPushButton("…")
        button.setObjectName("browse truth")
        button.setToolTip("Choose the ground truth")
        button.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        menu = QMenu(button)
        menu.addAction("DAVIS root or folder of sequences…").triggered.connect(self._ask_truth_folder)
        menu.addAction("YouTube-VIS json…").triggered.connect(self._ask_truth_file)
        button.setMenu(menu)
        return button

    def _ask_truth_folder(self) -> None:
        self._choose_truth(QFileDialog.getExistingDirectory(self, "Ground truth", self.truth.text()))

    def _ask_truth_file(self) -> None:
        kinds = "YouTube-VIS (*.json)"
        self._choose_truth(QFileDialog.getOpenFileName(self, "Ground truth", self.truth.text(), kinds)[0])

    def _choose_truth(self, chosen: str) -> None:
        if chosen:
            self.controller.choose(ground_truth=chosen)
            self._show_truth(chosen)

    def _ask_out(self) -> None:
        if chosen := QFileDialog.getExistingDirectory(self, "Folder of the sweep", self.out.text()):
            self.controller.choose(out=chosen)
            self.out.setText(chosen)
            self.out.setCursorPosition(0)

    def _show_truth(self, text: str) -> None:
        self.truth.setText(text)
        self.truth.setCursorPosition(0)
        self._follow_truth(text)

    def _follow_truth(self, text: str) -> None:
        """Offer what can be measured; unless the user chose something else, J where there is ground truth."""
        self.only_annotated.setVisible(bool(text.strip()))
        self._show_measures(self.controller.settings.wanted or "J")
        # What the map shows is the measure that stands here.
        self._take()

    def _show_settings(self) -> None:
        settings = self.controller.settings
        for box, name in ((self.across, settings.across), (self.down, settings.down)):
            box.setCurrentIndex(max(0, box.findData(name)))
        self.across_values.setText(settings.across_values)
        self.down_values.setText(settings.down_values)
        self.down_values.setEnabled(bool(settings.down))
        self.frames.setText(settings.frames)
        self.only_annotated.setChecked(settings.only_annotated)
        self.out.setText(settings.out)
        self.workers.setValue(settings.workers)
        self._show_truth(settings.ground_truth)

    def _show_measures(self, wanted: str) -> None:
        names = measures_for(has_truth=bool(self.truth.text().strip()))
        with blocked(self.measure):
            self.measure.clear()
            for name in names:
                self.measure.addItem(TITLES[name], name)
            self.measure.setCurrentIndex(names.index(wanted if wanted in names else "eigengap"))

    def _take(self, *_: Any) -> None:
        before = self.controller.settings
        self.controller.settings = replace(
            before,
            across=self.across.currentData(),
            across_values=self.across_values.text(),
            down=self.down.currentData(),
            down_values=self.down_values.text(),
            frames=self.frames.text(),
            ground_truth=self.truth.text(),
            only_annotated=self.only_annotated.isChecked(),
            measure=self.measure.currentData() or "eigengap",
            out=self.out.text(),
            workers=self.workers.value(),
        )
        if self.controller.settings.measure != before.measure:
            self.controller.cells_changed.emit()

    def _choose_across(self, _: int) -> None:
        self.across_values.setText(VALUES[self.across.currentData()])
        self._take()

    def _choose_down(self, _: int) -> None:
        name = self.down.currentData()
        self.down_values.setText(VALUES.get(name, ""))
        self.down_values.setEnabled(bool(name))
        self._take()

    def _on_truth(self, text: str) -> None:
        self.controller.choose(ground_truth=text)
        self._follow_truth(text)

    def _on_out(self, text: str) -> None:
        self.controller.choose(out=text.strip() and text)

    def _choose_measure(self, _: int) -> None:
        self.controller.choose(measure=self.measure.currentData(), wanted=self.measure.currentData())

    def _choose_best(self) -> None:
        if (best := self.controller.best) is not None:
            self.controller.go_to(best)

    def _copy_command(self) -> None:
        if (present := self.controller.present) is not None:
            command = self.controller.command(present)
            QGuiApplication.clipboard().setText(command)
            self._bench.remarked.emit(f"copied: {command}")


def describe_cells(measure: str, best: tuple[Setting, float] | None, present: tuple[Setting, float] | None) -> str:
    r"""Return what is to be said of the best cell and of where the sliders are.

    Examples
    --------
    >>> at = (Setting((("alpha", 0.5),), CutParameters()), 0.6123)
    >>> describe_cells("J", at, None)
    'best J, region: 0.612 at alpha 0.5'
    """
    lines = []
    if best is not None:
        lines.append(f"best {TITLES[measure]}: {best[1]:.3f} at {best[0].text()}")
    if present is not None and (best is None or present[0] != best[0]):
        lines.append(f"here: {present[1]:.3f} at {present[0].text()}")
    return "\n".join(lines)


def _line(name: str, placeholder: str, tip: str) -> QLineEdit:
    line = QLineEdit()
    line.setObjectName(name)
    line.setPlaceholderText(placeholder)
    line.setToolTip(tip)
    return line


def _row(*widgets: tuple[QWidget, int]) -> QHBoxLayout:
    row = QHBoxLayout()
    for widget, stretch in widgets:
        row.addWidget(widget, stretch)
    return row
