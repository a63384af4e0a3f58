"""The Decide tab: the matches of a pair, and everything that can be decided about them."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFrame,
    QHBoxLayout,
    QInputDialog,
    QLabel,
    QPushButton,
    QVBoxLayout,
    QWidget,
)
from superqt import QLabeledDoubleSlider

from flowcut_napari.core.editing import clips_above
from flowcut_napari.core.parameters import CurationParameters
from flowcut_napari.widgets.curate.buttons import ActionButton, Refresher
from flowcut_napari.widgets.curate.desk import curation_of
from flowcut_napari.widgets.curate.matrix import IouMatrix
from flowcut_napari.widgets.curate.on_objects import name_object
from flowcut_napari.widgets.curate.on_pairs import accept_above
from flowcut_napari.widgets.curate.shortcuts import ArrowSpinBox
from flowcut_napari.widgets.curate.words import chosen_text, clip_text
from flowcut_napari.widgets.notices import text_label
from flowcut_napari.widgets.workbench import Workbench

# Above it objects would have no colour.
_HIGHEST_NUMBER = 9999


class DecideTab(QWidget):
    """Shows a pair and what becomes of it, and has a button for every action of the registry."""

    def __init__(self, bench: Workbench, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._bench = bench
        desk = self.desk = curation_of(bench)
        self.buttons: list[ActionButton] = []
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 8, 8, 8)
        layout.setSpacing(6)
        layout.addLayout(self._matching())
        self.matrix = IouMatrix(desk)
        self.matrix.setToolTip("")
        self.matrix.chosen.connect(self._choose_cell)
        layout.addWidget(self.matrix)
        self._add_row(
            layout,
            ("next_uncertain", "", "None uncertain"),
            ("next_open", "", "None undecided"),
            ("next_broken", "", "None lost"),
        )
        layout.addWidget(_line())
        self.clip = text_label("clip")
        layout.addWidget(self.clip)
        verdicts = ("accept_clip", "Accept clip"), ("reject_clip", "Reject clip"), ("clear_clip", "Clear verdict")
        self._add_row(layout, *verdicts)
        layout.addWidget(_line())
        self.chosen = text_label("chosen")
        self.chosen.setAlignment(Qt.AlignmentFlag.AlignTop)
        # What is chosen takes two lines or three: the buttons below stay where they are.
        self.chosen.setMinimumHeight(3 * self.fontMetrics().lineSpacing() + 2)
        layout.addWidget(self.chosen)
        objects = (
            ("accept_object", "Accept object"),
            ("reject_object", "Reject object"),
            ("clear_object", "Clear verdict"),
        )
        self._add_row(layout, *objects)
        self._add_row(layout, ("swap", "", "Swap two objects of a frame from there on"))
        self._add_row(layout, ("split", "", "Split an object from a frame on"))
        self._add_row(layout, ("join", "", "Join one mask of each frame"))
        self._add_row(layout, ("delete_mask", "", "Reject mask"), ("rename", "Other number…"))
        self._add_row(layout, ("refine_mask", "Refine (CRF)"), ("grow_mask", "Grow"), ("shrink_mask", "Shrink"))
        self._add_row(layout, ("new_object", ""), ("copy_mask", "", "Copy from before"))
        layout.addWidget(_line())
        layout.addLayout(self._above())
        layout.addStretch(1)
        # Any number of changes in one turn of the event loop are shown once.
        self._refresher = Refresher(self)
        self._refresher.timeout.connect(self.refresh)
        for signal in (desk.changed, desk.pair_changed, desk.selection_changed):
            signal.connect(self._refresher.soon)
        desk.parameters_changed.connect(self.show_parameters)
        desk.name_wanted.connect(self.ask_number)
        self.goes_on.toggled.connect(self._set_going_on)
        self.show_parameters()
        self.refresh()

    # The controls.

    def _matching(self) -> QHBoxLayout:
        fields = CurationParameters.model_fields
        self.gap = QComboBox()
        self.gap.setObjectName("gap in sight")
        self.gap.setToolTip("How many frames with masks the partner is ahead (G, Shift+G)")
        self.gap.currentIndexChanged.connect(self._choose_gap)
        self.iou = QLabeledDoubleSlider(Qt.Orientation.Horizontal)
        self.iou.setObjectName("iou")
        self.iou.setToolTip(f"Min. IoU: {fields['iou'].description}")
        self.iou.setRange(0, 0.99)
        self.iou.setDecimals(2)
        self.iou.valueChanged.connect(self._choose_iou)
        self.method = QComboBox()
        self.method.setObjectName("method")
        self.method.setToolTip(f"Matching: {fields['method'].description}")
        self.method.addItems(["argmax", "hungarian"])
        self.method.currentTextChanged.connect(self._choose_method)
        row = QHBoxLayout()
        row.addWidget(self.gap)
        row.addWidget(QLabel("IoU >"))
        row.addWidget(self.iou, 1)
        row.addWidget(self.method)
        return row

    def _above(self) -> QVBoxLayout:
        self.accept_all = QPushButton()
        self.accept_all.setObjectName("accept_above")
        self.accept_all.setToolTip("Accept every clip of every gap without a verdict whose objects all reach this IoU")
        self.accept_all.clicked.connect(self.accept_above)
        self.score = ArrowSpinBox()
        self.score.setObjectName("score")
        self.score.setToolTip("IoU that each object of a clip has to reach, 0 to 1")
        self.score.setRange(0, 1)
        self.score.setSingleStep(0.05)
        self.score.setValue(0.8)
        self.score.valueChanged.connect(self._show_above)
        self.goes_on = QCheckBox("Go on after a verdict")
        self.goes_on.setObjectName("go_on")
        self.goes_on.setToolTip("After a verdict on a clip, look at the next undecided one")
        row = QHBoxLayout()
        row.addWidget(self.accept_all, 1)
        row.addWidget(self.score)
        both = QVBoxLayout()
        both.addLayout(row)
        both.addWidget(self.goes_on)
        return both

    def _add_row(self, layout: QVBoxLayout, *words: tuple[str, ...]) -> None:
        row = QHBoxLayout()
        row.setSpacing(4)
        for name, *others in words:
            button = ActionButton(name, self.desk, *others)
            self.buttons.append(button)
            row.addWidget(button, 1)
        layout.addLayout(row)

    # What they do.

    def _choose_gap(self) -> None:
        gap = self.gap.currentData()
        if gap is not None:
            self.desk.set_gap(int(gap))

    def _choose_iou(self, value: float) -> None:
        self._change(iou=round(value, 2))

    def _choose_method(self, value: str) -> None:
        self._change(method=value)

    def _change(self, **values: object) -> None:
        parameters = self.desk.parameters
        self.desk.set_parameters(CurationParameters.model_validate({**parameters.model_dump(), **values}))

    def _choose_cell(self, first: tuple[int, int], second: tuple[int, int]) -> None:
        self.desk.select(first)
        self.desk.select(second, add=True)

    def accept_above(self) -> None:
        """Accept all clips above the score."""
        accept_above(self.desk, self.score.value())

    def _set_going_on(self, on: bool) -> None:
        self.desk.goes_on = bool(on)

    def ask_number(self) -> None:
        """Ask for the number that the chosen object is to have."""
        identity = self.desk.identity(self.desk.chosen)
        # From the Keys tab, too; but not from a panel that was closed.
        if identity is None or not self.window().isVisible():
            return
        text = f"New number for object {identity}. If another object has it, both become one."
        number, is_given = QInputDialog.getInt(self, "Other number", text, identity, 1, _HIGHEST_NUMBER)
        if is_given:
            name_object(self.desk, number)

    # What is seen.

    def show_parameters(self) -> None:
        """Show the parameters of matching."""
        parameters = self.desk.parameters
        for control in (self.gap, self.iou, self.method):
            control.blockSignals(True)
        self.gap.clear()
        for gap in parameters.gaps:
            self.gap.addItem(f"gap {gap}", gap)
        self.iou.setValue(parameters.iou)
        self.method.setCurrentText(parameters.method)
        for control in (self.gap, self.iou, self.method):
            control.blockSignals(False)
        self._show_gap()

    def _show_gap(self) -> None:
        self.gap.blockSignals(True)
        self.gap.setCurrentIndex(self.gap.findData(self.desk.view.gap))
        self.gap.blockSignals(False)

    def refresh(self) -> None:
        """Show the pair and the chosen masks as they are."""
        self._show_gap()
        for button in self.buttons:
            button.refresh()
        self.clip.setText(clip_text(self.desk))
        self.chosen.setText(chosen_text(self.desk))
        self._show_above()

    def _show_above(self) -> None:
        review, score = self.desk.review, self.score.value()
        masks, count = self.desk.masks, 0
        if review is not None and masks is not None:
            count = len(clips_above(masks, (pair.outcome for pair in review.pairs.values()), score))
        self.accept_all.setEnabled(count > 0)
        self.accept_all.setText(f"Accept {count} undecided with IoU ≥")


def _line() -> QFrame:
    line = QFrame()
    line.setFrameShape(QFrame.Shape.HLine)
    line.setStyleSheet("color: rgba(128, 128, 128, 90);")
    return line
