"""The Run tab: all frames of the video into a masks file."""

from __future__ import annotations

from qtpy.QtCore import Qt, QUrl
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import (
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from flowcut_napari.core.cache import expand_home
from flowcut_napari.core.errors import FlowCutError
from flowcut_napari.core.video_job import parse_frames
from flowcut_napari.core.workers import default_workers
from flowcut_napari.widgets.run.controller import default_out, run_of, window_words
from flowcut_napari.widgets.workbench import Workbench


class RunTab(QWidget):
    """Makes the masks of the whole video, as ``flowcut masks`` does, and shows them as they come."""

    def __init__(self, bench: Workbench, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._bench = bench
        self.controller = run_of(bench)
        self.out = QLineEdit()
        self.out.setObjectName("out")
        self.out.setToolTip("Folder for NAME.masks.json")
        # Until the user says something, the folder is that of the video that is looked at.
        self._out_is_chosen = False
        self.out.textEdited.connect(self._choose_out)
        browse = QPushButton("…")
        browse.setObjectName("browse_out")
        browse.setToolTip("Choose the folder")
        browse.clicked.connect(self._browse)
        self.frames = QLineEdit()
        self.frames.setObjectName("frames")
        self.frames.setPlaceholderText("all, or START:STOP:STEP such as 0::5")
        self.frames.textChanged.connect(self._name_button)
        self.frames.setToolTip("Frames that get masks; flow partners come from the whole video")
        self.workers = QSpinBox()
        self.workers.setObjectName("workers")
        self.workers.setRange(1, 256)
        self.workers.setValue(default_workers())
        self.workers.setToolTip("Processes that cut and refine; the result does not depend on their number")
        self.start = QPushButton("Run on all frames")
        self.start.setObjectName("run")
        self.start.setToolTip("Make the masks of all frames with the settings of the Tune tab")
        self.start.clicked.connect(lambda: self.run())
        self.cancel = QPushButton("Cancel")
        self.cancel.setObjectName("cancel")
        self.cancel.setToolTip("End the run; nothing is written")
        self.cancel.clicked.connect(lambda: self.controller.cancel())
        self.bar = QProgressBar()
        self.bar.setObjectName("progress")
        self.text = QLabel()
        self.text.setObjectName("run text")
        self.text.setWordWrap(True)
        # Names of files may look like HTML.
        self.text.setTextFormat(Qt.TextFormat.PlainText)
        self.open_folder = QPushButton("Open folder")
        self.open_folder.setObjectName("open_folder")
        self.open_folder.setToolTip("Show the masks file in the system's file browser")
        self.open_folder.clicked.connect(self._show_folder)
        out_row = QHBoxLayout()
        out_row.addWidget(self.out, 1)
        out_row.addWidget(browse)
        form = QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
        form.addRow("Save to", out_row)
        form.addRow("Frames", self.frames)
        form.addRow("Processes", self.workers)
        buttons = QHBoxLayout()
        buttons.addWidget(self.start, 1)
        buttons.addWidget(self.cancel)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 8, 8, 8)
        layout.setSpacing(8)
        layout.addLayout(form)
        layout.addLayout(buttons)
        layout.addWidget(self.bar)
        layout.addWidget(self.text)
        layout.addWidget(self.open_folder)
        layout.addStretch(1)
        self.controller.changed.connect(self.show_progress)
        bench.video_changed.connect(self.show_video)
        bench.parameters_changed.connect(self.show_progress)
        self.show_video()

    def run(self) -> None:
        """Start the run that the controls describe."""
        try:
            if not self.out.text().strip():
                raise FlowCutError("choose a folder to save to")
            job = self.controller.job(
                expand_home(self.out.text().strip()),
                parse_frames(self.frames.text().strip() or None),
                self.workers.value(),
            )
        except FlowCutError as error:
            self._bench.remarked.emit(window_words(str(error)))
            return
        self.controller.start(job)

    def show_video(self) -> None:
        """Suggest a folder for the video that is looked at."""
        if self._bench.video is not None and not self._out_is_chosen:
            self.out.setText(str(default_out(self._bench.video)))
            self.out.setCursorPosition(0)
        self.show_progress()

    def show_progress(self) -> None:
        """Show how far the run is."""
        progress = self.controller.progress
        self.start.setEnabled(self._bench.video is not None and not progress.is_going_on)
        self.cancel.setEnabled(progress.is_going_on)
        self.bar.setVisible(progress.state != "idle")
        # 0 of 0 moves to and fro: something happens, and nobody knows how long.
        self.bar.setRange(0, 0 if progress.state == "starting" else max(1, progress.total))
        self.bar.setValue(progress.done)
        text = progress.describe()
        if progress.notes and progress.state in ("running", "done"):
            text += "\n" + "\n".join(f"note: {note}" for note in progress.notes)
        if progress.state == "idle" and self._bench.video is not None:
            text = f"{len(self._bench.video)} frames; the settings are those of the Tune tab."
        self.text.setText(text)
        self.open_folder.setVisible(progress.state == "done")

    def _name_button(self, frames: str) -> None:
        self.start.setText("Run on these frames" if frames.strip() else "Run on all frames")

    def _choose_out(self, folder: str) -> None:
        self._out_is_chosen = bool(folder.strip())

    def _browse(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, "Save masks to", self.out.text())
        if chosen:
            self._choose_out(chosen)
            self.out.setText(chosen)
            self.out.setCursorPosition(0)

    def _show_folder(self) -> None:
        path = self.controller.progress.path
        if path is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(path.parent)))
