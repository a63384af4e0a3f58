"""The bundled clip in a real napari window."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.gui
OUTPUT = Path(__file__).resolve().parent.parent / "output"


def test_the_sample_opens_on_one_time_axis_and_is_seen() -> None:
    import napari

    viewer = napari.Viewer(show=True)
    try:
        viewer.open_sample("flowcut-napari", "toys")
        assert [layer.name for layer in viewer.layers] == ["toys", "toys ground truth"]
        assert viewer.dims.nsteps[0] == 24
        viewer.dims.set_current_step(0, 6)
        viewer.window.resize(1280, 800)
        picture = viewer.screenshot(canvas_only=False, flash=False)
    finally:
        viewer.close()
    OUTPUT.mkdir(exist_ok=True)
    Image.fromarray(picture).save(OUTPUT / "sample_in_viewer.png")
    # A window that was never drawn is black or of one colour.
    assert len(np.unique(picture[::4, ::4, :3].reshape(-1, 3), axis=0)) > 1000
