"""What went wrong, in one place of the panel, with what can be done about it."""

from __future__ import annotations

import html
from collections.abc import Callable

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from flowcut_napari.core.errors import printable
from flowcut_napari.widgets.live import Trouble


class Notice(QFrame):
    """A frame with a text and buttons; hidden while there is nothing to say."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("notice")
        self.setStyleSheet("#notice { border: 1px solid #c8553d; border-radius: 4px; }")
        self.text = QLabel()
        self.text.setObjectName("notice text")
        self.text.setWordWrap(True)
        # Names of files may look like HTML.
        self.text.setTextFormat(Qt.TextFormat.PlainText)
        self._row = QHBoxLayout()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 8, 8, 8)
        layout.addWidget(self.text)
        layout.addLayout(self._row)
        self.buttons: dict[str, QPushButton] = {}
        self.hide()

    def show_trouble(self, trouble: Trouble | None, actions: dict[str, tuple[str, Callable[[], None]]]) -> None:
        """Show what went wrong with a button for each action, ``{name: (label, what it does)}``; None hides all."""
        while self._row.count():
            item = self._row.takeAt(0)
            if widget := item.widget():
                widget.hide()
                widget.deleteLater()
        self.buttons.clear()
        self.setVisible(trouble is not None)
        if trouble is None:
            return
        self.text.setText(readable(trouble))
        self.setToolTip(plain(trouble.text))
        for name, (label, act) in actions.items():
            button = QPushButton(label)
            button.setObjectName(name)
            button.clicked.connect(lambda _=False, act=act: act())
            self._row.addWidget(button)
            self.buttons[name] = button


def text_label(name: str, *, faint: bool = False) -> QLabel:
    """Return an empty text of several lines, shown as it is, that a user may copy; faint for what matters less."""
    label = QLabel()
    label.setObjectName(name)
    label.setWordWrap(True)
    # Names of files may look like HTML.
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    if faint:
        # Between ink and paper of either theme.
        label.setStyleSheet("QLabel { color: rgb(140, 144, 152); }")
    return label


def plain(text: str) -> str:
    """Return a text as a tooltip that shows it as it is, also where it looks like HTML, such as a name of a file."""
    return f"<qt>{html.escape(text)}</qt>".replace("\n", "<br>")


def readable(trouble: Trouble) -> str:
    """Return the text of a trouble as it is shown: of missing weights only which, since the buttons say the rest.

    Examples
    --------
    >>> readable(Trouble("missing weights: dino (x.pth); looked in ...", ("dino",)))
    'The weights of dino are not on this machine.'
    """
    if trouble.missing:
        names = " and ".join(trouble.missing)
        return f"The weights of {names} are not on this machine."
    text = printable(trouble.text)
    return f"{text[:1].upper()}{text[1:]}"
