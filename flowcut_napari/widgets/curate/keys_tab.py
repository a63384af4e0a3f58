"""The Keys tab: every key of the page and what it does, out of the registry itself."""

from __future__ import annotations

import html
from collections.abc import Iterable

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

# What napari has that is of use here: (key, what it does).
NAPARIS = (
    ("Left, Right", "the frame before, the next one"),
    ("2, 1, 4, 6", "brush, eraser, fill, back to moving about (layer objects)"),
    ("[ and ]", "size of the brush"),
    ("Ctrl+R", "all in sight"),
)


class KeysTab(QWidget):
    """A table of keys.

    Parameters
    ----------
    rows : iterable of (str, str, str)
        Group, key, and what it does.
    """

    def __init__(self, rows: Iterable[tuple[str, str, str]], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        label = self.label = QLabel()
        label.setObjectName("keys")
        label.setTextFormat(Qt.TextFormat.RichText)
        label.setWordWrap(True)
        label.setAlignment(Qt.AlignmentFlag.AlignTop)
        lines, group = [], ""
        for name, key, words in (*rows, *(("napari", key, words) for key, words in NAPARIS)):
            if name != group:
                group = name
                lines.append(f'<tr><td colspan="2" style="padding-top: 8px"><b>{html.escape(name)}</b></td></tr>')
            left = f'<td style="padding-right: 12px"><code>{html.escape(key)}</code></td>'
            lines.append(f"<tr>{left}<td>{html.escape(words)}</td></tr>")
        label.setText(f"<table>{''.join(lines)}</table>")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 8, 8, 8)
        layout.addWidget(label)
        layout.addStretch(1)
