"""A layer of masks as a ``.masks.json`` file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flowcut_napari.core.errors import InputError
from flowcut_napari.core.models import ModelPlan
from flowcut_napari.core.store import SUFFIX, VideoMasks, VideoRecord, save_masks
from flowcut_napari.viewer.lazy_arrays import MaskLabels
from flowcut_napari.viewer.preferences import read_preferences


def write_masks(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write the masks that a layer shows: those of a run, and of the frames that were looked at since.

    Raises
    ------
    InputError
        If the layer is none of FlowCut's, or there is no mask in it yet.
    OutputError
        If the file cannot be written.
    """
    if not isinstance(data, MaskLabels):
        name = meta.get("name", "this layer")
        raise InputError(f"{name}: only layers with masks of FlowCut can be written as {SUFFIX}")
    target = Path(path if path.endswith(SUFFIX) else f"{path.removesuffix('.json')}{SUFFIX}")
    save_masks(collect_masks(data), target)
    return [str(target)]


def collect_masks(labels: MaskLabels) -> VideoMasks:
    """Return what a layer shows as the masks of its video.

    Raises
    ------
    InputError
        If there is nothing yet.
    """
    results, video = labels.results, labels.video
    fresh = results.fresh_masks()
    saved = results.saved
    if saved is not None and saved.parameters == results.parameters:
        return saved
    if saved is not None and not fresh:
        return saved
    if not fresh:
        raise InputError(f"{video.name}: no frame has masks yet")
    # Masks of different parameters do not go into one file: it says how all of them were made.
    machine = read_preferences().machine()
    plan = ModelPlan.make(results.parameters, results.weights, machine.device, fetch=False)
    provenance = {**plan.provenance(), "notes": [], "created": None, "seconds": None}
    files = {index: file for index in fresh if (file := video.frame_file(index)) is not None}
    frames = tuple(fresh[index] for index in sorted(fresh))
    return VideoMasks(VideoRecord.of(video), results.parameters, provenance, frames, files)
