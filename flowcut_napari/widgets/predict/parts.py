"""Small parts of the Predict tab that are made in the same way again and again."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from qtpy.QtWidgets import QFrame, QPushButton


def push_button(name: str, text: str, tip: str, act: Callable[[], None]) -> QPushButton:
    """Return a button that does something."""
    button = QPushButton(text)
    button.setObjectName(name)
    button.setToolTip(tip)
    # Not `act` itself: `clicked` brings along whether the button is checked.
    button.clicked.connect(partial(_call, act))
    return button


def line() -> QFrame:
    """Return a line between what is above and what is below it."""
    drawn = QFrame()
    drawn.setFrameShape(QFrame.Shape.HLine)
    drawn.setStyleSheet("color: rgba(128, 128, 128, 90);")
    return drawn


def _call(act: Callable[[], None], *_: object) -> None:
    act()
