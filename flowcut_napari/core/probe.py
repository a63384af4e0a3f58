"""Why two patches hang together: one row of the affinity, stream by stream (FlowCut Eq. 1 and 3)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from flowcut_napari.core.affinity import Cosines
from flowcut_napari.core.errors import InputError


@dataclass(frozen=True)
class AffinityRow:
    """What one patch shares with all patches.

    Attributes
    ----------
    patch : (row, col)
    picture, fused : (rows, cols) float32
        Cosines of the picture's features, and mixed with those of the flow by alpha.
    flow : (rows, cols) float32 or None
        Cosines of the features of the flow; None where motion plays no part.
    together : (rows, cols) bool
        Where the fused cosine is above tau: the patches that hang together with this one.
    alpha, tau : float
        That they were fused and split with; alpha is 1 where motion plays no part.
    """

    patch: tuple[int, int]
    picture: np.ndarray
    flow: np.ndarray | None
    fused: np.ndarray
    together: np.ndarray
    alpha: float
    tau: float

    @classmethod
    def of(
        cls, cosines: Cosines, grid: tuple[int, int], patch: tuple[int, int], *, alpha: float, tau: float
    ) -> AffinityRow:
        """Take the row of a patch out of the cosines of a frame.

        Raises
        ------
        InputError
            If there is no such patch.
        """
        rows, cols = grid
        row, col = patch
        if not (0 <= row < rows and 0 <= col < cols):
            raise InputError(f"there is no patch {patch} in a grid of {rows}x{cols}")
        own = slice(row * cols + col, row * cols + col + 1)
        one = Cosines(cosines.rgb[own], None if cosines.flow is None else cosines.flow[own])
        fused = one.fused(alpha).reshape(grid).copy()
        return cls(
            patch=patch,
            picture=one.rgb.reshape(grid).copy(),
            flow=None if one.flow is None else one.flow.reshape(grid).copy(),
            fused=fused,
            together=fused > np.float32(tau),
            alpha=1.0 if one.flow is None else alpha,
            tau=tau,
        )

    def explain(self, other: tuple[int, int]) -> str:
        """Say in one line why the patch and another one hang together, or why not.

        Examples
        --------
        >>> row = AffinityRow((0, 0), *(np.full((1, 2), v, np.float32) for v in (0.8, 0.1, 0.59)),
        ...                   np.ones((1, 2), bool), 0.7, 0.15)
        >>> row.explain((0, 1))
        '0.70 x 0.80 (picture) + 0.30 x 0.10 (flow) = 0.59, above tau 0.15: they hang together'
        """
        picture, fused = float(self.picture[other]), float(self.fused[other])
        if self.flow is None:
            sum_of_parts = f"{fused:.2f} (picture alone)"
        else:
            flow = float(self.flow[other])
            sum_of_parts = (
                f"{self.alpha:.2f} x {picture:.2f} (picture) + {1 - self.alpha:.2f} x {flow:.2f} (flow) = {fused:.2f}"
            )
        if self.together[other]:
            return f"{sum_of_parts}, above tau {self.tau:.2f}: they hang together"
        return f"{sum_of_parts}, not above tau {self.tau:.2f}: they do not hang together"
