"""How each layer looks: every colour, blending and opacity of the window is chosen here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from flowcut_napari.core.preview import COLOURS

# Eigenvectors: cold where background, warm where object, dark between, so that both sides stand out of it.
COLD, MIDDLE, WARM = (0.30, 0.62, 1.0), (0.07, 0.07, 0.09), (1.0, 0.48, 0.20)
# Affinity rows: from nothing to as alike as can be.
_AFFINITY = ((0.05, 0.05, 0.10), (0.15, 0.35, 0.45), (0.95, 0.85, 0.35))
AXES = ("frame", "y", "x")


@dataclass(frozen=True)
class LayerStyle:
    """What a layer is shown with at first; the user may change all of it."""

    opacity: float = 1.0
    blending: str = "translucent"
    visible: bool = True
    others: dict[str, Any] = field(default_factory=dict)

    def options(self) -> dict[str, Any]:
        """Return the keyword arguments of the layer."""
        return {"opacity": self.opacity, "blending": self.blending, "visible": self.visible, **self.others}


FRAMES = LayerStyle(others={"rgb": True})
FLOW = LayerStyle(visible=False, others={"rgb": True})
EIGENVECTOR = LayerStyle(opacity=0.85, visible=False, others={"contrast_limits": (-1.0, 1.0)})
CUT = LayerStyle(opacity=0.55, visible=False)
MASKS = LayerStyle(opacity=0.55)
OBJECTS = LayerStyle(opacity=0.5)
SEEDS = LayerStyle(visible=False)
AFFINITY = LayerStyle(opacity=0.8, others={"contrast_limits": (0.0, 1.0)})
TRUTH = LayerStyle(opacity=0.5, visible=False)
# Of a ground truth over masks that are compared with it: both are seen. The width is in pixels of the frame.
OUTLINES = LayerStyle(opacity=0.95)
OUTLINE_WIDTH = 3
PREDICTIONS = LayerStyle(opacity=0.55)
DIFFERENCES = LayerStyle(opacity=0.6)
# Told apart by lightness, too: by anybody, and in print. Hit, miss and false of `core.predictions`.
HIT_COLOUR, MISS_COLOUR, FALSE_COLOUR = (86, 180, 233), (255, 236, 90), (200, 60, 0)


def eigenvector_colormap() -> Any:
    """Return the diverging colour map of eigenvectors."""
    from napari.utils.colormaps import Colormap

    return Colormap([(*COLD, 1), (*MIDDLE, 1), (*WARM, 1)], name="flowcut eigenvector")


def affinity_colormap() -> Any:
    """Return the colour map of affinity rows."""
    from napari.utils.colormaps import Colormap

    return Colormap([(*colour, 1) for colour in _AFFINITY], name="flowcut affinity")


def label_colormap(most: int = 256) -> Any:
    """Return the colours of instances by id: the same in every layer, picture and plot; 0 is transparent.

    So are numbers from `most` on.
    """
    from napari.utils.colormaps import DirectLabelColormap

    colours: dict[int | None, Any] = {None: "transparent", 0: "transparent"}
    for number in range(1, most):
        colours[number] = np.array([*(part / 255 for part in COLOURS[(number - 1) % len(COLOURS)]), 1.0])
    return DirectLabelColormap(color_dict=colours)


def object_colormap() -> Any:
    """Return the colours of objects by identity: those of `label_colormap`, for numbers of any height."""
    from napari.utils.colormaps import CyclicLabelColormap

    colours = [[0.0, 0.0, 0.0, 0.0], *([*(part / 255 for part in colour), 1.0] for colour in COLOURS)]
    return CyclicLabelColormap(colors=colours, name="flowcut objects")


def difference_colormap() -> Any:
    """Return the colours of hits, misses and what is false."""
    from napari.utils.colormaps import DirectLabelColormap

    colours: dict[int | None, Any] = {None: "transparent", 0: "transparent"}
    for number, colour in enumerate((HIT_COLOUR, MISS_COLOUR, FALSE_COLOUR), start=1):
        colours[number] = np.array([*(part / 255 for part in colour), 1.0])
    return DirectLabelColormap(color_dict=colours)


def diverging_picture(values: np.ndarray) -> np.ndarray:
    """Draw values of -1 to 1 in the colours of eigenvectors; (rows, cols, 3) uint8."""
    cold, middle, warm = (np.array(colour, np.float32) for colour in (COLD, MIDDLE, WARM))
    share = np.clip(np.abs(values), 0, 1)[..., None]
    ends = np.where(values[..., None] < 0, cold, warm)
    return (255 * (middle + share * (ends - middle))).astype(np.uint8)


def affinity_picture(values: np.ndarray) -> np.ndarray:
    """Draw values of 0 to 1 in the colours of affinity rows; (rows, cols, 3) uint8."""
    stops = np.linspace(0, 1, len(_AFFINITY))
    channels = [np.interp(values, stops, [colour[channel] for colour in _AFFINITY]) for channel in range(3)]
    return (255 * np.stack(channels, axis=-1)).astype(np.uint8)
