"""Which clip, which frames and which augmentation make sample `g`: all of it a pure function of the seed and of `g`.

Nothing is remembered from one sample to the next, so that training resumed at any step, or spread over other numbers
of workers and processes, sees the same samples.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Literal

import numpy as np

# What random numbers are for; each use draws from a stream of its own.
_ORDER, _DRAWS = 0, 1
Pool = Literal["clips", "stills"]
_POOLS: tuple[Pool, ...] = ("clips", "stills")


@dataclass(frozen=True)
class SamplePlan:
    """Draws clips and stills, `share` of all samples being stills.

    Attributes
    ----------
    seed : int
        0 or more.
    clips, stills : int
        How many there are to draw from; 0 where none is needed.
    share : float
        0 to 1.
    """

    seed: int
    clips: int
    stills: int
    share: float

    def pool(self, sample: int) -> tuple[Pool, int]:
        """Return whether a sample is a clip or a still, and how many of that pool came before it.

        Among the first n samples are floor(n share) stills, evenly spread.
        """
        stills = self._stills_before(sample)
        if self._stills_before(sample + 1) > stills:
            return "stills", stills
        return "clips", sample - stills

    def candidates(self, sample: int, most: int) -> Iterator[tuple[Pool, int]]:
        """Yield the clip of a sample, then those to take in its stead should it be broken: those after it.

        Each epoch visits all of a pool once, in an order of its own. At most `most` are given, none twice.
        """
        pool, before = self.pool(sample)
        count = self.clips if pool == "clips" else self.stills
        epoch, place = divmod(before, count)
        order = _epoch_order(self.seed, _POOLS.index(pool), epoch, count)
        for step in range(min(most, count)):
            yield pool, int(order[(place + step) % count])

    def generator(self, sample: int) -> np.random.Generator:
        """Return the generator of all that is random in a sample but its clip."""
        return np.random.default_rng((self.seed, _DRAWS, sample))

    def _stills_before(self, sample: int) -> int:
        share = _exactly(self.share)
        return sample * share.numerator // share.denominator


@dataclass(frozen=True)
class Schedule:
    """Which samples make the batches of a rank.

    Attributes
    ----------
    batch : int
        Samples of a rank in a batch.
    start, steps : int
        The first step, and the one before which to end.
    rank, world : int
        This process, and how many there are.
    accumulation : int
        Batches a step.
    """

    batch: int
    start: int
    steps: int
    rank: int
    world: int
    accumulation: int

    def __len__(self) -> int:
        return (self.steps - self.start) * self.accumulation

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the numbers of the samples of every batch."""
        for micro in range(self.start * self.accumulation, self.steps * self.accumulation):
            first = (micro * self.world + self.rank) * self.batch
            yield list(range(first, first + self.batch))


@lru_cache(maxsize=256)
def _exactly(share: float) -> Fraction:
    # As it is written: 0.1 is a tenth, not the double that is nearest to it.
    return Fraction(repr(share))


# A batch may lie across the border of two epochs, of both pools.
@lru_cache(maxsize=4)
def _epoch_order(seed: int, pool: int, epoch: int, count: int) -> np.ndarray:
    return np.random.default_rng((seed, _ORDER, pool, epoch)).permutation(count)
