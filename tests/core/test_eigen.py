"""The fast solver against the dense generalised one, on graphs of every kind."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st

from flowcut_napari.core import InputError, normalized_cut


def _dense(affinity: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    degrees = np.diag(affinity.sum(axis=1))
    return scipy.linalg.eigh(degrees - affinity, degrees, subset_by_index=[0, min(3, len(affinity) - 1)])


def _binary_graph(labels: np.ndarray, flips: float, seed: int) -> np.ndarray:
    """Patches of one label hang together, others do not; a share of the pairs is the other way round."""
    random = np.random.default_rng(seed)
    together = labels[:, None] == labels
    together ^= np.triu(random.random(together.shape) < flips, 1)
    together = np.triu(together) | np.triu(together, 1).T
    np.fill_diagonal(together, True)
    return np.where(together, 1.0, 1e-5)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 100_000),
    size=st.integers(70, 220),
    parts=st.integers(2, 6),
    flips=st.sampled_from([0.0, 0.001, 0.02, 0.1, 0.3]),
)
def test_eigenpairs_equal_the_dense_ones(seed: int, size: int, parts: int, flips: float) -> None:
    random = np.random.default_rng(seed)
    affinity = _binary_graph(random.integers(0, parts, size), flips, seed)
    cut = normalized_cut(affinity)
    values, vectors = _dense(affinity)
    assert cut.eigenvalue == pytest.approx(values[1], abs=1e-5)
    assert cut.eigengap == pytest.approx(values[2] - values[1], abs=2e-5)
    degrees = affinity.sum(axis=1)
    assert cut.eigenvector @ (degrees * cut.eigenvector) == pytest.approx(1, abs=1e-5)
    if values[2] - values[1] > 1e-3:  # else the direction is not defined to more digits than these
        alignment = abs(cut.eigenvector @ (degrees * vectors[:, 1]))
        assert alignment == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("size", [2, 3, 10, 63, 64, 65])
def test_small_graphs(size: int) -> None:
    labels = np.arange(size) < size // 2
    affinity = _binary_graph(labels, 0.0, 0)
    cut = normalized_cut(affinity)
    assert cut.eigenvalue == pytest.approx(_dense(affinity)[0][1], abs=1e-6)
    side = cut.eigenvector > cut.eigenvector.mean()
    assert np.array_equal(side, labels) or np.array_equal(side, ~labels)


@pytest.mark.parametrize("size", [100, 400])
def test_a_graph_without_a_cut_is_degenerate(size: int) -> None:
    assert normalized_cut(np.ones((size, size))).is_degenerate


@pytest.mark.parametrize(("parts", "size"), [(3, 90), (4, 400), (5, 300)])
def test_a_repeated_eigenvalue_is_seen(parts: int, size: int) -> None:
    # Equal parts: lambda_2 = lambda_3, every direction between them cuts as well. One Krylov space sees it once.
    affinity = _binary_graph(np.arange(size) % parts, 0.0, 0)
    cut = normalized_cut(affinity)
    assert cut.eigengap < 1e-6
    assert cut.is_degenerate


def test_two_parts_of_different_size_are_not_degenerate() -> None:
    cut = normalized_cut(_binary_graph((np.arange(300) < 40).astype(int), 0.0, 0))
    assert not cut.is_degenerate
    assert cut.eigenvalue < 0.01


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda a: a[:, :-1], "square"),
        (lambda a: a[:1, :1], "square"),
        (lambda a: np.where(np.eye(len(a)) > 0, np.nan, a), "NaN"),
        (lambda a: -a, "negative"),
        (lambda a: np.triu(a), "symmetric"),
        (lambda a: a * (np.arange(len(a)) > 0) * (np.arange(len(a)) > 0)[:, None], "no affinity"),
    ],
)
def test_what_is_no_affinity_is_refused(spoil: object, message: str) -> None:
    affinity = _binary_graph(np.arange(80) % 2, 0.05, 0)
    with pytest.raises(InputError, match=message):
        normalized_cut(spoil(affinity))  # type: ignore[operator]


def test_threads_that_overlap_leave_blas_as_it_was() -> None:
    import threading

    from threadpoolctl import threadpool_info

    from flowcut_napari.core.eigen import one_blas_thread

    def threads() -> list[int]:
        return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]

    inside: list[list[int]] = []

    def cap_often() -> None:
        for _ in range(30):
            with one_blas_thread():
                inside.append(threads())

    start = threads()
    workers = [threading.Thread(target=cap_often) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(inside) == 90
    assert {number for numbers in inside for number in numbers} == {1}
    assert threads() == start


def test_the_same_graph_gives_the_same_cut_every_time() -> None:
    affinity = _binary_graph(np.arange(200) % 3, 0.1, 5)
    first, second = normalized_cut(affinity), normalized_cut(affinity)
    assert np.array_equal(first.eigenvector, second.eigenvector)
    assert (first.eigenvalue, first.eigengap) == (second.eigenvalue, second.eigengap)
