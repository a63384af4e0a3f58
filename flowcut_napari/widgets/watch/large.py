"""A preview large, above it the labels of the same frames, and a slider through the steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QImage, QPixmap
from qtpy.QtWidgets import QDialog, QFrame, QHBoxLayout, QLabel, QScrollArea, QSlider, QVBoxLayout, QWidget

from flowcut_napari.core.errors import printable
from flowcut_napari.core.run_history import RunView
from flowcut_napari.core.run_records import Preview, RunStart
from flowcut_napari.widgets.notices import text_label
from flowcut_napari.widgets.watch.thumbnails import Thumbnails

_LARGEST = 2000
_SIZE = QSize(1100, 330)


class LargePreview(QDialog):
    """A window beside the viewer; a newer preview is at the end of its slider."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("large preview")
        self.resize(_SIZE)
        self._run: Path | None = None
        self._labels: Preview | None = None
        self._previews: tuple[Preview, ...] = ()
        self._start: RunStart | None = None
        self._pictures = Thumbnails(_LARGEST, self)
        self._pictures.arrived.connect(self._draw)
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setObjectName("preview step")
        self.slider.setToolTip("The step whose predictions are shown; arrow keys go through them")
        self.slider.valueChanged.connect(self._draw)
        self.words = text_label("preview words")
        self._top, self._bottom = QLabel(), QLabel()
        self._labels_word = QLabel("labels")
        inner = QWidget()
        column = QVBoxLayout(inner)
        for widget in (self._labels_word, self._top, self.words, self._bottom):
            column.addWidget(widget)
        column.addStretch(1)
        area = QScrollArea()
        area.setWidget(inner)
        area.setWidgetResizable(True)
        area.setFrameShape(QFrame.Shape.NoFrame)
        row = QHBoxLayout()
        row.addWidget(QLabel("Step"))
        row.addWidget(self.slider, 1)
        layout = QVBoxLayout(self)
        layout.addWidget(area, 1)
        layout.addLayout(row)

    def show_previews(self, run: Path | None, view: RunView) -> None:
        """Take up the previews of a run."""
        labels, previews = view.labels, view.previews
        if run != self._run or view.start != self._start:
            self._pictures.forget()
        was_last = self.slider.value() >= len(self._previews) - 1
        self._run, self._labels, self._previews, self._start = run, labels, previews, view.start
        self.setWindowTitle(printable(run.name) if run is not None else "")
        self.slider.setRange(0, max(0, len(previews) - 1))
        if was_last:
            self.slider.setValue(len(previews) - 1)
        self._draw()

    def show_place(self, place: int) -> None:
        """Show a preview by its place; -1 for the newest, with the labels."""
        self.slider.setValue(place if place >= 0 else len(self._previews) - 1)
        self.show()
        self.raise_()
        self.slider.setFocus()

    def resizeEvent(self, event: Any) -> None:  # Qt's name
        """Fit the pictures into the window."""
        super().resizeEvent(event)
        self._draw()

    def _draw(self) -> None:
        run, place = self._run, self.slider.value()
        paths: list[Path | None] = [None, None]
        if run is not None and self._labels is not None:
            paths[0] = run / self._labels.path
        if run is not None and place < len(self._previews):
            paths[1] = run / self._previews[place].path
            self.words.setText(f"predicted after step {self._previews[place].step:,}")
        pictures = self._pictures.ask([path for path in paths if path is not None])
        self._labels_word.setVisible(paths[0] is not None)
        for label, path in zip((self._top, self._bottom), paths, strict=True):
            label.setVisible(path is not None)
            picture = pictures.get(path) if path is not None else None
            if isinstance(picture, QImage):
                # As wide as the window, and no coarser than twice.
                width = min(max(200, self.width() - 70), 2 * picture.width())
                shown = picture.scaledToWidth(width, Qt.TransformationMode.SmoothTransformation)
                label.setPixmap(QPixmap.fromImage(shown))
            else:
                label.setTextFormat(Qt.TextFormat.PlainText)
                label.setText(printable(picture) if isinstance(picture, str) else "…")
