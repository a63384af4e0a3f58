"""The patch that is probed, what hangs together with it, and why."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from qtpy.QtCore import QObject, Signal

from flowcut_napari.core.probe import AffinityRow
from flowcut_napari.viewer.layer_styles import affinity_picture
from flowcut_napari.widgets.story.pictures import mark_patch, upsample_patches
from flowcut_napari.widgets.workbench import Workbench

Part = Literal["picture", "flow", "fused", "above tau"]
# The frame around the patch that is compared; that of the probed one is white.
OTHER_COLOUR = (255, 60, 160)
PARTS: tuple[Part, ...] = get_args(Part)


class ProbeController(QObject):
    """Asks for the affinity of a patch, follows it over frames and sliders, and shows a part of it as a layer.

    Signals
    -------
    changed
        There is another row, another patch to compare with, or none any more.
    """

    changed = Signal()

    def __init__(self, bench: Workbench, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._bench = bench
        self.patch: tuple[int, int] | None = None
        self.other: tuple[int, int] | None = None
        self.part: Part = "fused"
        bench.answered.connect(self._on_answer)
        bench.frame_changed.connect(self._follow)
        bench.parameters_changed.connect(self._follow)
        bench.video_changed.connect(self.clear)

    @property
    def row(self) -> AffinityRow | None:
        """The affinity of the probed patch on this frame."""
        probed = self._bench.probed
        return probed.row if probed is not None and self.patch is not None else None

    def patch_at(self, y: float, x: float) -> tuple[int, int] | None:
        """Return the patch at a place of the frame in pixels, whose centres are whole numbers."""
        grid, video = self._bench.grid, self._bench.video
        if grid is None or video is None or y < -0.5 or x < -0.5:
            return None
        row, col = int((y + 0.5) / video.height * grid[0]), int((x + 0.5) / video.width * grid[1])
        return (row, col) if row < grid[0] and col < grid[1] else None

    def probe(self, patch: tuple[int, int]) -> None:
        """Ask for the affinity of a patch."""
        self.patch, self.other = patch, None
        if self._bench.is_live:
            self._bench.probe(patch)
        self.changed.emit()

    def compare(self, other: tuple[int, int] | None) -> None:
        """Take a second patch, which is compared with the first."""
        if other != self.other:
            self.other = other
            self.changed.emit()

    def choose_part(self, part: Part) -> None:
        """Show another part of the affinity in the canvas."""
        self.part = part
        self._show_layer()
        self.changed.emit()

    def clear(self) -> None:
        """Take the probe away."""
        self.patch = self.other = self._bench.probed = None
        if self._bench.layers is not None:
            self._bench.layers.remove("affinity")
        self.changed.emit()

    def values(self, part: Part) -> np.ndarray | None:
        """Return a part of the affinity row, (rows, cols) float32; None where there is none."""
        row = self.row
        if row is None:
            return None
        if part == "above tau":
            return row.together.astype(np.float32)
        return {"picture": row.picture, "flow": row.flow, "fused": row.fused}[part]

    def picture(self, part: Part, height: int, width: int) -> np.ndarray | None:
        """Return a part of the row as a picture (height, width, 3) uint8, with both patches framed."""
        values = self.values(part)
        if values is None or self.patch is None:
            return None
        picture = upsample_patches(affinity_picture(values), height, width)
        mark_patch(picture, self.patch, values.shape)
        if self.other is not None:
            mark_patch(picture, self.other, values.shape, OTHER_COLOUR)
        return picture

    def tell_row(self) -> str:
        """Say how much hangs together with the patch."""
        row = self.row
        if row is None and not self._bench.is_live:
            return "Live is off: switch it on to probe."
        if row is None:
            return "" if self.patch is None else "…"
        return f"{int(row.together.sum())} of {row.together.size} patches hang together with patch {row.patch}."

    def tell_pair(self) -> str:
        """Say why the two patches hang together, or do not."""
        row = self.row
        if row is None or self.other is None:
            return "" if row is None else "Move the mouse over the picture to compare another patch with it."
        return f"With patch {self.other}: {row.explain(self.other)}."

    def _follow(self) -> None:
        grid = self._bench.grid
        if self.patch is not None and grid is not None and self.patch[0] < grid[0] and self.patch[1] < grid[1]:
            self._bench.probe(self.patch)

    def _on_answer(self, what: str) -> None:
        grid = self._bench.grid
        if self.patch is None or grid is None:
            return
        if self.patch[0] >= grid[0] or self.patch[1] >= grid[1]:
            self.clear()  # of another size of frames, or of patches
        elif what == "probe":
            self._show_layer()
            self.changed.emit()

    def _show_layer(self) -> None:
        values, layers = self.values(self.part), self._bench.layers
        if layers is None:
            return
        if values is None:  # such as the flow's, where none is used
            layers.remove("affinity")
        else:
            layers.show_affinity(values, f"affinity ({self.part})")
