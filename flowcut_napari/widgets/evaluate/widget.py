"""The Evaluate tab: numbers of predictions beside those of papers, and the videos that pull them down."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QGuiApplication
from qtpy.QtWidgets import (
    QCheckBox,
    QDoubleSpinBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLineEdit,
    QMenu,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from flowcut_napari.core.errors import InputError
from flowcut_napari.core.evaluation_tables import COLUMNS, numbers_csv, stat_rows, videos_csv
from flowcut_napari.core.published_results import footnotes
from flowcut_napari.widgets.evaluate.controller import evaluate_of
from flowcut_napari.widgets.evaluate.numbers import NumbersTable
from flowcut_napari.widgets.evaluate.videos import VideosTable, printable_lines
from flowcut_napari.widgets.export.form import ChoiceBox, Choices, told_when_done
from flowcut_napari.widgets.live import Trouble
from flowcut_napari.widgets.notices import Notice, text_label
from flowcut_napari.widgets.tune.form import blocked
from flowcut_napari.widgets.workbench import Workbench

_BAR = 1000
KINDS: Choices = {
    "ytvis": ("YouTube-VIS", "Average precision of tubes, class-agnostic as in the paper"),
    "davis": ("DAVIS", "J and F of the best one-to-one proposals (DAVIS-2017, unsupervised)"),
}
_HINTS = {
    "ytvis": ("annotations json, or a dataset's folder", "results.json, or the folder that predict wrote"),
    "davis": ("a DAVIS root, or a folder of sequences", "a folder of sequences of PNG"),
}


class EvaluateTab(QWidget):
    """Evaluates predictions as ``flowcut evaluate`` does, and opens videos where they are worst.

    Signals
    -------
    look_wanted (str, int, Path)
        A video was opened at this address and frame; these predictions may be shown over it.
    """

    look_wanted = Signal(str, int, object)

    def __init__(self, bench: Workbench, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._bench = bench
        self.controller = evaluate_of(bench)
        self._make_choices()
        self._make_buttons()
        self._make_results()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 8, 8, 8)
        layout.setSpacing(6)
        layout.addLayout(self._form)
        layout.addLayout(self._buttons)
        layout.addWidget(self.bar)
        layout.addWidget(self.text)
        layout.addWidget(self.intro)
        layout.addWidget(self.results)
        layout.addStretch(1)
        controller, opener = self.controller, self.controller.opener
        controller.changed.connect(self.show_progress)
        controller.settings_changed.connect(self.show_settings)
        controller.report_changed.connect(self.show_report)
        opener.changed.connect(self.show_opening)
        opener.shown.connect(self.look_wanted)
        self.show_settings()
        self.show_progress()
        self.show_report()
        self.show_opening()

    # What others may ask.

    def take_predictions(self, path: Path) -> None:
        """Evaluate these predictions next: a folder that ``flowcut predict`` wrote, or a json."""
        self.controller.take_predictions(path)

    def evaluate(self) -> None:
        """Start the evaluation that the controls describe."""
        # What is still being typed counts, too.
        if (focus := self.focusWidget()) is not None:
            focus.clearFocus()
        self.controller.start()

    # How it is made.

    def _make_choices(self) -> None:
        edit = self.controller.edit
        self.kind = ChoiceBox("benchmark", "Benchmark", "What is measured, and in which form.", KINDS)
        self.kind.chosen.connect(partial(edit, "kind"))
        self.ground_truth = told_when_done(QLineEdit(), partial(edit, "ground_truth"))
        self.ground_truth.setObjectName("ground_truth")
        self.predictions = told_when_done(QLineEdit(), partial(edit, "predictions"))
        self.predictions.setObjectName("predictions")
        self._truth_button = _button("browse_ground_truth", "…", "Choose the ground truth")
        self._truth_menu = QMenu(self._truth_button)
        self._truth_menu.addAction("YouTube-VIS json…", partial(self._browse_file, "ground_truth"))
        self._truth_menu.addAction("Folder of a dataset…", partial(self._browse_folder, "ground_truth"))
        self._predictions_button = _button("browse_predictions", "…", "Choose the predictions")
        self._predictions_menu = QMenu(self._predictions_button)
        self._predictions_menu.addAction("Folder of predictions…", partial(self._browse_folder, "predictions"))
        self._predictions_menu.addAction("Results json…", partial(self._browse_file, "predictions"))
        self._truth_button.clicked.connect(partial(self._ask, "ground_truth"))
        self._predictions_button.clicked.connect(partial(self._ask, "predictions"))
        self.with_threshold = QCheckBox("also those from")
        self.with_threshold.setObjectName("with_threshold")
        self.with_threshold.setToolTip("A second row of numbers, for detections of this score and more alone")
        self.with_threshold.toggled.connect(partial(edit, "with_threshold"))
        self.threshold = QDoubleSpinBox()
        self.threshold.setObjectName("threshold")
        self.threshold.setRange(0.0, 1.0)
        self.threshold.setSingleStep(0.05)
        self.threshold.setToolTip("Score from 0 to 1; the paper drops what is below 0.8. That can only lower AP")
        self.threshold.valueChanged.connect(self._edit_threshold)
        self.subset = told_when_done(QLineEdit(), partial(edit, "subset"))
        self.subset.setObjectName("subset")
        self.subset.setPlaceholderText("all sequences, or a list such as val")
        self.subset.setToolTip("Only the sequences that the DAVIS root lists in ImageSets/2017/NAME.txt (or 2019)")
        self.missing = QCheckBox("counts as nothing found")
        self.missing.setObjectName("missing_as_empty")
        self.missing.setToolTip(
            "A sequence without predictions counts as one in which nothing was found; else it is an error"
        )
        self.missing.toggled.connect(partial(edit, "missing_as_empty"))
        self._scores = _row(self.with_threshold, self.threshold, stretch=0)
        self._form = QFormLayout()
        self._form.setHorizontalSpacing(10)
        self._form.setVerticalSpacing(5)
        self._form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
        self._form.setLabelAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self._form.addRow("Benchmark", self.kind)
        self._form.addRow("Ground truth", _row(self.ground_truth, self._truth_button))
        self._form.addRow("Predictions", _row(self.predictions, self._predictions_button))
        self._form.addRow("Scores", self._scores)
        self._form.addRow("Subset", self.subset)
        self._form.addRow("Missing", self.missing)

    def _make_buttons(self) -> None:
        self.start = _button("evaluate", "Evaluate", "Measure the predictions", self.evaluate)
        self.stop = _button("cancel_evaluation", "Cancel", "End the evaluation", self.controller.cancel)
        tip = "Copy a command line that gives the same numbers"
        self.copy = _button("copy_evaluate", "Copy command", tip, self._copy_command)
        self._buttons = QHBoxLayout()
        self._buttons.addWidget(self.start, 1)
        self._buttons.addWidget(self.stop)
        self._buttons.addWidget(self.copy)
        self.bar = QProgressBar()
        self.bar.setObjectName("evaluation_progress")
        self.bar.setToolTip("Share of the videos that are measured")
        self.bar.setTextVisible(False)
        self.text = text_label("evaluation_text")
        self.intro = text_label("evaluation_intro", faint=True)
        self.intro.setText(
            "Measure predictions against ground truth: the numbers of the benchmark beside those of papers, and every "
            "video, the worst first; a click opens one at its worst frame, with the ground truth as outlines."
        )

    def _make_results(self) -> None:
        self.results = QWidget()
        self.source = text_label("evaluation_source", faint=True)
        self.numbers = NumbersTable()
        self.footnote = text_label("evaluation_footnote", faint=True)
        self.videos = VideosTable()
        self.videos.chosen.connect(self.controller.opener.show)
        self.shortened = text_label("evaluation_shortened", faint=True)
        self.notes = text_label("evaluation_notes", faint=True)
        self.opening = text_label("evaluation_opening", faint=True)
        self.notice = Notice()
        self.save = _button("save_evaluation", "Save table…", "Write the numbers, or the list of videos, as csv")
        menu = QMenu(self.save)
        menu.addAction("Numbers…", partial(self._save, "numbers"))
        menu.addAction("Videos…", partial(self._save, "videos"))
        self.save.setMenu(menu)
        last = QHBoxLayout()
        last.addWidget(self.opening, 1)
        last.addWidget(self.save)
        layout = QVBoxLayout(self.results)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        for widget in (self.source, self.numbers, self.footnote, self.videos, self.shortened, self.notice, self.notes):
            layout.addWidget(widget)
        layout.addLayout(last)

    # What is shown.

    def show_settings(self) -> None:
        """Show what is set now, whoever set it."""
        settings = self.controller.settings
        is_ytvis = settings.kind == "ytvis"
        self.kind.show_value(settings.kind)
        for line, text, hint in zip(
            (self.ground_truth, self.predictions),
            (settings.places.ground_truth, settings.places.predictions),
            _HINTS[settings.kind],
            strict=True,
        ):
            line.setPlaceholderText(hint)
            line.setToolTip(f"{line.objectName().replace('_', ' ').capitalize()}: {hint}")
            if line.text() != text:
                line.setText(text)
        with blocked(self.with_threshold), blocked(self.threshold), blocked(self.missing):
            self.with_threshold.setChecked(settings.with_threshold)
            self.threshold.setValue(settings.threshold)
            self.missing.setChecked(settings.missing_as_empty)
        self.threshold.setEnabled(settings.with_threshold)
        if self.subset.text() != settings.subset:
            self.subset.setText(settings.subset)
        for field, is_shown in ((self._scores, is_ytvis), (self.subset, not is_ytvis), (self.missing, not is_ytvis)):
            field.setVisible(is_shown)
            self._form.labelForField(field).setVisible(is_shown)

    def show_progress(self) -> None:
        """Show how far the evaluation is."""
        progress = self.controller.progress
        self.start.setEnabled(not progress.is_going_on)
        self.stop.setEnabled(progress.is_going_on)
        self.bar.setVisible(progress.is_going_on)
        # 0 of 0 moves to and fro: something happens, and nobody knows how long.
        self.bar.setRange(0, 0 if progress.state == "reading" or not progress.done else _BAR)
        self.bar.setValue(round(progress.share * _BAR))
        self.text.setText(progress.describe())
        self.text.setVisible(bool(self.text.text()))

    def show_report(self) -> None:
        """Show what the last evaluation found."""
        report = self.controller.report
        self.intro.setVisible(report is None)
        self.results.setVisible(report is not None)
        if report is None:
            return
        # They stay when places are changed, or another evaluation fails.
        self.source.setText(printable_lines(describe_source(report.predictions, report.ground_truth)))
        self.numbers.show_rows(list(COLUMNS[report.kind].values()), stat_rows(report))
        self.footnote.setText("\n".join(footnotes(report.kind)))
        self.videos.show_videos(report.kind, report.videos)
        is_short = len(report.videos) < report.all_videos
        self.shortened.setText(f"The worst {len(report.videos):,} of {report.all_videos:,}." if is_short else "")
        self.shortened.setVisible(is_short)
        self.notes.setText(printable_lines("\n".join(report.notes)))
        self.notes.setVisible(bool(report.notes))

    def show_opening(self) -> None:
        """Show which video is being opened, or why one cannot be."""
        opener = self.controller.opener
        self.opening.setText(printable_lines(f"opening {opener.opening} …") if opener.opening else "")
        actions = {"frames_at": ("Frames at…", self._ask_for_frames)} if opener.asks_for_frames else {}
        self.notice.show_trouble(Trouble(opener.problem) if opener.problem else None, actions)

    # What the controls do.

    def _edit_threshold(self, value: float) -> None:
        self.controller.edit("threshold", round(value, 2))

    def _ask(self, name: str, *_: object) -> None:
        """Let a user choose a place: of a folder at once, where it may be a file or a folder by a menu."""
        if self.controller.settings.kind == "davis":
            self._browse_folder(name)
            return
        button, menu = (
            (self._truth_button, self._truth_menu)
            if name == "ground_truth"
            else (self._predictions_button, self._predictions_menu)
        )
        menu.popup(button.mapToGlobal(button.rect().bottomLeft()))

    def _browse_file(self, name: str) -> None:
        start = getattr(self.controller.settings.places, name)
        title = "Ground truth" if name == "ground_truth" else "Predictions"
        if chosen := QFileDialog.getOpenFileName(self, title, start, "JSON (*.json);;All files (*)")[0]:
            self.controller.edit(name, chosen)

    def _browse_folder(self, name: str) -> None:
        start = getattr(self.controller.settings.places, name)
        title = "Ground truth" if name == "ground_truth" else "Predictions"
        if chosen := QFileDialog.getExistingDirectory(self, title, start):
            self.controller.edit(name, chosen)

    def _ask_for_frames(self) -> None:
        report = self.controller.report
        start = str(report.ground_truth.parent) if report is not None else ""
        if chosen := QFileDialog.getExistingDirectory(self, "The folder that names of frames start from", start):
            self.controller.opener.frames_at(Path(chosen))

    def _copy_command(self) -> None:
        try:
            command = self.controller.settings.command()
        except InputError as error:
            self._bench.remarked.emit(str(error))
            return
        QGuiApplication.clipboard().setText(command)
        self._bench.remarked.emit(f"copied: {command}")

    def _save(self, what: str) -> None:
        report = self.controller.report
        if report is None:
            return
        start = str(report.predictions.parent / f"{report.kind}_{what}.csv")
        chosen, _ = QFileDialog.getSaveFileName(self, "Save table", start, "csv (*.csv)")
        if not chosen:
            return
        text = numbers_csv(report) if what == "numbers" else videos_csv(report)
        self.controller.save(Path(chosen), text)


def describe_source(predictions: Path, ground_truth: Path) -> str:
    """Say of what numbers are, by the names that tell places apart.

    Examples
    --------
    >>> describe_source(Path("runs/dogs-1/predictions/toys-step-40/results.json"), Path("sample_data/instances.json"))
    'toys-step-40 against sample_data/instances.json'
    >>> describe_source(Path("/out/Annotations"), Path("/data/DAVIS"))
    'out/Annotations against data/DAVIS'
    """
    found = predictions.parent.name if predictions.name == "results.json" else "/".join(predictions.parts[-2:])
    return f"{found.lstrip('/')} against {'/'.join(ground_truth.parts[-2:]).lstrip('/')}"


def _button(name: str, text: str, tip: str, act: Any = None) -> QPushButton:
    button = QPushButton(text)
    button.setObjectName(name)
    button.setToolTip(tip)
    if act is not None:
        # Not `clicked` itself: it brings along whether the button is checked.
        button.clicked.connect(lambda: act())
    return button


def _row(first: QWidget, second: QWidget, stretch: int = 1) -> QWidget:
    holder = QWidget()
    row = QHBoxLayout(holder)
    row.setContentsMargins(0, 0, 0, 0)
    row.addWidget(first, stretch)
    row.addWidget(second)
    if not stretch:
        row.addStretch(1)
    return holder
