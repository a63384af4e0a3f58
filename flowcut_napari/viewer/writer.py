"""A layer of masks as a ``.masks.json`` file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from flowcut_napari.core.decisions import Decisions
from flowcut_napari.core.errors import FlowCutError, InputError, WeightsError, printable
from flowcut_napari.core.models import ModelPlan
from flowcut_napari.core.parameters import CutParameters
from flowcut_napari.core.rerun import carry_over
from flowcut_napari.core.store import SUFFIX, VideoMasks, VideoRecord, save_masks
from flowcut_napari.core.weights import WEIGHTLESS, WeightsFile, locate_weights, sha256_of
from flowcut_napari.viewer.lazy_arrays import MaskLabels
from flowcut_napari.viewer.preferences import Preferences, read_preferences


def write_masks(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write the masks that a layer shows: those of a run, and of the frames that were looked at since.

    Returns
    -------
    list of str
        The file; nothing if it could not be written, and then a notification has said why.
    """
    from napari.utils.notifications import show_error, show_info

    try:
        if not isinstance(data, MaskLabels):
            name = meta.get("name", "this layer")
            raise InputError(f"{name}: only layers with masks of FlowCut can be written as {SUFFIX}")
        target = Path(path if path.endswith(SUFFIX) else f"{path.removesuffix('.json')}{SUFFIX}")
        masks, notes = collect_masks(data)
        save_masks(masks, target)
    except FlowCutError as error:
        # What is raised is shown by napari with all that Python has to say about it.
        show_error(printable(str(error)))
        return []
    for note in notes:
        show_info(printable(note))
    return [str(target)]


def collect_masks(labels: MaskLabels) -> tuple[VideoMasks, list[str]]:
    """Return what a layer shows as the masks of its video, and what is left out, a line each.

    Raises
    ------
    InputError
        If there is nothing yet, or the video is gone.
    """
    results, video = labels.results, labels.video
    fresh, saved = results.fresh_masks(), results.saved
    if not fresh:
        if saved is None:
            raise InputError(f"{video.name}: no frame has masks yet")
        return saved, []
    try:
        record = VideoRecord.of(video)
        files = {index: file for index in fresh if (file := video.frame_file(index)) is not None}
    except OSError as error:
        raise InputError(f"{video.path}: cannot be read any more ({error.strerror or error})") from None
    provenance = made_with(results.parameters, results.weights, results.device, read_preferences())
    frames = tuple(fresh[index] for index in sorted(fresh))
    new = VideoMasks(record, results.parameters, provenance, frames, files)
    # Masks that were made in different ways do not go into one file: it says how all of them were made.
    if saved is None:
        return new, []
    if saved.parameters != new.parameters:
        note = f"{video.name}: left out {len(saved.frames)} frame(s) of before, with masks of other parameters"
        return new, [note]
    if saved.basis != new.basis:
        what = "the video has changed" if saved.video.fingerprint != record.fingerprint else "other models made them"
        note = f"{video.name}: left out {len(frames)} frame(s) that were looked at since the masks were saved: {what}"
        return saved, [note]
    by_index = {frame.index: frame for frame in (*saved.frames, *frames)}
    merged = replace(
        saved,
        frames=tuple(by_index[index] for index in sorted(by_index)),
        files={**saved.files, **files},
        decisions=Decisions(),
    )
    return carry_over(saved, merged), []


def made_with(
    parameters: CutParameters, weights: Mapping[str, Path], device: str, preferences: Preferences
) -> dict[str, Any]:
    """Return the provenance of masks that the computing process made, without asking it.

    `ModelPlan.make` would look for a GPU, and load torch into the window for that.
    """
    names = [parameters.features, parameters.flow] if parameters.uses_flow else [parameters.features]
    found: dict[str, WeightsFile] = {}
    notes = []
    with _environment(preferences.environment()):
        for name in dict.fromkeys(names):
            if name in WEIGHTLESS:
                continue
            try:
                path = locate_weights(name, weights)
                if path is None:
                    raise WeightsError(name)
                found[name] = WeightsFile(name, path, sha256_of(path))
            except InputError:
                notes.append(f"the weights of {name} were gone when this was saved")
    # Which one "auto" came to is known to the computing process alone.
    plan = ModelPlan(parameters, found, "cpu" if set(names) <= set(WEIGHTLESS) else device, None)
    return {**plan.provenance(), "notes": notes, "created": None, "seconds": None}


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Look for files where processes look that are started with these variables; none of them is set here."""
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in variables:
            os.environ.pop(name, None)
