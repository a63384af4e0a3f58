"""A real napari window for each test, closed at its end; nothing that it started may be left then.

Not a conftest.py in gui/: it would take the name of the one that the other tests import from. And without pytest-qt:
that stops all of pytest where no Qt is installed, and most tests need none.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

OUTPUT = Path(__file__).resolve().parent / "output"


def wait(milliseconds: int) -> None:
    """Let the window work for a while."""
    from qtpy.QtTest import QTest

    QTest.qWait(milliseconds)


def wait_until(is_so: Callable[[], Any], what: str, seconds: float = 30) -> None:
    """Let the window work until something is so; fails if it does not come to it."""
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, f"not within {seconds:g} s: {what}"
        wait(20)


def started_here() -> list[psutil.Process]:
    """Return the processes that this test started, and those that they started: they know its home folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get("HOME") == os.environ["HOME"]:
                found.append(process)
        except psutil.Error:  # gone meanwhile, or not ours to look at
            continue
    return [process for process in found if _is_alive(process)]


def _is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:  # gone since it was listed
        return False


def of_module(name: str) -> list[psutil.Process]:
    """Return the processes of this test that run a module of the package."""
    found = []
    for process in started_here():
        try:
            if any(word.endswith(name) for word in process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def settle(bench: Any, seconds: float = 60) -> None:
    """Wait until all is known of the frame that is looked at, and all layers are made."""

    def is_settled() -> bool:
        made = bench.layers is not None and bench.layers["masks"] is not None and bench.layers["seeds"] is not None
        return made and not bench.work and bench.results.is_complete(bench.frame)

    end = time.monotonic() + seconds
    while not is_settled():
        assert bench.trouble is None, bench.trouble
        assert time.monotonic() < end, f"no answer; work {bench.work!r}, process {bench.live.pid}"
        wait(20)
    wait(50)


def shown_masks(viewer: Any) -> np.ndarray:
    """Return the labels of the masks as they are in the canvas, (H, W)."""
    return np.array(viewer.layers["masks"]._slice.image.raw)


def layer_names(viewer: Any) -> list[str]:
    return [layer.name for layer in viewer.layers]


@dataclass
class Window:
    """A window with the panel, and what was said in it."""

    viewer: Any
    panel: Any
    said: list[Any] = field(default_factory=list)

    @property
    def bench(self) -> Any:
        return self.panel.bench

    def open_sample(self) -> None:
        """Open the bundled clip from the menu of the panel, and wait for its first frame."""
        self.panel.video_bar.open_sample()
        wait_until(lambda: self.bench.video is not None, "the bundled clip")
        settle(self.bench)

    def show_tab(self, title: str) -> None:
        """Bring a tab of the panel to the front."""
        tabs = self.panel.tabs
        tabs.setCurrentIndex([tabs.tabText(place) for place in range(tabs.count())].index(title))
        wait(50)

    def find(self, name: str) -> Any:
        """Return a control of the panel by its object name."""
        from qtpy.QtWidgets import QWidget

        found = self.panel.findChild(QWidget, name)
        assert found is not None, f"the panel has no {name!r}"
        return found

    def click(self, name: str) -> None:
        """Click a button of the panel."""
        from qtpy.QtCore import Qt
        from qtpy.QtTest import QTest

        button = self.find(name)
        assert button.isEnabled(), f"{name!r} cannot be clicked"
        QTest.mouseClick(button, Qt.MouseButton.LeftButton)


def close(viewer: Any) -> None:
    """Close a window as a user does, and let Qt take all of it away."""
    from qtpy.QtCore import QCoreApplication, QEvent

    viewer.close()
    for _ in range(5):
        QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
        wait(20)


def open_window() -> Window:
    """Open a window with the panel."""
    import napari
    from napari.utils.notifications import notification_manager

    from flowcut_napari.widgets.menu import show_panel

    _find_icons()
    viewer = napari.Viewer(show=True)
    viewer.window.resize(1280, 800)
    window = Window(viewer, show_panel(viewer))
    notification_manager.notification_ready.connect(window.said.append)
    wait(50)
    return window


@functools.cache
def _find_icons() -> None:
    """Tell Qt where napari's icons are: it wrote them into the home folder that there was when it was imported."""
    from napari.resources._icons import build_theme_svgs
    from qtpy.QtCore import QDir

    QDir.setSearchPaths("theme_dark", [build_theme_svgs("dark", "builtin")])


@pytest.fixture
def nothing_is_left(_own_home: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail for an exception that Qt would only print, a process that outlives its window, and torch in this process."""
    had_torch = "torch" in sys.modules
    raised: list[BaseException] = []
    monkeypatch.setattr(sys, "excepthook", lambda _kind, error, _trace: raised.append(error))
    monkeypatch.setattr(threading, "excepthook", lambda info: raised.append(info.exc_value))
    yield
    wait_until(lambda: not started_here(), "all processes gone", 8)
    assert not raised, f"raised out of sight: {raised!r}"
    assert had_torch or "torch" not in sys.modules


@pytest.fixture
def windows(nothing_is_left: None) -> Iterator[Callable[[], Window]]:
    """Open windows with the panel; all are closed at the end."""
    opened: list[Window] = []

    def make() -> Window:
        opened.append(open_window())
        return opened[-1]

    yield make
    for window in opened:
        if window.viewer.window is not None and _is_open(window.viewer):
            close(window.viewer)


@pytest.fixture
def window(windows: Callable[[], Window]) -> Window:
    """A window with the panel."""
    return windows()


def _is_open(viewer: Any) -> bool:
    try:
        return viewer.window._qt_window is not None and viewer.window._qt_viewer is not None
    except (AttributeError, RuntimeError):
        return False
