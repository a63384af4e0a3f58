from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from flowcut_napari.core import Cosines, InputError, fused_affinity
from flowcut_napari.core.affinity import cosine_matrix
from flowcut_napari.core.probe import AffinityRow

GRID = (4, 6)


def _features(seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return random.standard_normal((24, 5)), random.standard_normal((24, 3))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 1000),
    row=st.integers(0, 3),
    col=st.integers(0, 5),
    alpha=st.floats(0, 1),
    tau=st.floats(0, 0.99),
    with_flow=st.booleans(),
)
def test_it_is_the_row_of_the_affinity_that_the_cuts_use(
    seed: int, row: int, col: int, alpha: float, tau: float, with_flow: bool
) -> None:
    rgb, flow = _features(seed)
    cosines = Cosines.of(rgb, flow if with_flow else None)
    found = AffinityRow.of(cosines, GRID, (row, col), alpha=alpha, tau=tau)
    place = row * 6 + col
    assert_allclose(found.picture.ravel(), cosine_matrix(rgb)[place], atol=1e-6)
    assert_allclose(found.fused.ravel(), cosines.fused(alpha)[place], atol=1e-6)
    affinity = fused_affinity(rgb, flow if with_flow else None, alpha=alpha, tau=tau)
    assert_array_equal(found.together.ravel(), affinity[place] == 1)
    assert found.together[row, col]
    if with_flow:
        assert found.flow is not None
        assert_allclose(found.flow.ravel(), cosine_matrix(flow)[place], atol=1e-6)
    else:
        assert (found.flow, found.alpha) == (None, 1.0)


def test_it_does_not_hold_on_to_the_large_matrices() -> None:
    cosines = Cosines.of(*_features(0))
    row = AffinityRow.of(cosines, GRID, (1, 1), alpha=1.0, tau=0.1)
    for part in (row.picture, row.flow, row.fused):
        assert not np.shares_memory(part, cosines.rgb)
        assert part.base is None or part.base.nbytes <= part.nbytes


@pytest.mark.parametrize("patch", [(4, 0), (0, 6), (-1, 0), (0, -1)])
def test_a_patch_outside_the_grid_is_refused(patch: tuple[int, int]) -> None:
    with pytest.raises(InputError, match="in a grid of 4x6"):
        AffinityRow.of(Cosines.of(*_features(0)), GRID, patch, alpha=0.5, tau=0.1)


def test_the_explanation_adds_up_and_agrees_with_the_affinity() -> None:
    row = AffinityRow.of(Cosines.of(*_features(3)), GRID, (1, 1), alpha=0.6, tau=0.2)
    verdicts = set()
    for other in np.ndindex(GRID):
        text = row.explain(other)
        assert text.endswith("they hang together" if row.together[other] else "they do not hang together")
        alpha, picture, rest, flow, fused, tau = map(float, re.findall(r"-?\d\.\d\d", text))
        assert alpha * picture + rest * flow == pytest.approx(fused, abs=0.011)
        assert (alpha + rest, tau) == (1, 0.2)
        verdicts.add(bool(row.together[other]))
    assert verdicts == {True, False}


def test_without_flow_the_picture_is_all_there_is_to_say() -> None:
    row = AffinityRow.of(Cosines.of(_features(3)[0], None), GRID, (1, 1), alpha=0.6, tau=0.2)
    assert row.explain((1, 1)) == "1.00 (picture alone), above tau 0.20: they hang together"
