"""Removing layers in the OpenGL context of the canvas that they are drawn in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject
from qtpy.QtOpenGLWidgets import QOpenGLWidget
from qtpy.QtWidgets import QMainWindow

from flowcut_napari.widgets.endings import quietly

if TYPE_CHECKING:
    from napari.components import ViewerModel


class CanvasContext(QObject):
    """Makes the context of a window's canvas current before a layer is removed; there is one for each window.

    When a layer goes napari (0.9 does) has the driver delete its shaders, buffers and textures at once, in whatever
    context is current: often that in which Qt puts the window together. The canvas may be drawing with them still, and
    the process then ends in glDrawArrays.
    """

    def __init__(self, viewer: ViewerModel, window: QMainWindow) -> None:
        super().__init__(window)
        self._canvas = window.findChild(QOpenGLWidget)
        # The viewer keeps no reference to the owner of a method.
        viewer.layers.events.removing.connect(self._make_current)

    def _make_current(self, event: Any = None) -> None:
        quietly(self._make)

    def _make(self) -> None:
        if self._canvas is not None and self._canvas.isValid():
            self._canvas.makeCurrent()


def keep_context(viewer: ViewerModel, window: QMainWindow) -> None:
    """Remove layers of a window in the right context from now on; may be called again."""
    if window.findChild(CanvasContext) is None:
        CanvasContext(viewer, window)
