"""Buttons for the actions of the registry; each says what it would do right now."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QPushButton, QSizePolicy, QWidget

from flowcut_napari.widgets.curate.actions import BY_NAME
from flowcut_napari.widgets.curate.desk import CurationDesk
from flowcut_napari.widgets.notices import plain


class ActionButton(QPushButton):
    """A button for one action.

    Parameters
    ----------
    name : str
        Of the action.
    desk : CurationDesk
    word : str, optional
        What stands on it; what it would do, if not given.
    idle : str, optional
        What stands on it while there is nothing to do it to.
    """

    def __init__(
        self, name: str, desk: CurationDesk, word: str = "", idle: str = "", parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.action = BY_NAME[name]
        self._desk = desk
        self._word, self._idle, self._text = word, idle, ""
        self.setObjectName(name)
        # What it would do may take more words than there is room for: the panel must not grow for them.
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        # Three of them side by side in a narrow panel: the theme's own padding would cut their words off.
        self.setStyleSheet("QPushButton { padding: 4px 4px; min-width: 20px; }")
        self.clicked.connect(self._act)
        self.refresh()

    def refresh(self) -> None:
        """Say what it would do; grey where there is nothing to do it to."""
        scope = self.action.scope(self._desk)
        self.setEnabled(scope is not None)
        title = self.action.title[:1].upper() + self.action.title[1:]
        self._text = self._word or scope or self._idle or title
        self._fit()
        lines = [scope] if scope and scope != self._word else []
        self.setToolTip(plain("\n".join([*lines, f"{title} ({self.action.key})"])))

    def resizeEvent(self, event: Any) -> None:  # Qt's name
        """Show as much of the text as there is room for."""
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        self.setText(self.fontMetrics().elidedText(self._text, Qt.TextElideMode.ElideRight, self.width() - 10))

    def _act(self) -> None:
        self.action.act(self._desk)


class Refresher(QTimer):
    """Refreshes buttons and labels once for any number of changes that come together."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setSingleShot(True)
        self.setInterval(0)

    def soon(self, *_: object) -> None:
        """Refresh when the event loop comes round."""
        self.start()
