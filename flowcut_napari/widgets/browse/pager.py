"""The controls that page through clips, and those that move over the frames of a long one."""

from __future__ import annotations

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QSlider, QSpinBox, QVBoxLayout, QWidget

from flowcut_napari.widgets.browse.desk import Window

MOST_FRAMES = 12


class ClipPager(QWidget):
    """``clip 17 of 1,357`` with buttons on both sides.

    Signals
    -------
    asked (int)
        For the clip at a place, from 0.
    moved (int)
        For the clip so many places on.
    shuffled
        For any clip.
    """

    asked = Signal(int)
    moved = Signal(int)
    shuffled = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.previous = _button("previous_clip", "◀", "The clip before this one")
        self.next = _button("next_clip", "▶", "The next clip")
        self.random = _button("random_clip", "Random", "Any other clip")
        self.spin = QSpinBox()
        self.spin.setObjectName("clip_number")
        self.spin.setToolTip("Number of the clip, from 1, among those that the filter leaves")
        self.spin.setGroupSeparatorShown(True)
        self.spin.setKeyboardTracking(False)
        self.of_all = QLabel()
        self.of_all.setObjectName("clip_count")
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for widget, stretch in (
            *((self.previous, 0), (self.spin, 1), (self.of_all, 0)),
            *((self.next, 0), (self.random, 0)),
        ):
            layout.addWidget(widget, stretch)
        self.previous.clicked.connect(lambda: self.moved.emit(-1))
        self.next.clicked.connect(lambda: self.moved.emit(1))
        self.random.clicked.connect(lambda: self.shuffled.emit())
        self.spin.valueChanged.connect(lambda value: self.asked.emit(value - 1))

    def show_place(self, place: int, count: int, word: str = "clip") -> None:
        """Show which clip of how many it is, and what clips are called."""
        self.spin.blockSignals(True)
        self.spin.setPrefix(f"{word} ")
        self.spin.setRange(min(1, count), count)
        self.spin.setValue(place + 1 if count else 0)
        self.spin.blockSignals(False)
        self.spin.setEnabled(count > 0)
        self.of_all.setText(f"of {count:,}")
        self.previous.setEnabled(place > 0)
        self.next.setEnabled(place + 1 < count)
        self.random.setEnabled(count > 1)


class FrameWindow(QWidget):
    """Which frames of a long clip are seen.

    Signals
    -------
    changed (Window)
    """

    changed = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.count = QSpinBox()
        self.count.setObjectName("frames_at_once")
        self.count.setRange(1, MOST_FRAMES)
        self.count.setToolTip("Frames that are seen at once")
        self.step = QSpinBox()
        self.step.setObjectName("frame_step")
        self.step.setSpecialValueText("all over")
        self.step.setPrefix("every ")
        self.step.setToolTip("Distance in frames between those that are seen; lowest: spread all over the clip")
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setObjectName("first_frame")
        self.slider.setToolTip("First frame that is seen, counted from 0")
        row = QHBoxLayout()
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(QLabel("Frames"))
        row.addWidget(self.count)
        row.addWidget(self.step, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addLayout(row)
        layout.addWidget(self.slider)
        for control in (self.count, self.step, self.slider):
            control.valueChanged.connect(self._tell)

    def show_window(self, window: Window, length: int) -> None:
        """Show the window on a clip of `length` frames; hidden where all of it is seen anyway."""
        places = window.places(length)
        controls = (self.count, self.step, self.slider)
        for control in controls:
            control.blockSignals(True)
        self.count.setValue(window.count)
        self.step.setRange(0, max(1, length - 1))
        self.step.setValue(window.step)
        self.slider.setRange(0, max(0, length - 1 - (places[-1] - places[0])) if places else 0)
        self.slider.setValue(places[0] if places else 0)
        self.slider.setEnabled(window.step > 0 and self.slider.maximum() > 0)
        for control in controls:
            control.blockSignals(False)
        self.setVisible(length > min(window.count, Window().count))

    def _tell(self) -> None:
        self.changed.emit(Window(self.count.value(), self.step.value(), self.slider.value()))


def _button(name: str, word: str, tip: str) -> QPushButton:
    button = QPushButton(word)
    button.setObjectName(name)
    button.setToolTip(tip)
    return button
