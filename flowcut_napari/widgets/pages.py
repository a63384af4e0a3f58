"""Pages of the panel, one for each stage of the work, chosen by a row of buttons."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QButtonGroup, QHBoxLayout, QPushButton, QSizePolicy, QStackedWidget, QVBoxLayout, QWidget


class Pages(QWidget):
    """A stack of widgets under a row of buttons.

    Signals
    -------
    changed (int)
        Another page is seen.
    """

    changed = Signal(int)

    def __init__(self, pages: Sequence[tuple[str, QWidget]], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._group = QButtonGroup(self)
        self._group.setExclusive(True)
        self._stack = QStackedWidget()
        row = QHBoxLayout()
        row.setSpacing(2)
        for number, (word, page) in enumerate(pages):
            button = QPushButton(word)
            button.setObjectName(f"page {word}")
            button.setCheckable(True)
            button.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
            self._group.addButton(button, number)
            self._stack.addWidget(page)
            row.addWidget(button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        layout.addLayout(row)
        layout.addWidget(self._stack, 1)
        self._group.button(0).setChecked(True)
        self._group.idClicked.connect(self.show_page)

    @property
    def name(self) -> str:
        """The name of the page that is seen."""
        return self._group.button(self._stack.currentIndex()).text()

    def show_name(self, name: str) -> None:
        """Show the page of this name."""
        for button in self._group.buttons():
            if button.text() == name:
                self.show_page(self._group.id(button))

    @property
    def current(self) -> QWidget:
        """The page that is seen."""
        return self._stack.currentWidget()

    def show_page(self, page: int | QWidget) -> None:
        """Show a page, by its number or itself."""
        number = page if isinstance(page, int) else self._stack.indexOf(page)
        if number == self._stack.currentIndex():
            return
        self._group.button(number).setChecked(True)
        self._stack.setCurrentIndex(number)
        self.changed.emit(number)
