"""The eigenproblem of the normalised cut (FlowCut Eq. 2), quick enough to follow a slider.

The generalised problem (D - W) x = lambda D x is solved as the symmetric one of D^-1/2 W D^-1/2, whose largest
eigenpair is known (sqrt(d), 1) and taken out, by Lanczos, with the dense solver where that does not converge. The
affinity is never copied nor computed again: patches cut earlier are masked inside the product W v.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import numpy as np
import scipy.linalg
from scipy.sparse.linalg import ArpackError, ArpackNoConvergence, LinearOperator, eigsh
from threadpoolctl import ThreadpoolController

from flowcut_napari.core.errors import InputError

# Lanczos needs many more patches than eigenpairs; below this the dense solver is as quick.
_SMALLEST_LANCZOS = 64
# Size of the Krylov space, and how often Lanczos may start again from it before the dense solver is quicker.
_KRYLOV_SIZE = 14
_MOST_RESTARTS = 300
# A graph without a cut: no second component to speak of, or two equally good directions (METHOD choice 15).
_NO_CUT_EIGENVALUE = 0.999
_NO_CUT_EIGENGAP = 1e-6


@dataclass(frozen=True)
class NormalizedCut:
    """The second smallest eigenpair of (D - W) x = lambda D x.

    Attributes
    ----------
    eigenvalue : float
        lambda_2, 0 (two separate parts) to 1 and above (no cut).
    eigengap : float
        lambda_3 - lambda_2; infinite for two patches, which have no third.
    eigenvector : (N,) float64
        x with x' D x = 1; the sign is arbitrary.
    """

    eigenvalue: float
    eigengap: float
    eigenvector: np.ndarray

    @property
    def is_degenerate(self) -> bool:
        """Whether the graph has no definite cut (METHOD choice 15)."""
        return self.eigenvalue > _NO_CUT_EIGENVALUE or self.eigengap < _NO_CUT_EIGENGAP


def normalized_cut(affinity: np.ndarray) -> NormalizedCut:
    """Solve the normalised cut of a graph (FlowCut Eq. 2; Shi & Malik, 2000).

    Parameters
    ----------
    affinity : (N, N) array
        Symmetric, finite, not negative; every patch has some affinity; N is at least 2.

    Raises
    ------
    InputError
        (a ``ValueError``) If it is not such a matrix.
    """
    weights: np.ndarray = np.ascontiguousarray(affinity, dtype=np.float32)
    if weights.ndim != 2 or weights.shape[0] != weights.shape[1] or len(weights) < 2:
        raise InputError(f"an affinity is a square matrix of at least two patches, not {weights.shape}")
    if not np.isfinite(weights).all():
        raise InputError("the affinity holds NaN or infinite values")
    if weights.min() < 0:
        raise InputError("the affinity holds negative values")
    if not np.allclose(weights, weights.T, rtol=1e-5, atol=0):
        raise InputError("the affinity is not symmetric")
    weights = (weights + weights.T) / 2  # what rounding left
    if not (weights.sum(axis=1) > 0).all():
        raise InputError("a patch of the affinity has no affinity at all, not even to itself")
    with one_blas_thread():
        return solve(MaskedGraph(weights, np.zeros(len(weights), dtype=bool), eps=0.0))


@dataclass(frozen=True)
class MaskedGraph:
    """An affinity in which the rows and columns of painted patches count as eps (Eq. 4, METHOD 4.7)."""

    weights: np.ndarray
    painted: np.ndarray
    eps: float

    def degrees(self) -> np.ndarray:
        """Return W 1 in float64: sums in float32 would move the eigenvalues by more than the gap that is tested."""
        degrees = self.weights.sum(axis=1, dtype=np.float64)
        if self.painted.any():
            columns = self.weights[:, self.painted].astype(np.float64)
            degrees += self.eps * columns.shape[1] - columns.sum(axis=1)
            degrees[self.painted] = self.eps * len(degrees)
        return degrees

    def dense(self) -> np.ndarray:
        """Return W as an array of its own, float64."""
        weights = self.weights.astype(np.float64)
        weights[self.painted, :] = self.eps
        weights[:, self.painted] = self.eps
        return weights


def solve(graph: MaskedGraph) -> NormalizedCut:
    """Solve a graph that is known to be valid, within `one_blas_thread`."""
    degrees = graph.degrees()
    scale = 1 / np.sqrt(degrees)
    values_and_vector = None
    if len(degrees) >= _SMALLEST_LANCZOS:
        values_and_vector = _lanczos(graph, degrees, scale)
    if values_and_vector is None:
        values_and_vector = _dense(graph, scale)
    second, third, vector = values_and_vector
    eigenvector = _settle_painted(scale * vector, graph.painted, 1 - second)
    return NormalizedCut(1 - second, second - third, eigenvector)


def _lanczos(graph: MaskedGraph, degrees: np.ndarray, scale: np.ndarray) -> tuple[float, float, np.ndarray] | None:
    """Return (mu_2, mu_3, y_2) of D^-1/2 W D^-1/2, or None where Lanczos does not converge.

    The third pair is looked for with the second taken out: one Krylov space sees a repeated eigenvalue only once, and
    a gap of 0 would be reported as large. Its vector is not needed, and the error of its value is the square of
    the error of its vector: it may converge loosely.
    """
    first = np.sqrt(degrees) / np.sqrt(degrees.sum())
    start, other_start = _starting_vectors(len(degrees))
    try:
        second, vector = _largest_pair(graph, scale, first[None], start, tolerance=1e-8)
        third, _ = _largest_pair(graph, scale, np.stack([first, vector]), other_start, tolerance=1e-6)
    except (ArpackNoConvergence, ArpackError):
        return None
    if third > second + _NO_CUT_EIGENGAP:
        return None  # the first run settled on another pair than the largest
    return second, min(second, third), vector


def _largest_pair(
    graph: MaskedGraph, scale: np.ndarray, known: np.ndarray, start: np.ndarray, tolerance: float
) -> tuple[float, np.ndarray]:
    """Return the largest eigenpair of D^-1/2 W D^-1/2 at right angles to the rows of `known`."""
    weights, eps = graph.weights, graph.eps
    # W v with painted rows and columns at eps is W (kept part of v) on the kept rows, and sums times eps.
    kept_scale = np.where(graph.painted, 0.0, scale)
    any_painted = bool(graph.painted.any())

    def product(vector: np.ndarray) -> np.ndarray:
        flat = vector.ravel()
        kept = kept_scale * flat
        image = kept_scale * (weights @ kept.astype(np.float32))
        if any_painted:
            image += (eps * (scale @ flat)) * scale - (eps * kept.sum()) * kept_scale
        return image - (known @ image) @ known

    operator = LinearOperator((len(scale), len(scale)), matvec=product, dtype=np.float64)
    start = start - (known @ start) @ known
    value, vector = eigsh(operator, k=1, which="LA", v0=start, ncv=_KRYLOV_SIZE, tol=tolerance, maxiter=_MOST_RESTARTS)
    return float(value[0]), vector[:, 0]


@cache
def _starting_vectors(size: int) -> tuple[np.ndarray, np.ndarray]:
    # Fixed, so that the same frame gives the same cut in every run.
    random = np.random.default_rng(size)
    return random.standard_normal(size), random.standard_normal(size)


def _dense(graph: MaskedGraph, scale: np.ndarray) -> tuple[float, float, np.ndarray]:
    symmetric = scale[:, None] * graph.dense() * scale
    size = len(symmetric)
    values, vectors = scipy.linalg.eigh(symmetric, subset_by_index=[max(0, size - 3), size - 1])
    third = float(values[-3]) if size > 2 else -np.inf
    return float(values[-2]), third, vectors[:, -2]


def _settle_painted(eigenvector: np.ndarray, painted: np.ndarray, eigenvalue: float) -> np.ndarray:
    """Give painted patches the one value that the eigenproblem gives them, mean(x) / (1 - lambda) (METHOD 4.7).

    It lies so close to the mean, where the vector is split, that rounding would decide their side.
    """
    count = int(painted.sum())
    if count == 0 or eigenvalue >= 1:
        return eigenvector
    share = count / len(painted) / (1 - eigenvalue)
    if np.isclose(share, 1):  # the vector is that of the painted block itself, and tells no mean
        return eigenvector
    mean = eigenvector[~painted].sum() / len(painted) / (1 - share)
    settled = eigenvector.copy()
    settled[painted] = mean / (1 - eigenvalue)
    return settled


# The number of threads is a setting of the process. Two threads that cap and put back at overlapping times would put
# back each other's cap: only one may be inside.
_cap_lock = threading.RLock()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Cap BLAS at one thread: on shared cores two were up to 100 times slower than one on matrices of this size."""
    with _cap_lock, _threadpools().limit(limits=1, user_api="blas"):
        yield


@cache
def _threadpools() -> ThreadpoolController:
    # Looking for the loaded libraries takes longer than a cut.
    return ThreadpoolController()
