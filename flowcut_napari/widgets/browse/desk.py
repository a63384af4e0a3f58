"""The dataset that is browsed in one viewer: its opening, the clip that is looked at, and when it is in the canvas."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from qtpy.QtCore import QObject, QTimer, Signal

from flowcut_napari.core.cache import expand_home
from flowcut_napari.core.clip_view import spread
from flowcut_napari.core.dataset_reader import open_dataset
from flowcut_napari.core.dataset_scan import Progress
from flowcut_napari.core.dataset_view import Dataset
from flowcut_napari.viewer.clip_layers import ClipLayers, ClipPicture
from flowcut_napari.widgets.browse.loader import ClipLoader, ClipRequest
from flowcut_napari.widgets.browse.opener import DatasetOpener
from flowcut_napari.widgets.endings import quietly
from flowcut_napari.widgets.recent import Recent
from flowcut_napari.widgets.workbench import Workbench


@dataclass(frozen=True)
class Window:
    """Which frames of a clip are seen: up to `count`, every `step`-th from `first`; all over it where `step` is 0."""

    count: int = 6
    step: int = 0
    first: int = 0

    def places(self, length: int) -> tuple[int, ...]:
        """Return them for a clip of `length` frames.

        Examples
        --------
        >>> Window(4).places(24), Window(4, 1, 22).places(24)
        ((0, 8, 15, 23), (20, 21, 22, 23))
        """
        if self.step == 0:
            return spread(length, self.count)
        count = min(self.count, 1 + (length - 1) // self.step)
        first = min(self.first, length - 1 - (count - 1) * self.step)
        return tuple(range(first, first + count * self.step, self.step))


def browse_of(bench: Workbench) -> BrowseDesk:
    """Return the browsing of a workbench, the same every time: it outlives panels."""
    found = bench.findChild(BrowseDesk)
    return found if found is not None else BrowseDesk(bench)


class BrowseDesk(QObject):
    """Opens datasets, pages through their clips, and shows them in the canvas while they are looked at.

    Signals
    -------
    changed
        Another dataset, or how far its opening is.
    clip_changed
        Another clip is looked at, what is known of it, or whether it is in the canvas.

    Attributes
    ----------
    dataset : Dataset or None
    problem : str
        Why the last thing asked for did not come; empty if it did.
    numbers : ndarray
        The clips that the filter leaves, and `place` is that of the one that is looked at among them.
    picture : ClipPicture or None
        The clip that is looked at, once it is read.
    """

    changed = Signal()
    clip_changed = Signal()
    _loaded = Signal(object, object)
    _unreadable = Signal(object, str)

    def __init__(self, bench: Workbench) -> None:
        super().__init__(bench)
        self._bench = bench
        self._layers = ClipLayers(bench.viewer)
        self._opener = DatasetOpener(self)
        self._loader = ClipLoader(self._tell_loaded, self._tell_unreadable)
        self.recent = Recent("datasets", bool(bench.preferences.autosave_seconds))
        self.dataset: Dataset | None = None
        self.problem = ""
        self.filter = ""
        self.numbers = np.arange(0)
        self.place = 0
        self.window = Window()
        self.picture: ClipPicture | None = None
        self._is_seen = False
        self._is_wanted = True
        # What the user gave for what is being opened; empty where it is the same dataset with other frames.
        self._address = ""
        # Of the dataset: answers about an older one come too late.
        self._dataset_number = 0
        self._request: ClipRequest | None = None
        self._direction = 1
        self._leaving = QTimer(self)
        self._leaving.setSingleShot(True)
        self._leaving.setInterval(0)
        self._leaving.timeout.connect(self._leave)
        self._opener.changed.connect(self.changed)
        self._opener.opened.connect(self._on_opened)
        self._opener.failed.connect(self._say)
        self._loaded.connect(self._on_loaded)
        self._unreadable.connect(self._on_unreadable)
        bench.video_changed.connect(self._on_video)
        bench.closing.connect(self.shutdown)

    # The dataset.

    @property
    def opening(self) -> str:
        """What is being opened; empty for nothing."""
        return self._opener.name

    @property
    def progress(self) -> Progress:
        """How far that is."""
        return self._opener.progress

    def open(self, address: str) -> None:
        """Open a dataset on a thread; the one that is open stays until then."""
        if not address.strip():
            self._say("choose a dataset: its folder, or its json")
            return
        path = expand_home(address.strip())
        self.problem = ""
        self._address = str(path)

        def find(tell: Callable[[Progress], None]) -> Dataset:
            return open_dataset(path, tell)

        self._opener.start(str(path), find)

    def choose_root(self, folder: str) -> None:
        """Look for the frames of the dataset in another folder."""
        dataset = self.dataset
        if dataset is None or not folder:
            return
        self.problem = self._address = ""
        self._opener.start(folder, lambda _tell: dataset.with_root(Path(folder)))

    def cancel(self) -> None:
        """Open it no more."""
        self._opener.cancel()

    def close(self) -> None:
        """Leave the dataset, and show again what was seen before."""
        self._opener.stop()
        self._take(None)
        self.problem = ""
        self._layers.end()
        self.changed.emit()
        self.clip_changed.emit()

    # The clip.

    @property
    def number(self) -> int | None:
        """The clip that is looked at, from 0 in the order of the dataset."""
        return int(self.numbers[self.place]) if self.place < len(self.numbers) else None

    @property
    def length(self) -> int:
        """Frames of the clip that is looked at; 0 for none."""
        number = self.number
        return int(self.dataset.lengths[number]) if self.dataset is not None and number is not None else 0

    def go(self, place: int) -> None:
        """Look at the clip at a place among those that the filter leaves, from 0; the ends hold."""
        if not len(self.numbers):
            return
        place = min(max(0, place), len(self.numbers) - 1)
        self._direction = -1 if place < self.place else 1
        if place != self.place:
            self.place = place
            self.window = Window(self.window.count, self.window.step)
        self._is_wanted = True
        self._ask()

    def next_clip(self) -> None:
        """Look at the clip after this one."""
        self.go(self.place + 1)

    def previous_clip(self) -> None:
        """Look at the clip before this one."""
        self.go(self.place - 1)

    def random_clip(self) -> None:
        """Look at any other clip."""
        if len(self.numbers) > 1:
            step = random.randrange(1, len(self.numbers))
            self.go((self.place + step) % len(self.numbers))

    def set_filter(self, text: str) -> None:
        """Page through the clips of some videos alone; the one that is looked at stays if it is among them."""
        if self.dataset is None or text == self.filter:
            return
        before = self.number
        self.filter = text
        self.numbers = self.dataset.find(text)
        known = np.searchsorted(self.numbers, before) if before is not None else len(self.numbers)
        is_there = known < len(self.numbers) and self.numbers[known] == before
        self.place = int(known) if is_there else 0
        self._ask()

    def set_window(self, window: Window) -> None:
        """Look at other frames of the clip."""
        if window != self.window:
            self.window = window
            self._is_wanted = True
            self._ask()

    def highlight(self, label: int) -> None:
        """Show one instance alone in the canvas; 0 for all."""
        self._layers.highlight(label)

    # The canvas.

    @property
    def is_shown(self) -> bool:
        """Whether the clip is in the canvas."""
        return self._layers.is_on

    def set_shown(self, on: bool) -> None:
        """Show the clip in the canvas, or what was seen there before."""
        self._is_wanted = on
        self._show()
        self.clip_changed.emit()

    def attach(self) -> None:
        """Say that the tab is looked at: the clip comes into the canvas."""
        self._is_seen = self._is_wanted = True
        if self.picture is None:
            self._ask()
        else:
            self._show()
            self.clip_changed.emit()

    def detach(self, *, at_once: bool = False) -> None:
        """Say that the tab is left: what was seen before the clips is seen again, in a moment or `at_once`.

        While Qt takes a dock apart a canvas must not be drawn, which taking layers away does; the next page, on the
        other hand, is to find things as they were.
        """
        self._is_seen = False
        if at_once:
            self._leave()
        else:
            self._leaving.start()

    def _leave(self) -> None:
        if not self._bench.is_shut:
            # The window may be on its way out.
            quietly(self._show)

    def shutdown(self) -> None:
        """End all that goes on. May be called again."""
        self._leaving.stop()
        self._opener.stop()
        self._loader.stop()

    def _on_video(self) -> None:
        if self._layers.is_on:
            self._is_wanted = False
            self._layers.end(has_moved_on=True)
            self.clip_changed.emit()

    def _show(self) -> None:
        if self._is_seen and self._is_wanted and self.picture is not None:
            self._layers.show(self.picture)
        else:
            self._layers.end()

    # Work on threads.

    @staticmethod
    def _emit(signal: Any, *values: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the window is gone
            signal.emit(*values)

    def _on_opened(self, dataset: Dataset) -> None:
        is_same = self.dataset is not None and self.dataset.path == dataset.path
        before = (self.filter, self.place) if is_same else ("", 0)
        self._take(dataset)
        if self._address:
            self.recent.put(self._address)
        self.filter = before[0]
        self.numbers = dataset.find(self.filter)
        self.place = min(before[1], max(0, len(self.numbers) - 1))
        self._is_wanted = True
        self.changed.emit()
        self._ask()

    def _take(self, dataset: Dataset | None) -> None:
        self._dataset_number += 1
        self._loader.forget()
        self.dataset, self.filter, self.numbers, self.place = dataset, "", np.arange(0), 0
        self.picture, self._request = None, None
        self.window = Window()
        self._layers.highlight(0)

    def _say(self, text: str) -> None:
        self.problem = text
        self.changed.emit()

    def _ask(self) -> None:
        """Have the clip read that is to be looked at."""
        request = self._request_of(self.place)
        if request is not None and self._is_seen:
            self._request = request
            known = self._loader.ask(request, self._ahead())
            if known is not None:
                self._on_loaded(request, known)
                return
        self.clip_changed.emit()

    def _ahead(self) -> list[ClipRequest]:
        places = (self.place + self._direction, self.place - self._direction, self.place + 2 * self._direction)
        return [request for place in places if (request := self._request_of(place)) is not None]

    def _request_of(self, place: int) -> ClipRequest | None:
        if self.dataset is None or not 0 <= place < len(self.numbers):
            return None
        number = int(self.numbers[place])
        window = self.window if place == self.place else Window(self.window.count, self.window.step)
        places = window.places(int(self.dataset.lengths[number]))
        return ClipRequest(self._dataset_number, number, places, self._layers.room, self.dataset)

    def _tell_loaded(self, request: ClipRequest, picture: ClipPicture) -> None:
        self._emit(self._loaded, request, picture)

    def _tell_unreadable(self, request: ClipRequest, text: str) -> None:
        self._emit(self._unreadable, request, text)

    def _on_loaded(self, request: ClipRequest, picture: ClipPicture) -> None:
        if request == self._request and not self._bench.is_shut:
            self.picture = picture
            self.problem = ""
            self._show()
            self.clip_changed.emit()

    def _on_unreadable(self, request: ClipRequest, text: str) -> None:
        if request == self._request and not self._bench.is_shut:
            self.picture = None
            self._layers.end()
            self._say(text)
            self.clip_changed.emit()
