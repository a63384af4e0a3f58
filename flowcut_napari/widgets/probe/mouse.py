"""The mouse of the affinity probe: a click in the canvas chooses a patch, moving compares others with it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flowcut_napari.widgets.probe.controller import ProbeController
from flowcut_napari.widgets.workbench import Workbench


class ProbeMouse:
    """Listens to the mouse of the viewer while the probe is on."""

    def __init__(self, bench: Workbench, controller: ProbeController) -> None:
        self._bench = bench
        self._controller = controller
        self._is_on = False

    def set_on(self, on: bool) -> None:
        """Begin or end to listen; may be called again."""
        if on == self._is_on:
            return
        self._is_on = on
        viewer = self._bench.viewer
        for callbacks, ours in (
            (viewer.mouse_drag_callbacks, self._on_press),
            (viewer.mouse_move_callbacks, self._on_move),
        ):
            if on:
                callbacks.append(ours)
            else:
                callbacks.remove(ours)

    def _on_press(self, viewer: Any, event: Any) -> Iterator[None]:
        """Probe the patch where the mouse was pressed and released without being dragged."""
        start = event.position
        yield
        while event.type == "mouse_move":
            yield
        if all(abs(a - b) < 2 for a, b in zip(start, event.position, strict=True)) and (patch := self._patch(event)):
            self._controller.probe(patch)

    def _on_move(self, viewer: Any, event: Any) -> None:
        self._controller.compare(self._patch(event) if self._controller.row is not None else None)

    def _patch(self, event: Any) -> tuple[int, int] | None:
        y, x = event.position[-2:]
        return self._controller.patch_at(float(y), float(x))
