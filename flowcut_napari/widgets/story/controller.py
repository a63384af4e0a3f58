"""What the Story tab knows: the pictures of the frame that is looked at, and the patch that is probed."""

from __future__ import annotations

import numpy as np
from qtpy.QtCore import QObject, Signal

from flowcut_napari.core.errors import FlowCutError
from flowcut_napari.core.probe import AffinityRow
from flowcut_napari.widgets.story.pictures import Story, tell_story, thumbnail
from flowcut_napari.widgets.workbench import Workbench

PARTS = ("picture", "flow", "fused", "above tau")


class StoryController(QObject):
    """Makes stories on request, and keeps the probe where it was put.

    Signals
    -------
    probed
        There is an affinity row, or none any more.
    """

    probed = Signal()

    def __init__(self, bench: Workbench) -> None:
        super().__init__()
        self._bench = bench
        self._small: tuple[object, int, int, np.ndarray] | None = None
        self.patch: tuple[int, int] | None = None
        self.other: tuple[int, int] | None = None
        self.part = "fused"
        bench.answered.connect(self._on_answer)
        bench.frame_changed.connect(self._follow)
        bench.parameters_changed.connect(self._follow)
        bench.video_changed.connect(self.clear_probe)

    def frame_picture(self, width: int) -> np.ndarray | None:
        """Return the frame that is looked at in a small size, (h, w, 3) uint8."""
        bench = self._bench
        if bench.video is None:
            return None
        key = bench.video, bench.frame, width
        if self._small is None or self._small[:3] != key:
            try:
                picture = bench.video[bench.frame]
            except FlowCutError:  # the layer says so
                return None
            self._small = (*key, thumbnail(picture, width))
        return self._small[3]

    def flow_picture(self, width: int) -> np.ndarray | None:
        """Return the flow picture of the frame in a small size, (h, w, 3) uint8."""
        picture = self._bench.results.flow_picture(self._bench.frame)
        return None if picture is None else thumbnail(picture, width)

    def story(self, width: int) -> Story | None:
        """Return the story of the frame that is looked at, its pictures so many pixels wide."""
        answer, small = self._bench.answer, self.frame_picture(width)
        if answer is None or small is None:
            return None
        return tell_story(answer, answer.masks, small, answer.parameters)

    # The probe.

    @property
    def row(self) -> AffinityRow | None:
        """The affinity of the probed patch on this frame."""
        probed = self._bench.probed
        return probed.row if probed is not None and self.patch is not None else None

    def patch_at(self, y: float, x: float) -> tuple[int, int] | None:
        """Return the patch at a place of the frame in pixels, whose centres are whole numbers."""
        grid, video = self._bench.grid, self._bench.video
        if grid is None or video is None:
            return None
        row, col = int((y + 0.5) / video.height * grid[0]), int((x + 0.5) / video.width * grid[1])
        return (row, col) if y >= -0.5 and x >= -0.5 and row < grid[0] and col < grid[1] else None

    def probe(self, patch: tuple[int, int]) -> None:
        """Ask for the affinity of a patch."""
        self.patch, self.other = patch, None
        self._bench.probe(patch)

    def compare(self, other: tuple[int, int] | None) -> None:
        """Take a second patch, which is compared with the first."""
        if other != self.other:
            self.other = other
            self.probed.emit()

    def choose_part(self, part: str) -> None:
        """Show another part of the affinity: one of `PARTS`."""
        self.part = part
        self._show_layer()
        self.probed.emit()

    def clear_probe(self) -> None:
        """Take the probe away."""
        self.patch = self.other = self._bench.probed = None
        if self._bench.layers is not None:
            self._bench.layers.remove("affinity")
        self.probed.emit()

    def values(self, part: str) -> np.ndarray | None:
        """Return a part of the affinity row, (rows, cols) float32."""
        row = self.row
        if row is None:
            return None
        return {"picture": row.picture, "flow": row.flow, "fused": row.fused}.get(part, row.together.astype(np.float32))

    def explain(self) -> str:
        """Say what is shown, and why the two patches hang together or do not."""
        row = self.row
        if row is None:
            return "Click a patch in the picture." if self.patch is None else "…"
        count = int(row.together.sum())
        text = f"Patch {row.patch}: {count} of {row.together.size} patches hang together with it."
        return f"{text}\n{self.other}: {row.explain(self.other)}." if self.other is not None else text

    def _follow(self) -> None:
        if self.patch is not None and self._bench.grid is not None:
            rows, cols = self._bench.grid
            if self.patch[0] < rows and self.patch[1] < cols:
                self._bench.probe(self.patch)

    def _on_answer(self, what: str) -> None:
        if what == "probe" and self.patch is not None:
            self._show_layer()
            self.probed.emit()

    def _show_layer(self) -> None:
        values = self.values(self.part)
        if values is None and self.part == "flow":
            values = np.zeros(self._bench.grid or (1, 1), np.float32)
        if values is not None and self._bench.layers is not None:
            self._bench.layers.show_affinity(values, f"affinity ({self.part})")
