"""The Story tab: a strip of small pictures of every cut with its numbers, and why there are no more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QSize, Qt
from qtpy.QtWidgets import QGridLayout, QLabel, QVBoxLayout, QWidget

from flowcut_napari.widgets.picture import GAP, Picture, width_of_columns
from flowcut_napari.widgets.story.controller import StoryController
from flowcut_napari.widgets.story.pictures import StoryRow
from flowcut_napari.widgets.workbench import Workbench

_COLUMNS = 3


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
        self._grid.setSpacing(GAP)
        self._grid.setColumnStretch(_COLUMNS, 1)
        self.frame_picture = Picture("story frame", "The frame. Click to see it in the canvas.")
        self.flow_picture = Picture("story flow", "Its flow picture: hue is direction, saturation is speed.")
        self.frame_picture.clicked.connect(lambda: show_role("frames"))
        self.flow_picture.clicked.connect(lambda: show_role("flow"))
        self.masks_picture = Picture("story masks", "All refined masks. Click to see them in the canvas.")
        self.masks_picture.clicked.connect(lambda: show_role("masks"))
        self._grid.addWidget(self.frame_picture, 0, 0)
        self._grid.addWidget(self.flow_picture, 0, 1)
        self._grid.addWidget(self.masks_picture, 0, 2)
        for column, heading in enumerate(("eigenvector", "raw cut", "refined mask")):
            label = QLabel(heading)
            label.setAlignment(Qt.AlignmentFlag.AlignCenter)
            self._grid.addWidget(label, 1, column)
        layout.addLayout(self._grid)
        self.stop_text = QLabel()
        self.stop_text.setObjectName("story stop")
        self.stop_text.setWordWrap(True)
        layout.addWidget(self.stop_text)
        layout.addStretch(1)
        bench.answered.connect(self._on_news)
        bench.frame_changed.connect(self._on_news)
        bench.video_changed.connect(self._on_news)
        bench.trouble_changed.connect(self._on_news)

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
        width = width_of_columns(self, _COLUMNS)
        bench, controller = self._bench, self.controller
        frame = controller.frame_picture(width)
        shape = frame.shape[:2] if frame is not None else (round(width * 9 / 16), width)
        size = QSize(shape[1], shape[0])
        self.frame_picture.show_array(frame, size, "no video")
        flow_word = "no flow" if not bench.parameters.uses_flow else "…"
        self.flow_picture.show_array(controller.flow_picture(width), size, flow_word)
        story = controller.story(width)
        self.masks_picture.show_array(story.masks if story else None, size, "…" if bench.video else "")
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
            waiting = "Describing the frame …" if bench.is_live else "Live is off: nothing is cut."
            self.stop_text.setText("" if bench.video is None or bench.trouble else waiting)

    def _add_row(self) -> None:
        row = _IterationRow(len(self._rows) + 1, self._show_role)
        below = 2 + 2 * len(self._rows)
        for column, picture in enumerate(row.pictures):
            self._grid.addWidget(picture, below, column)
        self._grid.addWidget(row.text, below + 1, 0, 1, _COLUMNS)
        self._rows.append(row)
