from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from flowcut_napari.core import Cosines, InputError, fused_affinity


def _by_hand(rgb: np.ndarray, flow: np.ndarray | None, alpha: float, tau: float, eps: float) -> np.ndarray:
    """Eq. 1 and 3 pair by pair."""

    def cosine(a: np.ndarray, b: np.ndarray) -> float:
        norms = np.linalg.norm(a) * np.linalg.norm(b)
        return float(a @ b / norms) if norms else 0.0

    count = len(rgb)
    affinity = np.empty((count, count))
    for i in range(count):
        for j in range(count):
            fused = cosine(rgb[i], rgb[j])
            if flow is not None:
                fused = alpha * fused + (1 - alpha) * cosine(flow[i], flow[j])
            affinity[i, j] = 1 if fused > tau else eps
    return affinity


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    alpha=st.sampled_from([0.0, 0.3, 0.5, 0.7, 1.0]),
    tau=st.sampled_from([0.0, 0.15, 0.4]),
    with_flow=st.booleans(),
)
def test_it_is_the_thresholded_mix_of_cosines(seed: int, alpha: float, tau: float, with_flow: bool) -> None:
    random = np.random.default_rng(seed)
    rgb = random.standard_normal((12, 5)) * random.uniform(0.01, 100, (12, 1))
    rgb[3] = 0  # a patch without features hangs together with nothing, not even itself
    flow = random.standard_normal((12, 7)) if with_flow else None
    affinity = fused_affinity(rgb, flow, alpha=alpha, tau=tau)
    assert affinity.dtype == np.float32
    assert_allclose(affinity, _by_hand(rgb, flow, alpha, tau, 1e-5), rtol=1e-6)


def test_the_threshold_is_strict() -> None:
    rgb = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    assert fused_affinity(rgb, None, alpha=1, tau=0.0)[0, 2] == np.float32(1e-5)


def test_without_flow_alpha_plays_no_part(random: np.random.Generator) -> None:
    rgb = random.standard_normal((20, 8))
    assert np.array_equal(fused_affinity(rgb, None, alpha=0.2, tau=0.1), fused_affinity(rgb, None, alpha=1, tau=0.1))


def test_streams_may_differ_in_channels_but_not_in_patches(random: np.random.Generator) -> None:
    rgb = random.standard_normal((20, 8))
    assert fused_affinity(rgb, random.standard_normal((20, 3)), alpha=0.5, tau=0.1).shape == (20, 20)
    with pytest.raises(InputError, match="20 patches of the picture but 19 of the flow"):
        fused_affinity(rgb, random.standard_normal((19, 8)), alpha=0.5, tau=0.1)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_features_that_are_not_finite_are_refused(random: np.random.Generator, bad: float) -> None:
    rgb = random.standard_normal((20, 8))
    rgb[7, 2] = bad
    with pytest.raises(InputError, match="NaN or infinite"):
        fused_affinity(rgb, None, alpha=1, tau=0.1)


@pytest.mark.parametrize(("alpha", "tau"), [(1.2, 0.1), (-0.1, 0.1), (0.5, -0.2), (0.5, 1.0), (float("nan"), 0.1)])
def test_values_out_of_range_are_refused(random: np.random.Generator, alpha: float, tau: float) -> None:
    rgb = random.standard_normal((4, 8))
    with pytest.raises(ValueError, match="between 0 and 1"):
        fused_affinity(rgb, rgb, alpha=alpha, tau=tau)


def test_cosines_at_hand_give_the_same_affinity(random: np.random.Generator) -> None:
    rgb, flow = random.standard_normal((2, 30, 8))
    cosines = Cosines.of(rgb, flow)
    for alpha, tau in ((0.0, 0.1), (0.4, 0.2), (1.0, 0.3)):
        assert np.array_equal(cosines.affinity(alpha, tau), fused_affinity(rgb, flow, alpha=alpha, tau=tau))
