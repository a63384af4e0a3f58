"""The figures of a run in few enough pieces to be drawn at once, however long it is."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from flowcut_napari.core.run_history import RunView
from flowcut_napari.core.run_records import FIGURES

# More than a screen has columns.
MOST_PIECES = 4096


@dataclass(frozen=True, eq=False)
class Digest:
    """Figures over pieces of so many logged steps each; over single ones of a run that is not long.

    Attributes
    ----------
    steps : (M,) int64
        The last one of each piece.
    mean, low, high : (9, M) float64
        In the order of `FIGURES`; NaN where nothing of a piece is finite.
    size : int
        Logged steps in a piece.
    """

    steps: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    mean: np.ndarray = field(default_factory=lambda: np.zeros((len(FIGURES), 0)))
    low: np.ndarray = field(default_factory=lambda: np.zeros((len(FIGURES), 0)))
    high: np.ndarray = field(default_factory=lambda: np.zeros((len(FIGURES), 0)))
    size: int = 1

    def figure(self, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return mean, low and high of one of `FIGURES`, (M,) each."""
        row = FIGURES.index(name)
        return self.mean[row], self.low[row], self.high[row]


def digest_of(view: RunView) -> Digest:
    """Return the figures of a run in at most `MOST_PIECES` pieces."""
    count, size = len(view.steps), 1
    # Twice as many each time: pieces are not cut anew with every step.
    while count > MOST_PIECES * size:
        size *= 2
    figures = view.figures
    if size == 1:
        known = np.where(np.isfinite(figures), figures, np.nan)
        return Digest(view.steps, known, known, known)
    firsts = np.arange(0, count, size)
    is_known = np.isfinite(figures)
    if is_known.all():
        sums = np.add.reduceat(figures, firsts, axis=1)
        counts = np.diff(np.append(firsts, count)).astype(float)
        low, high = np.minimum.reduceat(figures, firsts, axis=1), np.maximum.reduceat(figures, firsts, axis=1)
    else:
        sums = np.add.reduceat(np.where(is_known, figures, 0.0), firsts, axis=1)
        counts = np.add.reduceat(is_known, firsts, axis=1, dtype=np.int64).astype(float)
        counts[counts == 0] = np.nan
        known = np.where(is_known, figures, np.nan)
        low, high = np.fmin.reduceat(known, firsts, axis=1), np.fmax.reduceat(known, firsts, axis=1)
    lasts = np.minimum(firsts + size, count) - 1
    return Digest(view.steps[lasts], sums / counts, low, high, size)
