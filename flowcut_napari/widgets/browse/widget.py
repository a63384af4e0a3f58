"""The Browse tab: the clips of a dataset, one after the other, with their masks in the canvas."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QMenu,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from flowcut_napari.core.dataset_reader import CLIP_WORDS, figures_of
from flowcut_napari.core.errors import printable
from flowcut_napari.widgets.browse.desk import browse_of
from flowcut_napari.widgets.browse.pager import ClipPager, FrameWindow
from flowcut_napari.widgets.browse.table import InstanceTable
from flowcut_napari.widgets.browse.words import clip_files, clip_title, origin_of
from flowcut_napari.widgets.endings import Quietly
from flowcut_napari.widgets.notices import plain, text_label
from flowcut_napari.widgets.sight import is_page_turned
from flowcut_napari.widgets.workbench import Workbench

# Between a letter in the filter and its work, milliseconds.
_TYPING = 150


class BrowseTab(QWidget):
    """Shows the clips of a dataset in the canvas for as long as this tab is looked at."""

    def __init__(self, bench: Workbench, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._bench = bench
        self.desk = browse_of(bench)
        self.opened = QWidget()
        self.pager = ClipPager()
        self.window_of_frames = FrameWindow()
        self.table = InstanceTable()
        self.figures = text_label("dataset_figures")
        self.origin = text_label("dataset_origin", faint=True)
        self.title = text_label("clip_title")
        self.problem = text_label("browse_problem")
        self.clip_problems = text_label("clip_problems")
        self._typed = QTimer(self)
        self._typed.setSingleShot(True)
        self._typed.setInterval(_TYPING)
        # Another page may show layers of its own, and takes them away only when this one is seen already.
        self._arrival = QTimer(self)
        self._arrival.setSingleShot(True)
        self._arrival.setInterval(0)
        self._arrival.timeout.connect(self.desk.attach)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 8, 8, 8)
        layout.setSpacing(8)
        layout.addLayout(self._path_row())
        layout.addWidget(self._opening_row())
        layout.addWidget(self.problem)
        layout.addWidget(self._intro())
        layout.addWidget(self.opened)
        layout.addStretch(1)
        self._fill_opened()
        desk = self.desk
        desk.changed.connect(self.show_dataset)
        desk.clip_changed.connect(self.show_clip)
        # Qt hides a widget that goes, and tells nobody.
        self.destroyed.connect(Quietly(desk.detach))
        self.show_dataset()
        self.show_clip()

    # What is asked.

    def open(self, path: str) -> None:
        """Open a dataset: its folder or its json."""
        self.path.setEditText(path)
        self.desk.open(path)

    def next_clip(self) -> None:
        """Look at the next clip."""
        self.desk.next_clip()

    def previous_clip(self) -> None:
        """Look at the clip before."""
        self.desk.previous_clip()

    def random_clip(self) -> None:
        """Look at any other clip."""
        self.desk.random_clip()

    def showEvent(self, event: Any) -> None:  # Qt's name
        """Bring the clip into the canvas."""
        super().showEvent(event)
        if not event.spontaneous():  # else the window came back from where it was put away
            self._arrival.start()

    def hideEvent(self, event: Any) -> None:  # Qt's name
        """Leave the canvas as it was before."""
        super().hideEvent(event)
        if not event.spontaneous():
            self._arrival.stop()
            self.desk.detach(at_once=is_page_turned(self))

    # How it is built.

    def _path_row(self) -> QHBoxLayout:
        self.path = QComboBox()
        self.path.setObjectName("dataset_path")
        self.path.setEditable(True)
        self.path.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        self.path.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.path.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.path.setToolTip(
            "A dataset: the folder of an export, a DAVIS root, or a YouTube-VIS or COCO json; Enter opens it. "
            "The list has those of before"
        )
        field = self.path.lineEdit()
        field.setPlaceholderText("folder or json of a dataset")
        field.returnPressed.connect(self._open_typed)
        self.path.activated.connect(self._open_typed)
        self.open_button = QPushButton("Open")
        self.open_button.setObjectName("open_dataset")
        self.open_button.setToolTip("Choose a dataset")
        menu = QMenu(self.open_button)
        menu.addAction("Folder of a dataset…", self.ask_folder)
        menu.addAction("YouTube-VIS or COCO json…", self.ask_file)
        self.open_button.setMenu(menu)
        row = QHBoxLayout()
        row.addWidget(self.path, 1)
        row.addWidget(self.open_button)
        return row

    def _opening_row(self) -> QWidget:
        self.opening = QWidget()
        self.bar = QProgressBar()
        self.bar.setObjectName("opening_progress")
        self.bar.setToolTip("Share of the dataset that has been looked through")
        self.cancel = QPushButton("Cancel")
        self.cancel.setObjectName("cancel_opening")
        self.cancel.setToolTip("Open it no more")
        self.cancel.clicked.connect(self.desk.cancel)
        row = QHBoxLayout(self.opening)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.bar, 1)
        row.addWidget(self.cancel)
        return self.opening

    def _intro(self) -> QWidget:
        self.intro = text_label("browse_intro", faint=True)
        self.intro.setText(
            "Look through the clips of a dataset: one that the Export tab or flowcut curate wrote, a DAVIS root, "
            "or any YouTube-VIS or COCO json. While this tab is open its clips are in the canvas; "
            "the video comes back after."
        )
        return self.intro

    def _fill_opened(self) -> None:
        self.dataset_problems = text_label("dataset_problems")
        self.root_text = text_label("root_text")
        self.choose_root = QPushButton("Choose image folder…")
        self.choose_root.setObjectName("choose_root")
        self.choose_root.setToolTip("The folder that the file names of frames start from")
        self.choose_root.clicked.connect(self.ask_root)
        self.filter = QLineEdit()
        self.filter.setObjectName("video_filter")
        self.filter.setPlaceholderText("videos with this in their name")
        self.filter.setClearButtonEnabled(True)
        self.filter.setToolTip("Page through the clips of these videos alone; empty for all")
        self.filter.textEdited.connect(self._on_typing)
        self.filter.textChanged.connect(self._on_cleared)
        self._typed.timeout.connect(self._use_filter)
        self.in_canvas = QCheckBox("In the canvas")
        self.in_canvas.setObjectName("clip_in_canvas")
        self.in_canvas.setToolTip("Show the clip in the canvas; off, what was seen before is seen again")
        self.in_canvas.toggled.connect(self._on_in_canvas)
        self.close_button = QPushButton("Close dataset")
        self.close_button.setObjectName("close_dataset")
        self.close_button.setToolTip("Leave the dataset; what was seen before is seen again")
        self.close_button.clicked.connect(self.desk.close)
        self.pager.asked.connect(self.desk.go)
        self.pager.moved.connect(self._move)
        self.pager.shuffled.connect(self.random_clip)
        self.window_of_frames.changed.connect(self.desk.set_window)
        self.table.chosen.connect(self.desk.highlight)
        root_row = QHBoxLayout()
        root_row.addWidget(self.root_text, 1)
        root_row.addWidget(self.choose_root)
        last_row = QHBoxLayout()
        last_row.addWidget(self.in_canvas, 1)
        last_row.addWidget(self.close_button)
        layout = QVBoxLayout(self.opened)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(8)
        layout.addWidget(self.figures)
        layout.addWidget(self.origin)
        layout.addWidget(self.dataset_problems)
        layout.addLayout(root_row)
        layout.addWidget(self.filter)
        for widget in (self.pager, self.title, self.window_of_frames, self.table, self.clip_problems):
            layout.addWidget(widget)
        layout.addLayout(last_row)

    # What is shown.

    def show_dataset(self) -> None:
        """Show which dataset is open, or how far its opening is."""
        desk = self.desk
        dataset, opening = desk.dataset, desk.opening
        self.opening.setVisible(bool(opening))
        self.open_button.setEnabled(not opening)
        self.path.setEnabled(not opening)
        share = desk.progress.share
        # 0 of 0 moves to and fro: something happens, and nobody knows how long.
        self.bar.setRange(0, 0 if share == 0 else 1000)
        self.bar.setValue(round(1000 * share))
        self.bar.setFormat(f"opening … {desk.progress.clips:,} clips" if share else "opening …")
        _say(self.problem, [desk.problem] if desk.problem else [])
        self.intro.setVisible(dataset is None and not opening)
        self.opened.setVisible(dataset is not None)
        self._show_recent()
        if dataset is None:
            return
        self.figures.setText(figures_of(dataset))
        self.origin.setText(origin_of(dataset))
        _say(self.dataset_problems, dataset.problems)
        for widget in (self.root_text, self.choose_root):
            widget.setVisible(dataset.root is None)
        self.root_text.setText("Its frames are not beside it; masks are shown without.")
        self.filter.setVisible(len(dataset.names) > 1)
        if not self._typed.isActive() and self.filter.text() != desk.filter:
            self.filter.setText(desk.filter)

    def show_clip(self) -> None:
        """Show which clip is looked at, and what there is to say about it."""
        desk = self.desk
        word = CLIP_WORDS[desk.dataset.format] if desk.dataset is not None else "clip"
        self.pager.show_place(desk.place, len(desk.numbers), word)
        self.window_of_frames.show_window(desk.window, desk.length)
        self.in_canvas.blockSignals(True)
        self.in_canvas.setChecked(desk.is_shown)
        self.in_canvas.blockSignals(False)
        self.in_canvas.setEnabled(desk.picture is not None)
        _say(self.problem, [desk.problem] if desk.problem else [])
        view = desk.picture.view if desk.picture is not None else None
        if view is None or not len(desk.numbers):
            self.table.show_clip(None)
            self.title.setText("no video has this in its name" if desk.filter and not len(desk.numbers) else "")
            _say(self.clip_problems, [])
            return
        self.title.setText(clip_title(view))
        self.title.setToolTip(plain(clip_files(view)))
        self.table.show_clip(view)
        without = [] if view.instances else ["no instance in these frames"]
        _say(self.clip_problems, [*without, *view.problems])

    def _show_recent(self) -> None:
        wanted = self.desk.recent.paths
        if wanted != [self.path.itemText(place) for place in range(self.path.count())]:
            text = self.path.currentText()
            self.path.clear()
            self.path.addItems(wanted)
            self.path.setEditText(text)

    def _on_typing(self) -> None:
        self._typed.start()

    def _on_cleared(self, text: str) -> None:
        # The button that clears it is no edit.
        if not text and self.desk.filter:
            self._typed.start()

    def _use_filter(self) -> None:
        self.desk.set_filter(self.filter.text())

    def _move(self, step: int) -> None:
        if step > 0:
            self.next_clip()
        else:
            self.previous_clip()

    def _on_in_canvas(self, on: bool) -> None:
        self.desk.set_shown(on)

    def _open_typed(self, *_: object) -> None:
        self.desk.open(self.path.currentText())

    def ask_folder(self) -> None:
        """Let the user choose the folder of a dataset."""
        if chosen := QFileDialog.getExistingDirectory(self, "Open a dataset", self.path.currentText()):
            self.open(chosen)

    def ask_file(self) -> None:
        """Let the user choose a json."""
        chosen, _ = QFileDialog.getOpenFileName(
            self, "Open a YouTube-VIS or COCO json", self.path.currentText(), "Datasets (*.json);;All files (*)"
        )
        if chosen:
            self.open(chosen)

    def ask_root(self) -> None:
        """Let the user choose where the frames are."""
        start = str(self.desk.dataset.path.parent) if self.desk.dataset is not None else ""
        if chosen := QFileDialog.getExistingDirectory(self, "The folder that file names of frames start from", start):
            self.desk.choose_root(chosen)


def _say(label: QLabel, lines: Any) -> None:
    """Show lines, or nothing at all where there are none."""
    text = "\n".join(printable(line) for line in lines)
    label.setText(text)
    label.setVisible(bool(text))
