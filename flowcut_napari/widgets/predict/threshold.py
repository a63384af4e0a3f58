"""The score threshold: a slider, and the values of the paper to click on."""

from __future__ import annotations

from functools import partial
from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QSizePolicy, QVBoxLayout, QWidget
from superqt import QLabeledDoubleSlider

from flowcut_napari.widgets.tune.form import blocked

# Of the paper (METHOD 8.5), and what they are for.
MARKS = (
    (0.3, "0.3 paper DAVIS", "The threshold of the paper for both DAVIS benchmarks"),
    (0.8, "0.8 paper YTVIS", "The threshold of the paper for both YouTube-VIS benchmarks"),
)


class ThresholdBar(QWidget):
    """Chooses from which score on instances are seen.

    Signals
    -------
    chosen (float)
        A user chose a threshold, 0 to 1.
    """

    chosen = Signal(float)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        # Its steps are typed as whole numbers, which those of a double slider are not.
        slider: Any = QLabeledDoubleSlider(Qt.Orientation.Horizontal)
        self.slider = slider
        self.slider.setObjectName("score_threshold")
        self.slider.setAccessibleName("Score threshold")
        self.slider.setToolTip("Instances of at least this score are seen, 0 to 1; files keep all of them")
        self.slider.setRange(0.0, 1.0)
        self.slider.setSingleStep(0.01)
        self.slider.setPageStep(0.1)
        self.slider.setDecimals(2)
        self.slider.valueChanged.connect(self._tell)
        self.marks: dict[float, QPushButton] = {}
        row = QHBoxLayout()
        row.setSpacing(4)
        for value, text, tip in MARKS:
            button = QPushButton(text)
            button.setObjectName(f"threshold {value:g}")
            button.setToolTip(tip)
            button.setCheckable(True)
            button.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
            button.setStyleSheet("QPushButton { padding: 3px 4px; }")
            button.clicked.connect(partial(self._choose, value))
            row.addWidget(button)
            self.marks[value] = button
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(3)
        layout.addWidget(self.slider)
        layout.addLayout(row)

    def show_value(self, value: float) -> None:
        """Show a threshold, without telling anybody."""
        with blocked(self.slider):
            self.slider.setValue(value)
        for mark, button in self.marks.items():
            button.setChecked(abs(mark - value) < 1e-9)

    def _choose(self, value: float, _is_checked: bool = False) -> None:
        self.chosen.emit(value)
        # Also where it was chosen already: a click must not take its mark away.
        self.marks[value].setChecked(True)

    def _tell(self, value: float) -> None:
        # Sliders give 0.30000000000000004, which is above 0.3.
        self.chosen.emit(round(float(value), 2))
