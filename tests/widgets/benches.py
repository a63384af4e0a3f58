"""Workbenches without a window: a viewer model, plain widgets, and the real computing process.

Not a conftest.py: it would take the name of the one that the other tests import from.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from napari_window import started_here, wait, wait_until

try:
    from qtpy.QtWidgets import QApplication
except ImportError as error:
    pytest.skip(f"no Qt binding can be imported: {error}", allow_module_level=True)

from napari.components import ViewerModel

from flowcut_napari.core import CutParameters
from flowcut_napari.viewer.preferences import Preferences
from flowcut_napari.widgets.workbench import Workbench

# A tenth of a second for a frame.
SMALL = CutParameters.preset("handmade").with_changes(height=96, width=128, max_instances=2, max_eigenvalue=1.0, gap=2)


def application() -> QApplication:
    """Return the application; one without a screen, if there is none yet."""
    return QApplication.instance() or QApplication(["flowcut", "-platform", "offscreen"])


@contextmanager
def open_bench(parameters: CutParameters = SMALL, preferences: Preferences | None = None) -> Iterator[Workbench]:
    """Give a workbench whose panel is open; at the end nothing that it started is left."""
    application()
    viewer = ViewerModel()
    raised: list[BaseException | None] = []
    hooks = sys.excepthook, threading.excepthook
    # Qt goes on after an exception in one of its slots, and only prints it.
    sys.excepthook = lambda _kind, error, _trace: raised.append(error)
    threading.excepthook = lambda info: raised.append(info.exc_value)
    # Settings are not kept, if it is not about that.
    bench = Workbench(viewer, preferences or Preferences(autosave_seconds=0))
    bench.set_parameters(parameters)
    bench.attach_panel()
    try:
        yield bench
    finally:
        bench.shutdown()
        wait_until(lambda: not started_here(), "all processes gone", 10)
        # What the timers and threads still had to say.
        wait(20)
        sys.excepthook, threading.excepthook = hooks
    assert not raised, f"raised out of sight: {raised!r}"


def settle(bench: Workbench) -> None:
    """Wait until all is known of the frame that is looked at, and its layers are made."""

    def is_settled() -> bool:
        layers = bench.layers
        wanted = ("masks", "seeds")
        made = layers is not None and all(layers[role] is not None or role in layers.deleted for role in wanted)
        return made and not bench.work and bench.results.is_complete(bench.frame)

    wait_until(is_settled, f"an answer for the frame; work {bench.work!r}, trouble {bench.trouble}", 60)
    wait(20)


def value_of(control: Any) -> Any:
    """Return what a control of a form shows."""
    for name in ("isChecked", "currentText", "value"):
        if hasattr(control, name):
            return getattr(control, name)()
    raise TypeError(control)


def labels_of(frame: Any, size: tuple[int, int]) -> np.ndarray:
    """Return the masks of a frame as labels."""
    labels = np.zeros(size, np.uint16)
    for instance in frame.instances:
        labels[instance.mask] = instance.id
    return labels
