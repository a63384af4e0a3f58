from __future__ import annotations

import numpy as np
import pytest
from conftest import data_path
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from flowcut_napari.core import CutParameters, InputError, iterative_cut
from flowcut_napari.core.bench import synthetic_features
from flowcut_napari.core.ncut import foreground
from flowcut_napari.core.reference import dense_affinity, dense_iterative_cut, dense_second_vector


@pytest.mark.parametrize("case", ["a05_tau3", "a1_three_blobs", "n6_stop", "tall"])
def test_it_equals_the_reference_programs(case: str) -> None:
    with np.load(data_path("evalrefs", "ncut", f"{case}.npz")) as expected:
        expected = dict(expected)
    grid = tuple(int(side) for side in expected["grid"])
    parameters = CutParameters(
        alpha=float(expected["alpha"]), tau=float(expected["tau"]), max_instances=int(expected["max_instances"])
    )
    result = iterative_cut(expected["rgb"], expected["flow"], grid, parameters)  # type: ignore[arg-type]
    assert result.stop == str(expected["stop"])
    assert len(result.cuts) == len(expected["masks"])
    for cut, mask, raw_mask, eigenvalue, eigengap, eigenvector in zip(
        result.cuts,
        expected["masks"],
        expected["raw_masks"],
        expected["eigenvalues"],
        expected["eigengaps"],
        expected["eigenvectors"],
        strict=True,
    ):
        assert np.array_equal(cut.mask, mask)
        assert np.array_equal(cut.raw_mask, raw_mask)
        assert cut.eigenvalue == pytest.approx(eigenvalue, abs=1e-4)
        assert cut.eigengap == pytest.approx(eigengap, abs=1e-4)
        assert_allclose(cut.eigenvector, eigenvector, atol=1e-3 * np.abs(eigenvector).max())
        assert cut.eigenvector[cut.seed] == cut.eigenvector.max()
        assert cut.raw_mask[cut.seed]


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 1000),
    grid=st.sampled_from([(12, 20), (20, 11), (16, 16)]),
    alpha=st.sampled_from([0.3, 0.7, 1]),
)
def test_every_cut_is_that_of_the_dense_solver(seed: int, grid: tuple[int, int], alpha: float) -> None:
    rgb, flow = synthetic_features(grid, channels=64, seed=seed)
    parameters = CutParameters(alpha=alpha, tau=0.2, max_instances=4)
    result = iterative_cut(rgb, flow, grid, parameters)
    cuts = (*result.cuts, *([result.rejected] if result.rejected is not None else []))
    assert cuts
    for cut in cuts:
        second, third, vector = dense_second_vector(dense_affinity(rgb, flow if alpha < 1 else None, parameters))
        assert cut.eigenvalue == pytest.approx(second, abs=1e-5)
        # A refused cut is often the block of cut patches itself, all of one value: any part of it may hold the seed.
        # And without a gap the direction is not defined to more digits than the gap.
        if cut is not result.rejected and third - second > 1e-3:
            # The rule of the side can depend on the sign of the vector, which no solver defines.
            either = [foreground(sign * vector.reshape(grid))[1] for sign in (1, -1)]
            assert any(np.array_equal(cut.raw_mask, mask) for mask in either)
        rgb[cut.raw_mask.ravel()] = 0
        flow[cut.raw_mask.ravel()] = 0


def test_the_masks_equal_those_of_the_dense_loop() -> None:
    grid = (22, 40)
    parameters = CutParameters(max_instances=4)
    result = iterative_cut(*synthetic_features(grid), grid, parameters)
    expected = dense_iterative_cut(*synthetic_features(grid), grid, parameters)
    assert len(result.cuts) == len(expected) >= 3
    for cut, mask in zip(result.cuts, expected, strict=True):
        assert np.array_equal(cut.mask, mask)


def test_masks_are_disjoint_and_the_object_is_positive() -> None:
    grid = (22, 40)
    result = iterative_cut(*synthetic_features(grid), grid, CutParameters(max_instances=3))
    assert [cut.iteration for cut in result.cuts] == [1, 2, 3]
    assert np.sum([cut.mask for cut in result.cuts], axis=0).max() == 1
    for cut in result.cuts:
        assert cut.eigenvector[cut.raw_mask].mean() > cut.eigenvector[~cut.raw_mask].mean()


def test_a_blank_frame_has_no_objects_and_says_so() -> None:
    result = iterative_cut(np.ones((60, 4)), np.ones((60, 4)), (6, 10), CutParameters())
    assert result.cuts == ()
    assert result.stop == "degenerate"
    assert result.rejected is not None


def test_features_without_any_value_are_a_blank_frame() -> None:
    assert iterative_cut(np.zeros((880, 4)), None, (22, 40), CutParameters()).stop == "degenerate"


def test_the_refused_cut_is_kept_with_its_overlap() -> None:
    with np.load(data_path("evalrefs", "ncut", "n6_stop.npz")) as case:
        result = iterative_cut(case["rgb"], case["flow"], (22, 40), CutParameters(alpha=0.7, tau=0.2, max_instances=6))
    assert result.stop == "duplicate"
    assert result.rejected is not None
    assert result.rejected.iteration == len(result.cuts) + 1
    overlaps = [
        (result.rejected.raw_mask & cut.raw_mask).sum() / (result.rejected.raw_mask | cut.raw_mask).sum()
        for cut in result.cuts
    ]
    assert result.rejected.overlap == pytest.approx(max(overlaps))
    assert result.rejected.overlap > 0.5


def test_the_first_cut_may_be_small_but_no_other(random: np.random.Generator) -> None:
    grid = (20, 20)
    features = np.zeros((400, 16))
    features[:, 0] = 1
    features += 0.05 * random.standard_normal(features.shape)
    features[205] = np.eye(16)[1]
    result = iterative_cut(features, None, grid, CutParameters(min_area=0.05))
    assert len(result.cuts) >= 1
    assert result.cuts[0].raw_mask.sum() < 0.05 * 400


def test_a_grid_that_does_not_fit_is_refused(random: np.random.Generator) -> None:
    with pytest.raises(InputError, match="a grid of 5x5 has 25 patches, the features have 24"):
        iterative_cut(random.standard_normal((24, 3)), None, (5, 5), CutParameters())


def test_the_side_with_the_corners_is_background() -> None:
    eigenvector = np.full((6, 6), 0.1)
    eigenvector[2:4, 2:4] = -1.0  # the object is negative and has the largest absolute value
    oriented, mask, seed = foreground(eigenvector)
    assert mask.sum() == 4
    assert mask[seed]
    assert oriented[seed] == 1.0
    for sign in (1, -1):
        assert np.array_equal(foreground(sign * eigenvector)[1], mask)


def test_only_the_part_that_holds_the_seed_is_the_object() -> None:
    eigenvector = np.full((8, 8), -0.1)
    eigenvector[1:3, 1:3] = 0.9
    eigenvector[5:7, 5:7] = 1.0
    eigenvector[3, 3] = 0.9  # touches the first part at a corner only, which does not connect
    _, mask, seed = foreground(eigenvector)
    assert seed == (5, 5)
    assert mask.sum() == 4
