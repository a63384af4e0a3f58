"""Which video is looked at: a list of those at hand, and a button to open another."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QFileDialog, QHBoxLayout, QLabel, QMenu, QPushButton, QVBoxLayout, QWidget

from flowcut_napari.core import sample
from flowcut_napari.core.errors import FlowCutError, printable
from flowcut_napari.core.video import Video, VideoEntry, find_videos
from flowcut_napari.core.video_file import VIDEO_SUFFIXES
from flowcut_napari.widgets.workbench import Workbench


class VideoBar(QWidget):
    """Opens videos without keeping the window waiting: a long file is looked through on a thread."""

    _opened = Signal(int, object, object, object)
    _failed = Signal(int, str)

    def __init__(self, bench: Workbench, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._bench = bench
        # Of what is being opened: answers of an older number come too late.
        self._number = 0
        self._is_opening = False
        self._video_before: Video | None = None
        self.videos = QComboBox()
        self.videos.setObjectName("videos")
        self.videos.setToolTip("The video that is looked at; others of the same dataset can be chosen here")
        self.videos.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.videos.activated.connect(self._choose)
        self.open_button = QPushButton("Open")
        self.open_button.setObjectName("open")
        self.open_button.setToolTip("Open a folder of images, a DAVIS root, a video file or a YouTube-VIS json")
        menu = QMenu(self.open_button)
        menu.addAction("Folder of images or DAVIS root…", self.ask_folder)
        menu.addAction("Video file or YouTube-VIS json…", self.ask_file)
        menu.addSeparator()
        menu.addAction("Bundled clip (felt toys)", self.open_sample)
        self.open_button.setMenu(menu)
        self.text = QLabel()
        self.text.setObjectName("video text")
        row = QHBoxLayout()
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.videos, 1)
        row.addWidget(self.open_button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addLayout(row)
        layout.addWidget(self.text)
        self._opened.connect(self._on_opened)
        self._failed.connect(self._on_failed)
        bench.video_changed.connect(self._on_video_changed)
        bench.frame_changed.connect(self.show_text)
        bench.answered.connect(self.show_text)
        bench.layers_changed.connect(self.refresh)
        self.refresh()

    def open(self, address: str) -> None:
        """Open the first video at an address, on a thread."""

        def find() -> tuple[VideoEntry, Video, list[VideoEntry]]:
            entries = find_videos(address)
            return entries[0], entries[0].open(), entries

        self._in_background(find)

    def open_sample(self) -> None:
        """Open the bundled clip."""
        self.open(f"{sample.sample_folder()}::{sample.NAME}")

    def ask_folder(self) -> None:
        """Let the user choose a folder."""
        if chosen := QFileDialog.getExistingDirectory(self, "Open a folder of images or a DAVIS root"):
            self.open(chosen)

    def ask_file(self) -> None:
        """Let the user choose a file."""
        patterns = " ".join(f"*{suffix}" for suffix in sorted(VIDEO_SUFFIXES))
        chosen, _ = QFileDialog.getOpenFileName(self, "Open a video", "", f"Videos ({patterns} *.json);;All files (*)")
        if chosen:
            self.open(chosen)

    def refresh(self) -> None:
        """Show the videos at hand, and which is looked at."""
        self.videos.clear()
        bench = self._bench
        names = []
        for video in bench.desk.videos():
            self.videos.addItem(video.name, video)
            names.append((video.name, str(video.path)))
        for entry in bench.sisters:
            if not any(name == entry.name for name, _ in names):
                self.videos.addItem(entry.name, entry)
        for place in range(self.videos.count()):
            if self.videos.itemData(place) is bench.video:
                self.videos.setCurrentIndex(place)
        self._show_opening()

    def _choose(self, place: int) -> None:
        chosen = self.videos.itemData(place)
        if isinstance(chosen, VideoEntry):
            sisters = self._bench.sisters
            self._in_background(lambda: (chosen, chosen.open(), sisters))
        elif chosen is not None and chosen is not self._bench.video:
            self._bench.switch(chosen)

    def _on_video_changed(self) -> None:
        video = self._bench.video
        if self._is_opening and video is not None and video is not self._video_before:
            # Chosen later than what is still being opened.
            self._number += 1
            self._is_opening = False
        self.refresh()

    def _show_opening(self) -> None:
        self.open_button.setEnabled(not self._is_opening)
        self.videos.setEnabled(not self._is_opening and self.videos.count() > 0)
        self.show_text()

    def _in_background(self, find: Callable[[], tuple[VideoEntry, Video, list[VideoEntry]]]) -> None:
        self._number += 1
        number = self._number
        self._is_opening = True
        self._video_before = self._bench.video
        self._show_opening()

        def work() -> None:
            try:
                found = find()
            except FlowCutError as error:
                tell_failed(str(error))
            except Exception as error:  # noqa: BLE001  # whatever it is, the window must not go on saying "opening"
                tell_failed(f"the video cannot be opened ({type(error).__name__}: {error})")
            else:
                with contextlib.suppress(RuntimeError):  # the window is gone
                    self._opened.emit(number, *found)

        def tell_failed(text: str) -> None:
            with contextlib.suppress(RuntimeError):
                self._failed.emit(number, text)

        threading.Thread(target=work, daemon=True).start()

    def _on_opened(self, number: int, entry: VideoEntry, video: Video, sisters: list[VideoEntry]) -> None:
        if number != self._number:
            return
        self._is_opening = False
        self._show_opening()
        self._bench.take(entry, video, sisters)

    def _on_failed(self, number: int, text: str) -> None:
        if number != self._number:
            return
        self._is_opening = False
        self.refresh()
        say_error(text)

    def show_text(self, *_: Any) -> None:
        """Say what video and frame are looked at."""
        if self._is_opening:
            self.text.setText("opening …")
            return
        video = self._bench.video
        if video is None:
            self.text.setText("no video: open one, or drop it on the window")
            return
        size = f"{video.width}x{video.height}"
        self.text.setText(f"{size} · {frame_text(self._bench)}")


def say_error(text: str) -> None:
    """Say what went wrong where napari says such things."""
    from napari.utils.notifications import show_error

    show_error(printable(text))


def frame_text(bench: Workbench) -> str:
    """Say which frame it is, and where its flow leads."""
    if bench.video is None:
        return ""
    text = f"frame {bench.frame} of 0 to {len(bench.video) - 1}"
    if bench.is_curating:  # how masks are made is of no interest then
        return text
    if bench.partner is not None:
        text += f" · flow to {bench.partner}"
    if bench.grid is not None:
        text += f" · {bench.grid[0]}x{bench.grid[1]} patches"
    return text
