"""The Curate page: its tabs, its keys, its mouse, and the timeline at the bottom of the window."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QTabWidget, QVBoxLayout, QWidget

from flowcut_napari.widgets.curate.actions import ACTIONS
from flowcut_napari.widgets.curate.desk import CurationDesk, curation_of
from flowcut_napari.widgets.curate.history_bar import HistoryBar
from flowcut_napari.widgets.curate.keys_tab import KeysTab
from flowcut_napari.widgets.curate.mouse import ChoosingMouse
from flowcut_napari.widgets.curate.shortcuts import Keys
from flowcut_napari.widgets.curate.timeline import Timeline
from flowcut_napari.widgets.curate.widget import DecideTab
from flowcut_napari.widgets.endings import quietly
from flowcut_napari.widgets.scrolled import scrolled
from flowcut_napari.widgets.workbench import Workbench


class CuratePage(QWidget):
    """The tabs Decide and Keys; while they are in sight, the canvas shows pairs of frames and keys decide.

    Parameters
    ----------
    bench : Workbench
    page_keys : sequence of (str, str, str)
        Group, key and words of keys that work on every page, for the help.
    """

    def __init__(
        self, bench: Workbench, page_keys: tuple[tuple[str, str, str], ...] = (), parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.tabs = QTabWidget()
        self.tabs.setObjectName("curate tabs")
        self._bench = bench
        self.desk = curation_of(bench)
        self.decide = DecideTab(bench)
        rows = (*page_keys, *((action.group, action.key, action.title) for action in ACTIONS))
        self.keys_tab = KeysTab(rows)
        self.tabs.addTab(scrolled(self.decide), "Decide")
        self.tabs.addTab(scrolled(self.keys_tab), "Keys")
        self.history = HistoryBar(self.desk)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.tabs, 1)
        layout.addWidget(self.history)
        self.timeline = Timeline(self.desk)
        self._dock = _Dock(bench, self.timeline)
        acts = {action.key: partial(action.do, self.desk) for action in ACTIONS}
        self.keys = Keys(bench.viewer, acts)
        self.keys.cover(self)
        self.keys.cover(self.timeline)
        self.mouse = ChoosingMouse(bench, self.desk)
        self.desk.changed.connect(self._bind_layer)

    def enter(self) -> None:
        """Begin to curate."""
        self._dock.show(True)
        self.desk.show()
        # The timeline takes room from the canvas once it is laid out.
        QTimer.singleShot(80, self.desk.fit)
        self._bind_layer()
        self.keys.set_on(True)
        self.mouse.set_on(True)

    def leave(self) -> None:
        """End it: the canvas is as it was."""
        self.keys.set_on(False)
        self.mouse.set_on(False)
        self._dock.show(False)
        self.desk.hide()

    def ending(self) -> Callable[[], None]:
        """Return what is left to do when this page is destroyed; it holds nothing of the page itself."""
        return partial(_end, self._bench, self.desk, self.keys, self.mouse, self._dock)

    def _bind_layer(self) -> None:
        objects = self.desk.layers.objects if self.desk.layers is not None else None
        if objects is not None:
            self.keys.bind_layer(objects)


class _Dock:
    """The dock of the timeline at the bottom of the window, made when it is first wanted."""

    def __init__(self, bench: Workbench, timeline: Timeline) -> None:
        self._bench = bench
        self._timeline = timeline
        self._holder = QWidget()
        layout = QVBoxLayout(self._holder)
        layout.setContentsMargins(6, 2, 6, 2)
        layout.addWidget(timeline)
        self._dock: Any = None

    def _forget(self, *_: object) -> None:
        self._dock = None

    def show(self, on: bool) -> None:
        window = getattr(self._bench.viewer, "window", None)
        if window is None:  # a viewer without a window
            return
        if self._dock is None and on:
            self._dock = window.add_dock_widget(
                self._holder, name="FlowCut timeline", area="bottom", add_vertical_stretch=False
            )
            # Its X takes it apart; it is made anew when the page is seen again.
            self._dock.destroyed.connect(self._forget)
        if self._dock is not None:
            self._dock.setVisible(on)

    def remove(self) -> None:
        dock, self._dock = self._dock, None
        if dock is not None:
            with contextlib.suppress(AttributeError):  # napari takes its window apart before it is gone
                self._bench.viewer.window.remove_dock_widget(dock)
            dock.deleteLater()
        # napari only takes it out of the dock, and it would listen to the desk for ever.
        self._holder.deleteLater()
        self._timeline.deleteLater()


def _end(bench: Workbench, desk: CurationDesk, keys: Keys, mouse: ChoosingMouse, dock: _Dock) -> None:
    quietly(partial(keys.set_on, False))
    quietly(partial(mouse.set_on, False))
    quietly(dock.remove)
    quietly(desk.hide)
    quietly(partial(bench.set_curating, False))
