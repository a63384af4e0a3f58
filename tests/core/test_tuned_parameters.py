"""Parameters that are off in the paper's presets: a stopping rule for further cuts, and flow to both sides."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import write_frames

from flowcut_napari.core import ArrayCache, CutParameters, iterative_cut, open_video, segment_video
from flowcut_napari.core.affinity import Cosines
from flowcut_napari.core.bench import synthetic_features
from flowcut_napari.core.models import ModelPlan
from flowcut_napari.core.pseudo_masks import Rejected
from flowcut_napari.core.recipe import as_command
from flowcut_napari.core.store import METHOD_VERSION, load_masks, masks_basis, save_masks
from flowcut_napari.core.story import tell_rejected, tell_stop

GRID = (22, 40)
BASE = CutParameters.preset("handmade").with_changes(height=96, width=128, gap=2, crf=False, max_instances=1)


def test_a_further_cut_above_the_largest_eigenvalue_is_the_last_and_is_told() -> None:
    rgb, motion = synthetic_features(GRID)
    free = iterative_cut(rgb, motion, GRID, CutParameters(max_instances=6, min_area=0))
    values = [cut.eigenvalue for cut in free.cuts]
    assert len(values) >= 3
    # Between the second and the highest of the further ones.
    limit = (sorted(values[1:])[0] + max(values[1:])) / 2
    parameters = CutParameters(max_instances=6, min_area=0, max_eigenvalue=limit)
    found = iterative_cut(rgb, motion, GRID, parameters)
    first_above = next(place for place, value in enumerate(values) if place and value > limit)
    assert found.stop == "weak"
    assert len(found.cuts) == first_above
    for cut, other in zip(found.cuts, free.cuts, strict=False):
        np.testing.assert_array_equal(cut.mask, other.mask)
    assert found.rejected is not None
    assert f"above {limit:g}" in tell_stop(found, parameters)
    told = tell_rejected(Rejected(2, "weak", 0.2, None, 0.3, 0.1, (0, 0)), parameters)
    assert told == f"refused: eigenvalue 0.3, above {limit:g}"


def test_the_first_cut_is_never_refused_for_its_eigenvalue() -> None:
    rgb, motion = synthetic_features(GRID)
    found = iterative_cut(rgb, motion, GRID, CutParameters(max_instances=3, max_eigenvalue=0.0))
    assert len(found.cuts) == 1
    assert found.stop == "weak"


def test_a_weak_stop_is_written_and_read(tmp_path: Path) -> None:
    video = open_video(write_frames(tmp_path / "clip", 3, (96, 128)))
    masks = segment_video(video, BASE.with_changes(max_instances=4, max_overlap=1.0, min_area=0.0, max_eigenvalue=0.0))
    assert {frame.stop for frame in masks.frames} == {"weak"}
    save_masks(masks, tmp_path / "clip.masks.json")
    assert load_masks(tmp_path / "clip.masks.json").frames == masks.frames


def test_masks_of_before_these_parameters_keep_their_basis() -> None:
    known_then = CutParameters().model_dump()
    for name in ("max_eigenvalue", "both_ways"):
        del known_then[name]
    made_with = {"method": METHOD_VERSION, "video": "v", "parameters": known_then, "models": [None, None, None]}
    before = hashlib.sha256(json.dumps(made_with, sort_keys=True).encode()).hexdigest()[:32]
    assert masks_basis("v", CutParameters(), {}) == before
    assert masks_basis("v", CutParameters(max_eigenvalue=0.5), {}) != before
    assert masks_basis("v", CutParameters(both_ways=True), {}) != before


@pytest.mark.parametrize("cached", [False, True])
def test_flow_to_both_sides_is_the_mean_of_both_cosines(tmp_path: Path, cached: bool) -> None:
    video = open_video(write_frames(tmp_path / "clip", 7, (96, 128)))
    cache = ArrayCache(tmp_path / "cache") if cached else None

    def describe(**changes: Any) -> list[Any]:
        describer = ModelPlan.make(BASE.with_changes(**changes), device="cpu", cache=cache).build()
        return list(describer.describe(video, range(7)))

    for _ in range(1 + cached):
        both, forward = describe(both_ways=True), describe()
    for index, (two, one) in enumerate(zip(both, forward, strict=True)):
        assert two.partner == one.partner
        np.testing.assert_array_equal(two.flow, one.flow)
        if index in (2, 3, 4):
            assert two.motion.shape[1] == 2 * one.motion.shape[1]
            halves = [Cosines.of(two.rgb, half).flow for half in np.hsplit(two.motion, 2)]
            mean = (halves[0] + halves[1]) / 2
            np.testing.assert_allclose(Cosines.of(two.rgb, two.motion).flow, mean, atol=1e-5)
            np.testing.assert_allclose(halves[0], Cosines.of(one.rgb, one.motion).flow, atol=1e-5)
        else:  # there is no frame on the other side
            np.testing.assert_array_equal(two.motion, one.motion)


def test_what_is_switched_on_is_an_option_of_the_command() -> None:
    command = as_command(BASE.with_changes(both_ways=True, max_eigenvalue=0.1), "clip")
    assert "--both-ways" in command
    assert "--max-eigenvalue 0.1" in command
    assert "--no-crf" in command
