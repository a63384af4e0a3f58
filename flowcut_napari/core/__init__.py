"""FlowCut from frames to datasets, stages 1 and 2. Needs no window; names are loaded when they are first used.

"METHOD" with a number, here and in the modules, is a section or a choice of docs/method.md.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flowcut_napari.core.affinity import Cosines, fused_affinity
    from flowcut_napari.core.cache import ArrayCache
    from flowcut_napari.core.clips import Clip, CuratedVideo, Yield, curate_video
    from flowcut_napari.core.dataset import ExportPlan, ExportReport, export_dataset
    from flowcut_napari.core.dataset_check import check_dataset
    from flowcut_napari.core.dataset_merge import merge_datasets
    from flowcut_napari.core.dataset_state import DatasetCheck
    from flowcut_napari.core.decisions import (
        ClipVerdict,
        Decisions,
        InstanceVerdict,
        Join,
        Relabel,
        Split,
        TrackletVerdict,
    )
    from flowcut_napari.core.description import FrameDescriber
    from flowcut_napari.core.eigen import NormalizedCut, normalized_cut
    from flowcut_napari.core.errors import FlowCutError, InputError, MissingPackageError, OutputError, WeightsError
    from flowcut_napari.core.flow import flow_picture, partner_frame
    from flowcut_napari.core.matching import Matches, match_instances, match_video
    from flowcut_napari.core.ncut import Cut, IterativeCut, cut_cosines, iterative_cut
    from flowcut_napari.core.parameters import CurationParameters, CutParameters
    from flowcut_napari.core.pseudo_masks import FrameMasks, Instance, segment_frame
    from flowcut_napari.core.refine import refine_mask
    from flowcut_napari.core.rerun import carry_over
    from flowcut_napari.core.run import Segmenter, segment_video
    from flowcut_napari.core.sources import find_masks
    from flowcut_napari.core.store import VideoMasks, load_masks, save_masks
    from flowcut_napari.core.tracklets import Tracklet, chain_matches
    from flowcut_napari.core.video import Video, open_video, open_videos

_HOME = {
    "affinity": ("Cosines", "fused_affinity"),
    "cache": ("ArrayCache",),
    "clips": ("Clip", "CuratedVideo", "Yield", "curate_video"),
    "dataset": ("ExportPlan", "ExportReport", "export_dataset"),
    "dataset_check": ("check_dataset",),
    "dataset_merge": ("merge_datasets",),
    "dataset_state": ("DatasetCheck",),
    "decisions": ("ClipVerdict", "Decisions", "InstanceVerdict", "Join", "Relabel", "Split", "TrackletVerdict"),
    "description": ("FrameDescriber",),
    "errors": ("FlowCutError", "InputError", "MissingPackageError", "OutputError", "WeightsError"),
    "flow": ("flow_picture", "partner_frame"),
    "eigen": ("NormalizedCut", "normalized_cut"),
    "matching": ("Matches", "match_instances", "match_video"),
    "ncut": ("Cut", "IterativeCut", "cut_cosines", "iterative_cut"),
    "parameters": ("CurationParameters", "CutParameters"),
    "pseudo_masks": ("FrameMasks", "Instance", "segment_frame"),
    "refine": ("refine_mask",),
    "rerun": ("carry_over",),
    "run": ("Segmenter", "segment_video"),
    "sources": ("find_masks",),
    "store": ("VideoMasks", "load_masks", "save_masks"),
    "tracklets": ("Tracklet", "chain_matches"),
    "video": ("Video", "open_video", "open_videos"),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "ArrayCache",
    "Clip",
    "ClipVerdict",
    "Cosines",
    "CuratedVideo",
    "CurationParameters",
    "Cut",
    "CutParameters",
    "DatasetCheck",
    "Decisions",
    "ExportPlan",
    "ExportReport",
    "FlowCutError",
    "FrameDescriber",
    "FrameMasks",
    "InputError",
    "Instance",
    "InstanceVerdict",
    "IterativeCut",
    "Join",
    "Matches",
    "MissingPackageError",
    "NormalizedCut",
    "OutputError",
    "Relabel",
    "Segmenter",
    "Split",
    "Tracklet",
    "TrackletVerdict",
    "Video",
    "VideoMasks",
    "WeightsError",
    "Yield",
    "carry_over",
    "chain_matches",
    "check_dataset",
    "curate_video",
    "cut_cosines",
    "export_dataset",
    "find_masks",
    "flow_picture",
    "fused_affinity",
    "iterative_cut",
    "load_masks",
    "match_instances",
    "match_video",
    "merge_datasets",
    "normalized_cut",
    "open_video",
    "open_videos",
    "partner_frame",
    "refine_mask",
    "save_masks",
    "segment_frame",
    "segment_video",
]


def __getattr__(name: str) -> Any:
    """Load a public name from its module when it is first asked for, so that importing one does not import all."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return __all__
