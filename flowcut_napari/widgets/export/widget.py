"""The Export tab: counts of what a dataset would hold, and the dataset."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from qtpy.QtCore import Qt, QTimer, QUrl, Signal
from qtpy.QtGui import QDesktopServices, QGuiApplication
from qtpy.QtWidgets import (
    QCheckBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLineEdit,
    QProgressBar,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from flowcut_napari.core.clips import describe_idle_verdicts
from flowcut_napari.core.errors import FlowCutError
from flowcut_napari.core.store import SUFFIX
from flowcut_napari.widgets.export.controller import export_of
from flowcut_napari.widgets.export.form import (
    FORMATS,
    FRAME_FILES,
    SOURCES,
    AddressList,
    ChoiceBox,
    CurationForm,
    told_when_done,
)
from flowcut_napari.widgets.export.progress import describe_counts
from flowcut_napari.widgets.export.settings import why_not
from flowcut_napari.widgets.export.table import CountsTable
from flowcut_napari.widgets.notices import text_label
from flowcut_napari.widgets.rows import form_layout, push_button, show_row
from flowcut_napari.widgets.tune.form import blocked
from flowcut_napari.widgets.workbench import Workbench

_BAR = 1000
# Until buttons that were hidden have their place.
_LAID_OUT_MILLISECONDS = 50


class ExportTab(QWidget):
    """Makes a dataset of the masks that are at hand, as ``flowcut curate`` does.

    Signals
    -------
    browse_wanted (Path)
        Somebody wants to look at a dataset.
    """

    browse_wanted = Signal(object)

    def __init__(self, bench: Workbench, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._bench = bench
        self.controller = export_of(bench)
        self._seen_state = "idle"
        self._make_choices()
        self._make_places()
        self._make_ends()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 8, 8, 8)
        layout.setSpacing(6)
        layout.addLayout(self._source_rows())
        layout.addWidget(self.clips)
        layout.addWidget(self.table)
        layout.addWidget(self.summary)
        layout.addLayout(self._dataset_rows())
        layout.addLayout(self._buttons())
        layout.addWidget(self.bar)
        layout.addWidget(self.text)
        layout.addLayout(self._afterwards())
        layout.addStretch(1)
        controller = self.controller
        controller.changed.connect(self.show_progress)
        controller.settings_changed.connect(self.show_settings)
        controller.place_changed.connect(self.show_settings)
        controller.counting.changed.connect(self.show_counts)
        self.show_settings()
        self.show_counts()
        self.show_progress()

    # What a shortcut may do.

    def export(self) -> None:
        """Start the export that the controls describe."""
        # What is still being typed counts, too.
        if (focus := self.focusWidget()) is not None:
            focus.clearFocus()
        self.controller.export()

    def cancel(self) -> None:
        """End the export."""
        self.controller.cancel()

    # How it is made.

    def _make_choices(self) -> None:
        edit = self.controller.edit
        self.source = ChoiceBox("source", "Masks of", "Which masks are exported.", SOURCES)
        self.source.chosen.connect(partial(edit, "source"))
        self.chosen = AddressList()
        self.chosen.edited.connect(partial(edit, "chosen"))
        self.clips = CurationForm()
        self.clips.edited.connect(edit)
        self.table = CountsTable()
        self.summary = text_label("summary")
        self.format = ChoiceBox("format", "Format", "How the dataset is written.", FORMATS)
        self.format.chosen.connect(partial(edit, "format"))
        self.frame_files = ChoiceBox("frame_files", "Frame files", "What becomes of the frames.", FRAME_FILES)
        self.frame_files.chosen.connect(partial(edit, "frame_files"))
        self.split = told_when_done(QLineEdit(), partial(edit, "split"))
        self.split.setObjectName("split")
        self.split.setPlaceholderText("none, or train=0.9,val=0.1")
        self.split.setToolTip("A dataset each for shares of the videos; all clips of a video are in one")

    def _make_places(self) -> None:
        self.out = told_when_done(QLineEdit(), self._choose_out)
        self.out.setObjectName("dataset out")
        self.out.setToolTip("Folder for the dataset; it is made whole or not at all")
        self.overwrite = QCheckBox("Replace the dataset that is there")
        self.overwrite.setObjectName("overwrite")
        self.overwrite.setToolTip("The old one goes when the new one is whole, not before")
        self.overwrite.toggled.connect(partial(self.controller.edit, "overwrite"))
        self.videos = told_when_done(QLineEdit(), partial(self.controller.edit, "videos"))
        self.videos.setObjectName("videos root")
        self.videos.setPlaceholderText("where the videos are now")
        self.videos.setToolTip("A folder of videos, a DAVIS root or a YouTube-VIS json with the videos that have moved")
        self._videos_row = _with_button(self.videos, "browse_videos", "Choose the folder", self._browse_videos)

    def _make_ends(self) -> None:
        self.start = push_button("export", "Export", "Make the dataset", self.export)
        self.stop = push_button("cancel_export", "Cancel", "End the export; nothing half-written stays", self.cancel)
        self.copy = push_button(
            "copy_curate", "Copy command", "Copy a command line that makes the same dataset", self._copy_command
        )
        self.bar = QProgressBar()
        self.bar.setObjectName("export progress")
        self.bar.setRange(0, _BAR)
        self.text = text_label("export text")
        self.open_folder = push_button(
            "open_dataset", "Open folder", "Show the dataset in the system's file browser", self._show_folder
        )
        self.browse = push_button("browse_dataset", "Browse", "Look at the clips of the dataset", self._want_browsing)

    def _source_rows(self) -> QVBoxLayout:
        form = self._source_form = form_layout()
        form.addRow("Masks of", self.source)
        self._chosen_buttons = QWidget()
        row = QHBoxLayout(self._chosen_buttons)
        row.setContentsMargins(0, 0, 0, 0)
        row.addStretch(1)
        row.addWidget(push_button("add_folder", "Add folder…", "Add a folder of masks", self._add_folder))
        row.addWidget(push_button("add_files", "Add files…", f"Add NAME{SUFFIX} files", self._add_files))
        rows = QVBoxLayout()
        rows.setSpacing(4)
        rows.addLayout(form)
        rows.addWidget(self.chosen)
        rows.addWidget(self._chosen_buttons)
        return rows

    def _dataset_rows(self) -> QFormLayout:
        form = self._dataset_form = form_layout()
        form.addRow("Format", self.format)
        form.addRow("Frame files", self.frame_files)
        form.addRow("Videos at", self._videos_row)
        form.addRow("Split", self.split)
        form.addRow("Save to", _with_button(self.out, "browse_dataset_out", "Choose the folder", self._browse_out))
        form.addRow(" ", self.overwrite)
        return form

    def _buttons(self) -> QHBoxLayout:
        row = QHBoxLayout()
        row.addWidget(self.start, 1)
        row.addWidget(self.stop)
        row.addWidget(self.copy)
        return row

    def _afterwards(self) -> QHBoxLayout:
        row = QHBoxLayout()
        row.addWidget(self.browse)
        row.addWidget(self.open_folder)
        return row

    def _align(self, *forms: Any) -> None:
        """Let the fields of all forms begin at one edge; only once it is shown is its font known."""
        rows = [form.itemAt(row, QFormLayout.ItemRole.LabelRole) for form in forms for row in range(form.rowCount())]
        labels = [item.widget() for item in rows if item is not None and item.widget() is not None]
        width = max(label.sizeHint().width() for label in labels)
        for label in labels:
            label.setMinimumWidth(width)
            label.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)

    # What is shown.

    def showEvent(self, event: Any) -> None:  # Qt's name
        """Count while somebody looks."""
        super().showEvent(event)
        self._align(self._source_form, self.clips.layout(), self._dataset_form)
        self.controller.watch(True)

    def hideEvent(self, event: Any) -> None:  # Qt's name
        """Count no more."""
        super().hideEvent(event)
        self.controller.watch(False)

    def show_settings(self) -> None:
        """Show what is set now, whoever set it."""
        controller, settings = self.controller, self.controller.settings
        self.source.show_value(settings.source)
        self.chosen.show_addresses(settings.chosen)
        is_chosen = settings.source == "chosen"
        self.chosen.setVisible(is_chosen)
        self._chosen_buttons.setVisible(is_chosen)
        self.clips.show_automatic("all" if settings.format == "davis" else 2)
        self.clips.show_values(controller.parameters)
        self.format.show_value(settings.format)
        self.frame_files.show_value(settings.frame_files)
        _show_text(self.split, settings.split)
        _show_text(self.videos, settings.videos)
        try:
            _show_text(self.out, settings.out or str(settings.folder(controller.desk.path)))
        except FlowCutError:  # it is said beside the counts
            _show_text(self.out, settings.out)
        with blocked(self.overwrite):
            self.overwrite.setChecked(settings.overwrite)
        show_row(self._dataset_form, self.overwrite, controller.place == "ours" or settings.overwrite)
        self._show_videos_row()

    def show_counts(self) -> None:
        """Show what would be exported, as far as it is counted."""
        counting, plan = self.controller.counting, self.controller.plan
        counts = counting.counts
        self.table.setVisible(counts is not None and bool(counts.yields))
        if counts is not None and counts.yields:
            length = plan.parameters.clip_length
            self.table.show_yields(counts.yields, {2: "pairs", "all": "videos"}.get(length or 2, "windows"))
        self.table.setEnabled(not counting.is_counting or (counts is not None and counts.total > 1))
        lines = [describe_counts(counting.problem, counts, counting.is_counting), self._idle_verdicts()]
        self.summary.setText("\n".join(line for line in lines if line))
        self.summary.setVisible(bool(self.summary.text()))
        self._show_videos_row()

    def _idle_verdicts(self) -> str:
        """Say what was decided in vain for clips of this length."""
        masks = self.controller.desk.masks
        if masks is None or self.controller.settings.source != "video":
            return ""
        return describe_idle_verdicts(masks, self.controller.plan.parameters) or ""

    def show_progress(self) -> None:
        """Show how far the export is."""
        progress = self.controller.progress
        self.start.setEnabled(not progress.is_going_on)
        self.stop.setEnabled(progress.can_be_cancelled)
        self.bar.setVisible(progress.is_going_on)
        # 0 of 0 moves to and fro: something happens, and nobody knows how long.
        self.bar.setRange(0, 0 if progress.state in ("starting", "cancelling") else _BAR)
        self.bar.setValue(round(progress.share * _BAR))
        self.text.setText(progress.describe())
        self.text.setVisible(bool(self.text.text()))
        for button in (self.open_folder, self.browse):
            button.setVisible(progress.state == "done")
        if progress.state != self._seen_state:
            self._seen_state = progress.state
            QTimer.singleShot(_LAID_OUT_MILLISECONDS, self._show_result)

    def _show_result(self) -> None:
        """Bring what became of an export into sight, where the tab has to be scrolled for it."""
        area = self.parentWidget().parentWidget() if self.parentWidget() else None
        if isinstance(area, QScrollArea) and self._seen_state != "idle":
            area.ensureWidgetVisible(self.browse if self._seen_state == "done" else self.text)

    def _show_videos_row(self) -> None:
        settings, counts = self.controller.settings, self.controller.counting.counts
        is_wanted = counts is not None and counts.away > 0 and settings.frame_files != "none"
        show_row(self._dataset_form, self._videos_row, is_wanted or bool(settings.videos))

    # What the controls do.

    def _choose_out(self, folder: str) -> None:
        try:
            suggested = str(self.controller.settings.folder(self.controller.desk.path))
        except FlowCutError:
            suggested = ""
        # Going through the field is not choosing what it suggests.
        if folder != suggested:
            self.controller.edit("out", folder)

    def _browse_out(self) -> None:
        start = Path(self.out.text() or Path.home())
        chosen, _ = QFileDialog.getSaveFileName(
            self, "Dataset", str(start), "Folder (*)", options=QFileDialog.Option.DontConfirmOverwrite
        )
        if chosen:
            self._choose_out(chosen)

    def _browse_videos(self) -> None:
        if chosen := QFileDialog.getExistingDirectory(self, "Where the videos are now", self.videos.text()):
            self.controller.edit("videos", chosen)

    def _add_folder(self) -> None:
        if chosen := QFileDialog.getExistingDirectory(self, "Folder of masks"):
            self.chosen.add([chosen])

    def _add_files(self) -> None:
        found, _ = QFileDialog.getOpenFileNames(self, "Masks", "", f"Masks (*{SUFFIX})")
        if found:
            self.chosen.add(found)

    def _copy_command(self) -> None:
        try:
            command = self.controller.job().command()
        except FlowCutError as error:
            self._bench.remarked.emit(why_not(error))
            return
        QGuiApplication.clipboard().setText(command)
        self._bench.remarked.emit(f"copied: {command}")

    def _show_folder(self) -> None:
        done = self.controller.progress.done
        if done is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(done.path)))

    def _want_browsing(self) -> None:
        done = self.controller.progress.done
        if done is not None:
            self.browse_wanted.emit(done.path / done.parts[0] if done.parts else done.path)


def _with_button(line: QLineEdit, name: str, tip: str, act: Any) -> QWidget:
    holder = QWidget()
    row = QHBoxLayout(holder)
    row.setContentsMargins(0, 0, 0, 0)
    row.addWidget(line, 1)
    row.addWidget(push_button(name, "…", tip, act))
    return holder


def _show_text(line: QLineEdit, text: str) -> None:
    if text != line.text():
        line.setText(text)
        line.setCursorPosition(0)
