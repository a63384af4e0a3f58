"""FlowCut in napari: pseudo-masks for video instance segmentation without a label."""

from __future__ import annotations

__version__ = "0.1.0"
