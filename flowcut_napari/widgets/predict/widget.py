"""The Predict tab: a trained model over the open video, what it sees, and how that agrees with what it should see."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from qtpy.QtCore import QTimer, QUrl
from qtpy.QtGui import QColor, QDesktopServices, QPixmap
from qtpy.QtWidgets import (
    QButtonGroup,
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QMenu,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from flowcut_napari.core.errors import printable
from flowcut_napari.viewer.layer_styles import FALSE_COLOUR, HIT_COLOUR, MISS_COLOUR
from flowcut_napari.viewer.prediction_arrays import Mode
from flowcut_napari.widgets.endings import Quietly
from flowcut_napari.widgets.notices import plain, text_label
from flowcut_napari.widgets.predict.controller import predict_of
from flowcut_napari.widgets.predict.desk import looking_of
from flowcut_napari.widgets.predict.model_rows import ModelRows
from flowcut_napari.widgets.predict.parts import line, push_button
from flowcut_napari.widgets.predict.progress import describe_overlap, describe_prediction
from flowcut_napari.widgets.predict.strip import OverlapStrip
from flowcut_napari.widgets.predict.threshold import ThresholdBar
from flowcut_napari.widgets.predict.tracks import TrackTable
from flowcut_napari.widgets.sight import is_page_turned
from flowcut_napari.widgets.tune.form import blocked
from flowcut_napari.widgets.workbench import Workbench

MODES: dict[Mode, tuple[str, str]] = {
    "blend": ("Blend", "Predictions over the frame"),
    "beside": (
        "Side by side",
        "Predictions, and beside them what they are compared with, each over a frame of its own",
    ),
    "differences": ("Differences", "Where the foreground agrees with what it is compared with, and where not"),
}
_LEGEND = (
    (HIT_COLOUR, "hit", "in both"),
    (MISS_COLOUR, "miss", "in the reference alone"),
    (FALSE_COLOUR, "false", "predicted, and not in the reference"),
)
_SWATCH = 11


class PredictTab(QWidget):
    """Predicts on the open video, and shows the predictions in the canvas for as long as this tab is looked at."""

    def __init__(self, bench: Workbench, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._bench = bench
        self.controller = predict_of(bench)
        desk = self.desk = looking_of(bench)
        self.model_rows = ModelRows(bench)
        self.summary = text_label("prediction_summary")
        self.looking = QWidget()
        # Another page may show layers of its own, and takes them away only when this one is seen already.
        self._arrival = QTimer(self)
        self._arrival.setSingleShot(True)
        self._arrival.setInterval(0)
        self._arrival.timeout.connect(self.enter)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 8, 8, 8)
        layout.setSpacing(6)
        layout.addWidget(self.model_rows)
        layout.addWidget(line())
        layout.addLayout(self._folder_row())
        layout.addWidget(self.summary)
        layout.addWidget(self.looking)
        layout.addStretch(1)
        self._fill_looking()
        desk.changed.connect(self.show_view)
        self.controller.changed.connect(self._show_folder_row)
        # Qt hides a widget that goes, and tells nobody.
        self.destroyed.connect(Quietly(desk.leave))
        self.show_view()

    # Whether it is looked at.

    def enter(self) -> None:
        """Bring the predictions into the canvas, and look for new checkpoints."""
        self.controller.watch(True)
        self.desk.enter()

    def leave(self, *, at_once: bool = True) -> None:
        """Leave the canvas as it was before."""
        self._arrival.stop()
        self.controller.watch(False)
        self.desk.leave(at_once=at_once)

    def showEvent(self, event: Any) -> None:  # Qt's name
        """Come into sight."""
        super().showEvent(event)
        if not event.spontaneous():  # else the window came back from where it was put away
            self._arrival.start()

    def hideEvent(self, event: Any) -> None:  # Qt's name
        """Go out of sight."""
        super().hideEvent(event)
        if not event.spontaneous():
            self.leave(at_once=is_page_turned(self))

    # How it is made.

    def _folder_row(self) -> QHBoxLayout:
        self.open = push_button(
            "open_predictions",
            "Open predictions…",
            "Look at a folder that `flowcut predict` made earlier, with this video in it",
            self.ask_predictions,
        )
        self.folder = push_button(
            "open_prediction_folder", "Open folder", "Show the results in the system's file browser", self._show_folder
        )
        row = QHBoxLayout()
        row.addWidget(self.open, 1)
        row.addWidget(self.folder)
        return row

    def _fill_looking(self) -> None:
        self.threshold = ThresholdBar()
        self.threshold.chosen.connect(self.desk.set_threshold)
        self.tracks = TrackTable()
        self.tracks.chosen.connect(self.desk.highlight)
        self.strip = OverlapStrip()
        self.strip.chosen.connect(self.desk.go)
        self.overlap = text_label("iou_text")
        self.problem = text_label("reference_problem", faint=True)
        self.worst = push_button(
            "next_worst",
            "Next worst frame",
            "Go to the frame with the lowest IoU, from there on to the next one",
            self.desk.go_to_worst,
        )
        self.counted = text_label("threshold_text")
        layout = QVBoxLayout(self.looking)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        for part in (
            self._title_row(),
            self.threshold,
            self.tracks,
            self._mode_row(),
            self._legend(),
            self._reference_row(),
            self.strip,
            self._overlap_row(),
            self.problem,
        ):
            if isinstance(part, QWidget):
                layout.addWidget(part)
            else:
                layout.addLayout(part)

    def _overlap_row(self) -> QHBoxLayout:
        row = QHBoxLayout()
        row.addWidget(self.overlap, 1)
        row.addWidget(self.worst)
        return row

    def _title_row(self) -> QHBoxLayout:
        row = QHBoxLayout()
        row.addWidget(QLabel("Score at least"))
        row.addStretch(1)
        row.addWidget(self.counted)
        return row

    def _mode_row(self) -> QHBoxLayout:
        row = QHBoxLayout()
        row.setSpacing(2)
        self._modes = QButtonGroup(self)
        self._modes.setExclusive(True)
        self.mode_buttons: dict[Mode, QPushButton] = {}
        for mode, (word, tip) in MODES.items():
            button = QPushButton(word)
            button.setObjectName(f"mode {mode}")
            button.setToolTip(tip)
            button.setCheckable(True)
            button.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
            button.setStyleSheet("QPushButton { padding: 4px 4px; }")
            button.clicked.connect(partial(self._choose_mode, mode))
            self._modes.addButton(button)
            self.mode_buttons[mode] = button
            row.addWidget(button)
        return row

    def _legend(self) -> QWidget:
        self.legend = QWidget()
        self.legend.setObjectName("legend")
        row = QHBoxLayout(self.legend)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(5)
        for colour, word, tip in _LEGEND:
            swatch = QLabel()
            picture = QPixmap(_SWATCH, _SWATCH)
            picture.fill(QColor(*colour))
            swatch.setPixmap(picture)
            text = QLabel(word)
            text.setToolTip(tip)
            row.addWidget(swatch)
            row.addWidget(text)
            row.addSpacing(8)
        row.addStretch(1)
        return self.legend

    def _reference_row(self) -> QHBoxLayout:
        self.reference = QComboBox()
        self.reference.setObjectName("reference")
        self.reference.setToolTip("What predictions are compared with")
        self.reference.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.reference.activated.connect(self._choose_reference)
        self.choose_truth = QPushButton("Choose…")
        self.choose_truth.setObjectName("choose_truth")
        self.choose_truth.setToolTip("Read ground truth of this video from somewhere else")
        menu = QMenu(self.choose_truth)
        menu.addAction("Folder of indexed PNG…").triggered.connect(self._ask_truth_folder)
        menu.addAction("YouTube-VIS json…").triggered.connect(self._ask_truth_file)
        self.choose_truth.setMenu(menu)
        row = QHBoxLayout()
        row.addWidget(QLabel("Compare with"))
        row.addWidget(self.reference, 1)
        row.addWidget(self.choose_truth)
        return row

    # What is shown.

    def show_view(self) -> None:
        """Show what is looked at."""
        desk, view = self.desk, self.desk.view
        prediction = view.prediction
        self.looking.setVisible(prediction is not None)
        self.summary.setText(
            describe_prediction(prediction)
            if prediction is not None
            else "No predictions of this video yet: predict, or open those that were made before."
        )
        seen = "As one clip: all frames were seen at once; in windows: too many for that, or --window was given"
        self.summary.setToolTip(plain(f"{seen}\n{printable(str(prediction.path))}") if prediction is not None else "")
        self._show_folder_row()
        if prediction is None:
            return
        self.threshold.show_value(view.threshold)
        self.threshold.setEnabled(prediction.has_scores or not prediction.tracks)
        self.counted.setText(f"{view.count} of {len(prediction.tracks)} shown")
        self.tracks.show_tracks(prediction, view.count)
        self.tracks.show_chosen(desk.highlighted)
        self.mode_buttons[view.mode].setChecked(True)
        self.legend.setVisible(view.mode == "differences")
        self._show_reference()

    def _show_reference(self) -> None:
        desk, view = self.desk, self.desk.view
        kinds = desk.kinds
        with blocked(self.reference):
            self.reference.clear()
            for kind in kinds:
                self.reference.addItem(kind, kind)
            if not kinds:
                self.reference.addItem("reading …" if desk.references.is_reading else "nothing is at hand")
            self.reference.setCurrentIndex(max(0, self.reference.findData(view.compared)))
        self.reference.setEnabled(len(kinds) > 1)
        reference = view.reference
        self.reference.setToolTip(
            plain(f"What predictions are compared with\n{printable(reference.place)}")
            if reference is not None
            else "What predictions are compared with"
        )
        for mode in ("beside", "differences"):
            self.mode_buttons[mode].setEnabled(bool(kinds) or view.mode == mode)
        ious = desk.ious
        has_any = reference is not None
        for part in (self.strip, self.overlap, self.worst):
            part.setVisible(has_any)
        self.worst.setEnabled(bool(ious))
        video = self._bench.video
        self.strip.show_ious(ious, len(video) if video is not None else 1, self._bench.frame)
        mean = float(np.mean(list(ious.values()))) if ious else None
        self.overlap.setText(describe_overlap(ious.get(self._bench.frame), mean))
        self.overlap.setToolTip(
            f"IoU of all that is predicted, as one mask, with all of the {view.compared}; 1 where neither has a pixel. "
            f"{len(ious)} frame{'s have' if len(ious) != 1 else ' has'} both"
        )
        self.problem.setText(printable(desk.references.problem))
        self.problem.setVisible(bool(desk.references.problem))

    def _show_folder_row(self) -> None:
        self.folder.setEnabled(self.desk.prediction is not None)
        self.open.setEnabled(self._bench.video is not None and not self.controller.progress.is_going_on)

    # What the controls do.

    def ask_predictions(self) -> None:
        """Let the user choose predictions that were made earlier."""
        model = self.controller.model
        start = model / "predictions" if model is not None and (model / "predictions").is_dir() else model
        if chosen := QFileDialog.getExistingDirectory(self, "Predictions", str(start or "")):
            self.controller.open(chosen)

    def _show_folder(self) -> None:
        if self.desk.prediction is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(self.desk.prediction.path)))

    def _choose_mode(self, mode: Mode, _is_checked: bool = False) -> None:
        self.desk.set_mode(mode)

    def _choose_reference(self) -> None:
        if (kind := self.reference.currentData()) is not None:
            self.desk.compare_with(kind)

    def _ask_truth_folder(self) -> None:
        if chosen := QFileDialog.getExistingDirectory(self, "Ground truth: a folder of indexed PNG", self._start()):
            self.desk.open_truth(Path(chosen))

    def _ask_truth_file(self) -> None:
        chosen, _ = QFileDialog.getOpenFileName(
            self, "Ground truth: a YouTube-VIS json", self._start(), "YouTube-VIS (*.json)"
        )
        if chosen:
            self.desk.open_truth(Path(chosen))

    def _start(self) -> str:
        video = self._bench.video
        return str(video.path.parent) if video is not None else ""
