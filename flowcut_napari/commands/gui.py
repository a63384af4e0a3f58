"""``flowcut gui``: napari with the FlowCut panel."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

from flowcut_napari.core.errors import FlowCutError, InputError, MissingPackageError
from flowcut_napari.core.store import SUFFIX, load_masks
from flowcut_napari.core.video import find_videos
from flowcut_napari.viewer.session import SUFFIX as SESSION_SUFFIX
from flowcut_napari.viewer.session import read_session


def run_gui(path: str | None) -> int:
    """Open the window on a video, a masks file, a session or on nothing, and return when it is closed.

    Raises
    ------
    InputError
        If there is no video at the path, or the file cannot be read; then no window is opened.
    MissingPackageError
        If napari or a display is not there.
    """
    check_window()
    if path is not None:
        if path.endswith(SESSION_SUFFIX):
            read_session(path)
        elif path.endswith(SUFFIX):
            # Where its video is now, if it has moved, the window asks.
            load_masks(path)
        else:
            first = find_videos(path)[0]
            # A video file is decoded from end to end to open it: the window does that, and says what is wrong.
            if not Path(first.place).is_file():
                first.open()
    import napari

    viewer = napari.Viewer(title="FlowCut")
    open_panel(viewer, path)
    napari.run()
    return 0


def open_panel(viewer: Any, path: str | None) -> Any:
    """Open the panel in a viewer of our own, and a video or a session in it; return the panel."""
    from flowcut_napari.widgets.idle import IdleCollector
    from flowcut_napari.widgets.menu import show_panel
    from flowcut_napari.widgets.session.keeper import session_of

    panel = show_panel(viewer)
    IdleCollector(panel.bench)
    if path is not None and path.endswith(SESSION_SUFFIX):
        session_of(panel.bench).open_session(path)
    elif path is not None:
        panel.open(path)
    return panel


def check_window() -> None:
    """See that a window can be opened.

    Raises
    ------
    MissingPackageError, InputError
        If it cannot.
    """
    if problem := window_problem():
        raise problem


def window_problem() -> FlowCutError | None:
    """Return why no window can be opened, or None."""
    has_binding = any(importlib.util.find_spec(name) for name in ("PySide6", "PyQt6", "PyQt5"))
    if importlib.util.find_spec("napari") is None or not has_binding:
        return MissingPackageError('the window needs napari and a Qt binding: pip install "napari[pyside6]>=0.9"')
    has_display = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY") or os.environ.get("QT_QPA_PLATFORM")
    if sys.platform.startswith("linux") and not has_display:
        # Qt would abort the whole process.
        return InputError("no display: set DISPLAY, or use flowcut masks, which needs no window")
    return None
