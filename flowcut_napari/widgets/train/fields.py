"""Controls of the Train tab: one parameter as a line, a place on the disk with a button."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QLineEdit, QPushButton, QWidget

from flowcut_napari.widgets.notices import plain
from flowcut_napari.widgets.train.parameters import Parameter


class ParameterLine(QLineEdit):
    """The value of one parameter.

    Signals
    -------
    edited (str, str)
        A user gave it a value; an empty one takes it back.
    """

    edited = Signal(str, str)

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name, self._shown = name, ""
        self.setObjectName(name)
        self.setAccessibleName(name)
        self.editingFinished.connect(self._tell)

    def show_parameter(self, parameter: Parameter | None, text: str, *, is_changed: bool, is_open: bool) -> None:
        """Show its value, and what it means."""
        self._shown = text
        if not is_typed_in(self):
            self.setText(text)
            self.setCursorPosition(0)
        self.setEnabled(parameter is not None and is_open)
        self.setToolTip("" if parameter is None else plain(parameter.tip()))
        font = self.font()
        font.setBold(is_changed)
        self.setFont(font)

    def _tell(self) -> None:
        self.setModified(False)
        # Going through the field is not changing it.
        if self.text() != self._shown:
            self.edited.emit(self._name, self.text())


class PlaceLine(QWidget):
    """A file or folder, and a button that asks for it.

    Signals
    -------
    edited (str)
        A user gave another place.
    """

    edited = Signal(str)

    def __init__(self, name: str, tip: str, hint: str, ask: Callable[[QWidget, str], str]) -> None:
        super().__init__()
        self._ask, self._shown = ask, ""
        self.line = QLineEdit()
        self.line.setObjectName(name)
        self.line.setAccessibleName(hint)
        self.line.setPlaceholderText(hint)
        self.line.setToolTip(tip)
        self.line.editingFinished.connect(self._tell)
        button = QPushButton("…")
        button.setObjectName(f"browse {name}")
        button.setToolTip(f"Choose: {tip[:1].lower()}{tip[1:]}")
        button.clicked.connect(self._browse)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.line, 1)
        row.addWidget(button)

    def show_place(self, text: str) -> None:
        """Show a place, without telling anybody."""
        self._shown = text
        if text != self.line.text() and not is_typed_in(self.line):
            self.line.setText(text)
            self.line.setCursorPosition(0)

    def _browse(self) -> None:
        if chosen := self._ask(self, self.line.text()):
            self.line.setText(chosen)
            self._tell()

    def _tell(self) -> None:
        self.line.setModified(False)
        if self.line.text() != self._shown:
            self._shown = self.line.text()
            self.edited.emit(self.line.text())


def is_typed_in(line: QLineEdit) -> bool:
    """Whether somebody is typing there, which what is learnt meanwhile of other things must not take away."""
    return line.hasFocus() and line.isModified()


def side_by_side(*widgets: QWidget) -> QWidget:
    """Return widgets in one row."""
    holder = QWidget()
    row = QHBoxLayout(holder)
    row.setContentsMargins(0, 0, 0, 0)
    for widget in widgets:
        row.addWidget(widget, 1)
    return holder
