"""The normalised cut and its iteration (FlowCut section 3.2, Eq. 2 and 4).

`normalized_cut` solves one graph, `bipartition` and `foreground` turn its eigenvector into an object, `iterative_cut`
takes object after object, setting the affinity of what was cut to eps each time.

Two things make this quick. The generalised problem (D - W) x = lambda D x is solved as the symmetric one of
D^-1/2 W D^-1/2, whose largest eigenpair is known (sqrt(d), 1) and taken out, by Lanczos. And the affinity is never
copied nor computed again: cut patches are masked inside the product W v.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
import scipy.linalg
from scipy import ndimage
from scipy.sparse.linalg import ArpackError, ArpackNoConvergence, LinearOperator, eigsh
from threadpoolctl import ThreadpoolController

from flowcut_napari.core.affinity import Cosines
from flowcut_napari.core.errors import InputError
from flowcut_napari.core.masks import mask_iou
from flowcut_napari.core.parameters import CutParameters

StopReason = Literal["max_instances", "duplicate", "too_small", "degenerate"]

# Lanczos needs many more patches than eigenpairs; below this the dense solver is as quick.
_SMALLEST_LANCZOS = 64
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


@dataclass(frozen=True)
class Cut:
    """One iteration of the normalised cut on a grid of patches.

    Attributes
    ----------
    iteration : int
        From 1.
    mask : (rows, cols) bool
        The object without what earlier cuts took.
    raw_mask : (rows, cols) bool
        The object as it was cut; this is what later iterations leave out.
    eigenvector : (rows, cols) float64
        Oriented so that the object is positive.
    seed : (row, col)
        The patch with the largest value; the object is the connected part that holds it.
    eigenvalue, eigengap : float
        As in `NormalizedCut`.
    overlap : float
        Largest IoU of `raw_mask` with an earlier raw mask.
    """

    iteration: int
    mask: np.ndarray
    raw_mask: np.ndarray
    eigenvector: np.ndarray
    seed: tuple[int, int]
    eigenvalue: float
    eigengap: float
    overlap: float


@dataclass(frozen=True)
class IterativeCut:
    """The accepted cuts of a frame, why there are no more, and the cut that was refused (if one was)."""

    cuts: tuple[Cut, ...]
    stop: StopReason
    rejected: Cut | None = None


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
    weights = np.ascontiguousarray(affinity, dtype=np.float32)
    if weights.ndim != 2 or weights.shape[0] != weights.shape[1] or len(weights) < 2:
        raise InputError(f"an affinity is a square matrix of at least two patches, not {weights.shape}")
    if not np.isfinite(weights).all():
        raise InputError("the affinity holds NaN or infinite values")
    if weights.min() < 0:
        raise InputError("the affinity holds negative values")
    if not np.array_equal(weights, weights.T):
        raise InputError("the affinity is not symmetric")
    if not (weights.sum(axis=1) > 0).all():
        raise InputError("a patch of the affinity has no affinity at all, not even to itself")
    with _one_blas_thread():
        return _solve(_MaskedGraph(weights, np.zeros(len(weights), dtype=bool), eps=0.0))


def iterative_cut(
    rgb: np.ndarray, flow: np.ndarray | None, grid: tuple[int, int], parameters: CutParameters
) -> IterativeCut:
    """Cut object after object out of one frame (FlowCut section 3.2).

    Stops at the first cut that is refused, because the next would be the same: when it has no definite
    direction (``degenerate``), when it repeats an accepted cut (``duplicate``), when it is too small
    (``too_small``, not asked of the first cut), or when there are enough (``max_instances``).

    Parameters
    ----------
    rgb, flow : (N, C) arrays
        Features of the picture and of its flow, any scale; ``flow=None`` means alpha 1.
    grid : (rows, cols)
        Rows of features are patches in row-major order; N = rows * cols.
    parameters : CutParameters
        alpha, tau, eps, max_instances, min_area, max_overlap are used.

    Raises
    ------
    InputError
        (a ``ValueError``) If shapes do not fit or features are not finite.
    """
    with _one_blas_thread():
        cosines = Cosines.of(rgb, flow)
    return cut_cosines(cosines, grid, parameters)


def cut_cosines(cosines: Cosines, grid: tuple[int, int], parameters: CutParameters) -> IterativeCut:
    """Do what `iterative_cut` does from cosines that are at hand: what a moved slider of alpha or tau costs."""
    rows, cols = grid
    if rows * cols != len(cosines.rgb):
        raise InputError(f"a grid of {rows}x{cols} has {rows * cols} patches, the features have {len(cosines.rgb)}")
    affinity = cosines.affinity(parameters.alpha, parameters.tau, parameters.eps)
    painted = np.zeros(grid, dtype=bool)
    cuts: list[Cut] = []
    with _one_blas_thread():
        for iteration in range(1, parameters.max_instances + 1):
            if painted.all():
                return IterativeCut(tuple(cuts), "degenerate")
            solution = _solve(_MaskedGraph(affinity, painted.ravel(), parameters.eps))
            eigenvector, raw_mask, seed = foreground(solution.eigenvector.reshape(grid))
            overlap = max((mask_iou(cut.raw_mask, raw_mask) for cut in cuts), default=0.0)
            cut = Cut(
                iteration=iteration,
                mask=raw_mask & ~painted,
                raw_mask=raw_mask,
                eigenvector=eigenvector,
                seed=seed,
                eigenvalue=solution.eigenvalue,
                eigengap=solution.eigengap,
                overlap=overlap,
            )
            if solution.is_degenerate:
                return IterativeCut(tuple(cuts), "degenerate", cut)
            if overlap > parameters.max_overlap:
                return IterativeCut(tuple(cuts), "duplicate", cut)
            # The first mask has no size test: a frame with one small object is not an empty frame.
            if cuts and raw_mask.sum() <= parameters.min_area * raw_mask.size:
                return IterativeCut(tuple(cuts), "too_small", cut)
            cuts.append(cut)
            painted |= raw_mask
    return IterativeCut(tuple(cuts), "max_instances")


def foreground(eigenvector: np.ndarray) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
    """Turn an eigenvector into an object: side, seed, connected part (METHOD 4.2 to 4.4).

    The vector is split at its mean. The object is not the side that holds three or four corners of the picture;
    where the corners do not tell, it is the side of the largest absolute value.

    Parameters
    ----------
    eigenvector : (rows, cols) array
        Of either sign.

    Returns
    -------
    oriented : (rows, cols) array
        The eigenvector, turned so that the object is positive.
    mask : (rows, cols) bool
        The 4-connected part of the object's side that holds the seed.
    seed : (row, col)
        The largest value of the oriented vector.
    """
    side = eigenvector > eigenvector.mean()
    corners = int(side[0, 0]) + int(side[0, -1]) + int(side[-1, 0]) + int(side[-1, -1])
    if corners >= 3 or not side.flat[np.abs(eigenvector).argmax()]:
        eigenvector, side = -eigenvector, ~side
    row, col = divmod(int(eigenvector.argmax()), eigenvector.shape[1])
    labels, _ = ndimage.label(side)
    # Label 0 is the other side: only a vector without any contrast puts the seed there.
    mask = labels == labels[row, col] if labels[row, col] else np.zeros_like(side)
    return eigenvector, mask, (row, col)


@dataclass(frozen=True)
class _MaskedGraph:
    """An affinity in which the rows and columns of painted patches count as eps (Eq. 4, METHOD 4.7)."""

    weights: np.ndarray
    painted: np.ndarray
    eps: float

    def times(self, vector: np.ndarray) -> np.ndarray:
        """Return W v, with one product of the float32 matrix that stays as it is."""
        if not self.painted.any():
            return (self.weights @ vector.astype(np.float32)).astype(np.float64)
        total = vector.sum()
        kept = np.where(self.painted, 0.0, vector)
        product = (self.weights @ kept.astype(np.float32)).astype(np.float64)
        product += self.eps * (total - kept.sum())
        product[self.painted] = self.eps * total
        return product

    def degrees(self) -> np.ndarray:
        """Return W 1 in float64: sums in float32 would move the eigenvalues by more than the gap that is tested."""
        degrees = self.weights.sum(axis=1, dtype=np.float64)
        if self.painted.any():
            columns = self.weights[:, self.painted].astype(np.float64)
            degrees += self.eps * columns.shape[1] - columns.sum(axis=1)
            degrees[self.painted] = self.eps * len(degrees)
        return degrees

    def dense(self) -> np.ndarray:
        weights = self.weights.astype(np.float64)
        weights[self.painted, :] = self.eps
        weights[:, self.painted] = self.eps
        return weights


def _solve(graph: _MaskedGraph) -> NormalizedCut:
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


def _lanczos(graph: _MaskedGraph, degrees: np.ndarray, scale: np.ndarray) -> tuple[float, float, np.ndarray] | None:
    """Return (mu_2, mu_3, y_2) of D^-1/2 W D^-1/2, or None where Lanczos does not converge.

    The third pair is looked for with the second taken out: one Krylov space sees a repeated eigenvalue only once, and
    a gap of 0 would be reported as large.
    """
    known = [np.sqrt(degrees) / np.sqrt(degrees.sum())]
    values, vectors = [], []
    for start in _starting_vectors(len(degrees)):
        basis = np.stack(known)

        def product(vector: np.ndarray, basis: np.ndarray = basis) -> np.ndarray:
            flat = vector.ravel()
            image = scale * graph.times(scale * flat)
            return image - basis.T @ (basis @ image)

        operator = LinearOperator((len(degrees), len(degrees)), matvec=product, dtype=np.float64)
        start = start - basis.T @ (basis @ start)
        try:
            value, vector = eigsh(operator, k=1, which="LA", v0=start, tol=1e-8, maxiter=200)
        except (ArpackNoConvergence, ArpackError):
            return None
        values.append(float(value[0]))
        vectors.append(vector[:, 0])
        known.append(vector[:, 0])
    return values[0], min(values[1], values[0]), vectors[0]


@cache
def _starting_vectors(size: int) -> tuple[np.ndarray, np.ndarray]:
    # Fixed, so that the same frame gives the same cut in every run.
    random = np.random.default_rng(size)
    return random.standard_normal(size), random.standard_normal(size)


def _dense(graph: _MaskedGraph, scale: np.ndarray) -> tuple[float, float, np.ndarray]:
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
    mean = eigenvector[~painted].sum() / len(painted) / (1 - share)
    settled = eigenvector.copy()
    settled[painted] = mean / (1 - eigenvalue)
    return settled


@cache
def _threadpools() -> ThreadpoolController:
    # Looking for the loaded libraries takes longer than a cut.
    return ThreadpoolController()


def _one_blas_thread():  # type: ignore[no-untyped-def]  # the context manager's type is private to threadpoolctl
    """Cap BLAS at one thread: on shared cores two were up to 100 times slower than one on matrices of this size."""
    return _threadpools().limit(limits=1, user_api="blas")
