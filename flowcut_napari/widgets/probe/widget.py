"""The Probe tab: click a patch and see what hangs together with it, stream by stream."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtWidgets import QGridLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from flowcut_napari.widgets.picture import Picture, width_of_columns
from flowcut_napari.widgets.probe.controller import PARTS, Part, ProbeController
from flowcut_napari.widgets.workbench import Workbench

_TIPS: dict[Part, str] = {
    "picture": "Cosine of the features of the picture: dark is nothing in common, yellow is the same",
    "flow": "Cosine of the features of the flow: dark is nothing in common, yellow is the same",
    "fused": "Both cosines, mixed by alpha",
    "above tau": "Where the fused cosine is above tau: the patches that hang together with this one",
}
_COLUMNS = 2


class ProbeTab(QWidget):
    """Why two patches hang together.

    Signals
    -------
    probing_changed (bool)
        Whether clicks in the canvas choose a patch.
    """

    probing_changed = Signal(bool)

    def __init__(self, bench: Workbench, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._bench = bench
        self.controller = ProbeController(bench, self)
        self.button = QPushButton("Probe patches")
        self.button.setObjectName("probe")
        self.button.setCheckable(True)
        self.button.setToolTip("While this is on, a click in the canvas chooses a patch")
        self.button.toggled.connect(self._on_toggled)
        self.hint = QLabel()
        self.hint.setObjectName("probe hint")
        self.hint.setWordWrap(True)
        self.pair = QLabel()
        self.pair.setObjectName("probe pair")
        self.pair.setWordWrap(True)
        self.pair.setAlignment(Qt.AlignmentFlag.AlignTop)
        grid = QGridLayout()
        grid.setSpacing(4)
        grid.setColumnStretch(_COLUMNS, 1)
        self.pictures: dict[Part, Picture] = {}
        self._captions: dict[Part, QPushButton] = {}
        for place, part in enumerate(PARTS):
            row, column = 2 * (place // _COLUMNS), place % _COLUMNS
            picture = Picture(f"probe picture {part}", f"{_TIPS[part]}. Click to see it in the canvas.")
            picture.clicked.connect(lambda part=part: self.controller.choose_part(part))
            caption = QPushButton(part)
            caption.setObjectName(f"probe {part}")
            caption.setCheckable(True)
            caption.setToolTip(_TIPS[part])
            caption.clicked.connect(lambda _=False, part=part: self.controller.choose_part(part))
            grid.addWidget(picture, row, column)
            grid.addWidget(caption, row + 1, column)
            self.pictures[part], self._captions[part] = picture, caption
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 8, 8, 8)
        layout.setSpacing(8)
        layout.addWidget(self.button)
        layout.addWidget(self.hint)
        layout.addLayout(grid)
        layout.addWidget(self.pair)
        layout.addStretch(1)
        self.controller.changed.connect(self._on_news)
        bench.video_changed.connect(self._on_news)
        self.draw()

    def showEvent(self, event: Any) -> None:  # Qt's name
        """Draw what has become due."""
        super().showEvent(event)
        self.draw()

    def resizeEvent(self, event: Any) -> None:  # Qt's name
        """Draw in the new size."""
        super().resizeEvent(event)
        self._on_news()

    def draw(self) -> None:
        """Show the row of the patch that is probed."""
        controller, video = self.controller, self._bench.video
        width = width_of_columns(self, _COLUMNS)
        height = round(width * (video.height / video.width if video else 9 / 16))
        for part in PARTS:
            word = "no flow" if part == "flow" and controller.row is not None else ""
            self.pictures[part].show_array(controller.picture(part, height, width), QSize(width, height), word)
            self._captions[part].setChecked(part == controller.part and controller.row is not None)
            self._captions[part].setEnabled(controller.values(part) is not None)
        if not self.button.isChecked():
            hint = "Why is a mask there? Click two patches and see what ties them together."
        else:
            hint = controller.tell_row() or "Click a patch in the picture."
        self.hint.setText(hint)
        self.pair.setText(controller.tell_pair())

    def _on_news(self) -> None:
        if self.isVisible():
            self.draw()

    def _on_toggled(self, on: bool) -> None:
        if not on:
            self.controller.clear()
        self.draw()
        self.probing_changed.emit(on)
