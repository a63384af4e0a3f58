"""The mouse of the match view: a click on an object chooses it, with Shift beside another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flowcut_napari.widgets.curate.desk import CurationDesk
from flowcut_napari.widgets.workbench import Workbench


class ChoosingMouse:
    """Listens to the mouse of the viewer while the match view is in sight."""

    def __init__(self, bench: Workbench, desk: CurationDesk) -> None:
        self._bench = bench
        self._desk = desk
        self._is_on = False

    def set_on(self, on: bool) -> None:
        """Begin or end to listen; may be called again."""
        if on == self._is_on:
            return
        self._is_on = on
        callbacks = self._bench.viewer.mouse_drag_callbacks
        if on:
            callbacks.append(self._on_press)
        elif self._on_press in callbacks:
            callbacks.remove(self._on_press)

    def _on_press(self, viewer: Any, event: Any) -> Iterator[None]:
        """Choose what was pressed and released without being dragged."""
        layers = self._desk.layers
        objects = layers.objects if layers is not None else None
        if objects is None:
            return
        if objects.mode != "pan_zoom" and viewer.layers.selection.active is objects:  # the brush is at work
            y, x = objects.world_to_data(event.position)[-2:]
            if layers is not None and layers.arrangement.side_of(float(y), float(x))[0]:
                self._desk.say("the brush paints on the first frame of a pair; step to this one to paint on it")
            return
        start = event.position
        yield
        while event.type == "mouse_move":
            yield
        if all(abs(a - b) < 2 for a, b in zip(start, event.position, strict=True)):
            y, x = objects.world_to_data(event.position)[-2:]
            self._desk.select(self._desk.key_at(float(y), float(x)), "Shift" in event.modifiers)
