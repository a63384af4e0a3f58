"""The Story tab: a strip of small pictures of every cut with its numbers, and the affinity probe."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtGui import QImage, QPixmap
from qtpy.QtWidgets import (
    QButtonGroup,
    QGridLayout,
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from flowcut_napari.widgets.story.controller import PARTS, StoryController
from flowcut_napari.widgets.story.pictures import StoryRow
from flowcut_napari.widgets.workbench import Workbench

_COLUMNS = 3
_GAP = 4
_SMALLEST = 90


class Picture(QLabel):
    """A small picture that can be clicked, or empty with a word in it."""

    clicked = Signal()

    def __init__(self, name: str, tip: str) -> None:
        super().__init__()
        self.setObjectName(name)
        self.setToolTip(tip)
        self.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.setStyleSheet("QLabel { background: rgba(128, 128, 128, 30); }")
        self.setCursor(Qt.CursorShape.PointingHandCursor)

    def show_array(self, picture: np.ndarray | None, size: QSize, word: str = "") -> None:
        """Show (h, w, 3) uint8, or a word where there is none."""
        self.setFixedSize(size)
        if picture is None:
            self.setText(word)
            return
        picture = np.ascontiguousarray(picture)
        height, width = picture.shape[:2]
        image = QImage(picture.data, width, height, 3 * width, QImage.Format.Format_RGB888)
        self.setPixmap(QPixmap.fromImage(image))  # a copy; the array may go

    def mousePressEvent(self, event: Any) -> None:  # Qt's name
        """Tell that it was clicked."""
        self.clicked.emit()


class _IterationRow:
    """The widgets of one iteration."""

    def __init__(self, iteration: int, show_role: Callable[[str], None]) -> None:
        roles = (f"eigenvector {iteration}", f"cut {iteration}", "masks")
        tips = (
            "The eigenvector: warm where the object is, its seed framed. Click to see it in the canvas.",
            "The raw cut. Click to see it in the canvas.",
            "The mask after the CRF. Click to see the masks in the canvas.",
        )
        self.pictures = [Picture(f"story {role}", tip) for role, tip in zip(roles, tips, strict=True)]
        for picture, role in zip(self.pictures, roles, strict=True):
            picture.clicked.connect(lambda role=role: show_role(role))
        self.text = QLabel()
        self.text.setWordWrap(True)
        self.text.setObjectName(f"story text {iteration}")

    def widgets(self) -> list[QWidget]:
        return [*self.pictures, self.text]

    def show_row(self, row: StoryRow, size: QSize) -> None:
        self.pictures[0].show_array(row.eigenvector, size)
        self.pictures[1].show_array(row.cut, size)
        self.pictures[2].show_array(row.mask, size, "…" if row.is_kept is None else "no mask")
        mark = {True: "✓", False: "✗", None: "…"}[row.is_kept]
        self.text.setText(f"<b>{row.iteration}</b> {row.numbers}<br>{mark} {row.verdict}")


class StoryTab(QWidget):
    """What became of every cut of the frame that is looked at."""

    probing_changed = Signal(bool)

    def __init__(self, bench: Workbench, show_role: Callable[[str], None], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._bench = bench
        self._show_role = show_role
        self.controller = StoryController(bench)
        self._rows: list[_IterationRow] = []
        self._is_due = True
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 8, 8, 8)
        layout.setSpacing(8)
        self._grid = QGridLayout()
        self._grid.setSpacing(_GAP)
        self._grid.setColumnStretch(_COLUMNS, 1)
        self.frame_picture = Picture("story frame", "The frame. Click to see it in the canvas.")
        self.flow_picture = Picture("story flow", "Its flow picture: hue is direction, saturation is speed.")
        self.frame_picture.clicked.connect(lambda: show_role("frames"))
        self.flow_picture.clicked.connect(lambda: show_role("flow"))
        self._frame_text = QLabel()
        self._frame_text.setObjectName("story frame text")
        self._frame_text.setWordWrap(True)
        self._frame_text.setAlignment(Qt.AlignmentFlag.AlignTop)
        self._grid.addWidget(self.frame_picture, 0, 0)
        self._grid.addWidget(self.flow_picture, 0, 1)
        self._grid.addWidget(self._frame_text, 0, 2)
        for column, heading in enumerate(("eigenvector", "raw cut", "refined mask")):
            label = QLabel(heading)
            label.setAlignment(Qt.AlignmentFlag.AlignCenter)
            self._grid.addWidget(label, 1, column)
        layout.addLayout(self._grid)
        self.stop_text = QLabel()
        self.stop_text.setObjectName("story stop")
        self.stop_text.setWordWrap(True)
        layout.addWidget(self.stop_text)
        layout.addWidget(self._probe_box())
        layout.addStretch(1)
        bench.answered.connect(self._on_news)
        bench.frame_changed.connect(self._on_news)
        bench.video_changed.connect(self._on_news)
        bench.trouble_changed.connect(self._on_news)
        self.controller.probed.connect(self._show_probe)

    # The strip.

    def _on_news(self, *_: object) -> None:
        # A strip that nobody sees is not drawn.
        self._is_due = True
        if self.isVisible():
            self.draw()

    def showEvent(self, event: Any) -> None:  # Qt's name
        """Draw what has become due."""
        super().showEvent(event)
        if self._is_due:
            self.draw()

    def resizeEvent(self, event: Any) -> None:  # Qt's name
        """Draw in the new size."""
        super().resizeEvent(event)
        self._on_news()

    def draw(self) -> None:
        """Draw the strip of the frame that is looked at."""
        self._is_due = False
        width = max(_SMALLEST, (self.width() - 16 - (_COLUMNS - 1) * _GAP) // _COLUMNS)
        bench, controller = self._bench, self.controller
        frame = controller.frame_picture(width)
        shape = frame.shape[:2] if frame is not None else (round(width * 9 / 16), width)
        size = QSize(shape[1], shape[0])
        self.frame_picture.show_array(frame, size, "no video")
        flow_word = "no flow" if not bench.parameters.uses_flow else "…"
        self.flow_picture.show_array(controller.flow_picture(width), size, flow_word)
        self._frame_text.setText(frame_text(bench))
        story = controller.story(width)
        rows = story.rows if story else ()
        while len(self._rows) < len(rows):
            self._add_row()
        for place, widgets in enumerate(self._rows):
            for widget in widgets.widgets():
                widget.setVisible(place < len(rows))
            if place < len(rows):
                widgets.show_row(rows[place], size)
        if story is not None:
            self.stop_text.setText(f"{story.stop[0].upper()}{story.stop[1:]}.")
        else:
            self.stop_text.setText("" if bench.video is None or bench.trouble else "Describing the frame …")

    def _add_row(self) -> None:
        row = _IterationRow(len(self._rows) + 1, self._show_role)
        below = 2 + 2 * len(self._rows)
        for column, picture in enumerate(row.pictures):
            self._grid.addWidget(picture, below, column)
        self._grid.addWidget(row.text, below + 1, 0, 1, _COLUMNS)
        self._rows.append(row)

    # The probe.

    def _probe_box(self) -> QGroupBox:
        box = QGroupBox("Affinity probe")
        layout = QVBoxLayout(box)
        self.probe_button = QPushButton("Probe a patch")
        self.probe_button.setObjectName("probe")
        self.probe_button.setCheckable(True)
        self.probe_button.setToolTip(
            "Click a patch in the canvas and see what hangs together with it; move the mouse to compare with others"
        )
        self.probe_button.toggled.connect(self._on_probe_toggled)
        layout.addWidget(self.probe_button)
        parts = QHBoxLayout()
        parts.setSpacing(2)
        self.parts = QButtonGroup(self)
        for part in PARTS:
            button = QPushButton(part)
            button.setStyleSheet("QPushButton { padding: 4px 2px; min-width: 20px; }")
            button.setObjectName(f"probe {part}")
            button.setCheckable(True)
            button.setChecked(part == self.controller.part)
            button.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
            button.setToolTip(
                {
                    "picture": "Cosine of the features of the picture, 0 to 1",
                    "flow": "Cosine of the features of the flow, 0 to 1",
                    "fused": "Both, mixed by alpha",
                    "above tau": "Where the fused cosine is above tau: what hangs together",
                }[part]
            )
            button.clicked.connect(lambda _=False, part=part: self.controller.choose_part(part))
            self.parts.addButton(button)
            parts.addWidget(button)
        layout.addLayout(parts)
        self.probe_text = QLabel("")
        self.probe_text.setObjectName("probe text")
        self.probe_text.setWordWrap(True)
        layout.addWidget(self.probe_text)
        self._show_probe()
        return box

    def _on_probe_toggled(self, on: bool) -> None:
        if not on:
            self.controller.clear_probe()
        self._show_probe()
        self.probing_changed.emit(on)

    def _show_probe(self) -> None:
        on = self.probe_button.isChecked()
        for button in self.parts.buttons():
            button.setEnabled(on)
        self.probe_text.setVisible(on)
        self.probe_text.setText(self.controller.explain())


def frame_text(bench: Workbench) -> str:
    """Say which frame it is, and where its flow leads."""
    if bench.video is None:
        return ""
    text = f"frame {bench.frame} | {len(bench.video) - 1}"
    if bench.partner is not None:
        text += f"\nflow to {bench.partner}"
    if bench.grid is not None:
        text += f"\n{bench.grid[0]} x {bench.grid[1]} patches"
    return text
