"""The controls of the Export tab that are made of fields: of the parameters of the curation, and of the plan."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QLineEdit, QPlainTextEdit, QSizePolicy, QWidget

from flowcut_napari.core.parameters import CurationParameters
from flowcut_napari.widgets.tune.form import ModelForm, blocked

# Value, what the control calls it, what it means.
Choices = Mapping[Any, tuple[str, str]]

SOURCES: Choices = {
    "video": ("this video", "The masks file of the video that is looked at"),
    "folder": ("all masks in its folder", "Every masks file beside that of the video that is looked at"),
    "chosen": ("chosen folders and files", "Folders of masks and masks files, a line each"),
}
FORMATS: Choices = {
    "ytvis": ("YouTube-VIS", "Each clip as a video of its own: a mask, box and area for each frame, or null"),
    "coco": ("COCO", "Each frame with an instance that matches in one clip or more, and these instances"),
    "davis": ("DAVIS", "Each video as a sequence of palette PNGs, a number for each tracklet; frames are JPEG"),
}
FRAME_FILES: Choices = {
    "copy": ("copied", "Files of the dataset's own; frames of video files are decoded to JPEG (quality 95)"),
    "link": ("hard links", "The same files under a second name: no room is taken, on one file system"),
    "reference": ("links to where they are", "Symbolic links: broken if the frames move"),
    "none": ("none, annotations alone", "No pictures at all"),
}


class CurationForm(ModelForm):
    """Controls for all parameters of the curation; gaps and clip lengths are given as text."""

    def __init__(self) -> None:
        super().__init__(CurationParameters, ["gaps", "iou", "method", "clip_length", "only_accepted"], {})
        self.controls["gaps"].setToolTip(f"{self.controls['gaps'].toolTip()} Whole numbers, such as 1, 2, 3, 4.")

    def show_automatic(self, length: int | str | None) -> None:
        """Say what length suits the format that is chosen."""
        box = self.controls["clip_length"]
        assert isinstance(box, QComboBox)
        with blocked(box):
            box.setItemText(0, f"auto ({length})")

    def _control(self, name: str, field: Any, choices: list[str] | None) -> QWidget:
        if name == "gaps":
            line = QLineEdit()
            line.editingFinished.connect(lambda: self._tell(name, line.text()))
            self._setters[name] = lambda gaps: line.setText(", ".join(map(str, gaps)))
            return line
        if name == "clip_length":
            box = self._combo_box(name, ["auto (2)", "2", "3", "5", "all"], is_open=True)
            assert isinstance(box, QComboBox)
            box.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
            self._setters[name] = lambda length: box.setCurrentText(box.itemText(0) if length is None else str(length))
            return box
        return super()._control(name, field, choices)

    def _tell(self, name: str, text: str) -> None:
        self.edited.emit(name, text)


class ChoiceBox(QComboBox):
    """A choice among a few values, each with words of its own.

    Signals
    -------
    chosen (object)
        A user chose a value.
    """

    chosen = Signal(object)

    def __init__(self, name: str, title: str, tip: str, choices: Choices) -> None:
        super().__init__()
        self.setObjectName(name)
        self.setAccessibleName(title)
        self._values = list(choices)
        for word, meaning in choices.values():
            self.addItem(word)
            self.setItemData(self.count() - 1, meaning, 3)  # Qt.ItemDataRole.ToolTipRole
        self.setToolTip("\n".join([tip, *(f"{word}: {meaning}" for word, meaning in choices.values())]))
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(8)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.activated.connect(self._tell)

    def show_value(self, value: Any) -> None:
        """Show a value, without telling anybody."""
        with blocked(self):
            self.setCurrentIndex(self._values.index(value))

    def _tell(self, place: int) -> None:
        self.chosen.emit(self._values[place])


class AddressList(QPlainTextEdit):
    """Folders and files, a line each.

    Signals
    -------
    edited (object)
        A user changed them, a tuple of str; told when the focus goes.
    """

    edited = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("chosen")
        self.setAccessibleName("Chosen folders and files")
        self.setPlaceholderText("a folder of masks or a NAME.masks.json, a line each")
        self.setToolTip("Folders of masks and masks files, a line each")
        self.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        self.setTabChangesFocus(True)
        self.setStyleSheet("#chosen { border: 1px solid rgba(128, 128, 128, 128); border-radius: 2px; }")
        self.setFixedHeight(3 * self.fontMetrics().lineSpacing() + 14)

    def addresses(self) -> tuple[str, ...]:
        """Return what is there."""
        return tuple(line.strip() for line in self.toPlainText().splitlines() if line.strip())

    def show_addresses(self, addresses: tuple[str, ...]) -> None:
        """Show addresses, without telling anybody."""
        if addresses != self.addresses():
            self.setPlainText("\n".join(addresses))

    def add(self, addresses: list[str]) -> None:
        """Add addresses that a user chose."""
        found = tuple(dict.fromkeys((*self.addresses(), *addresses)))
        self.setPlainText("\n".join(found))
        self.edited.emit(found)

    def focusOutEvent(self, event: Any) -> None:  # Qt's name
        """Tell what was typed."""
        super().focusOutEvent(event)
        self.edited.emit(self.addresses())


def told_when_done(line: QLineEdit, take: Callable[[str], None]) -> QLineEdit:
    """Let a line tell its text, stripped, when a user is done with it."""
    line.editingFinished.connect(lambda: take(line.text().strip()))
    return line
