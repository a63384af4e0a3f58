"""The fused affinity of patches (FlowCut Eq. 1 and 3): one graph from a frame and its flow picture.

The cosines do not depend on alpha or tau. `Cosines` keeps them, so that a moved slider costs one pass over the
matrix and no product of features.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from flowcut_napari.core.errors import InputError


def cosine_matrix(features: np.ndarray) -> np.ndarray:
    """Return the cosines between all patches.

    Parameters
    ----------
    features : (N, C) array
        One row a patch, any scale; a zero row has cosine 0 with everything, itself included.

    Returns
    -------
    (N, N) float32

    Raises
    ------
    InputError
        If the array has another shape or holds NaN or infinity.
    """
    rows = np.asarray(features, dtype=np.float32)
    if rows.ndim != 2:
        raise InputError(f"features have the shape (patches, channels), not {rows.shape}")
    # The sum is finite only if every value is (and nothing overflows); one number is cheaper to test than all.
    if not np.isfinite(rows.sum(dtype=np.float64)):
        raise InputError("the features hold NaN or infinite values")
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    unit = np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 0)
    return unit @ unit.T


_BLOCK = 64


@dataclass(frozen=True)
class Cosines:
    """Cosines of the patches of one frame: of its picture and of its flow, each (N, N) float32.

    `flow` is None where motion plays no part (a single frame, or alpha 1).
    """

    rgb: np.ndarray
    flow: np.ndarray | None

    @classmethod
    def of(cls, rgb: np.ndarray, flow: np.ndarray | None) -> Cosines:
        """Compute them from features (N, C) of any scale; the two may differ in C, not in N."""
        rgb_cosines = cosine_matrix(rgb)
        if flow is None:
            return cls(rgb_cosines, None)
        flow_cosines = cosine_matrix(flow)
        if flow_cosines.shape != rgb_cosines.shape:
            raise InputError(f"{len(rgb_cosines)} patches of the picture but {len(flow_cosines)} of the flow")
        return cls(rgb_cosines, flow_cosines)

    def fused(self, alpha: float) -> np.ndarray:
        """Return ``alpha * rgb + (1 - alpha) * flow``, (N, N) float32; without flow alpha is 1."""
        return _mix(self.rgb, self.flow, alpha)

    def affinity(self, alpha: float, tau: float, eps: float = 1e-5) -> np.ndarray:
        """Return the affinity (Eq. 3): 1 where the fused cosine is above tau, else eps; (N, N) float32."""
        if not 0 <= alpha <= 1:
            raise InputError(f"alpha is {alpha}; it lies between 0 and 1")
        if not 0 <= tau < 1:
            # Painted patches have cosine 0 with all others: below 0 they would hang together again.
            raise InputError(f"tau is {tau}; it lies between 0 and 1")
        affinity = np.empty_like(self.rgb)
        # A block of rows at a time stays in the processor's cache: five times quicker than whole matrices at 3600.
        for start in range(0, len(affinity), _BLOCK):
            rows = slice(start, start + _BLOCK)
            fused = _mix(self.rgb[rows], None if self.flow is None else self.flow[rows], alpha)
            np.maximum(fused > np.float32(tau), np.float32(eps), out=affinity[rows])
        return affinity


def _mix(rgb: np.ndarray, flow: np.ndarray | None, alpha: float) -> np.ndarray:
    if flow is None or alpha == 1:
        return rgb
    fused = rgb - flow
    fused *= np.float32(alpha)
    fused += flow
    return fused


def fused_affinity(
    rgb: np.ndarray, flow: np.ndarray | None, *, alpha: float, tau: float, eps: float = 1e-5
) -> np.ndarray:
    """Return the affinity of all pairs of patches (FlowCut Eq. 1 and 3).

    Each stream is normalised to unit rows, the two cosines are mixed and thresholded:
    ``W = 1 where alpha * cos_rgb + (1 - alpha) * cos_flow > tau, else eps``.

    Parameters
    ----------
    rgb, flow : (N, C) arrays
        Features of the picture and of its flow, any scale. ``flow=None`` means alpha 1.
    alpha : float
        Weight of the picture, 0 to 1.
    tau : float
        Threshold on the fused cosine, 0 to below 1; strict.
    eps : float
        Affinity of patches that do not hang together; above 0 it keeps the graph connected.

    Returns
    -------
    (N, N) float32

    Raises
    ------
    InputError
        (a ``ValueError``) If a value is out of range, shapes do not fit, or features are not finite.
    """
    return Cosines.of(rgb, flow).affinity(alpha, tau, eps)
