"""A histogram as a threshold search sees it: exact zeros left out, positions in bins, the codes' cells at hand."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from deepseek_core.calibration.stats import BINS, TensorStats
from deepseek_core.scheme import QuantScheme

__all__ = ["Array", "Density", "density"]

Array = NDArray[np.float64]

CANDIDATES = 512
"""Thresholds tried on each side, 1.6 % apart: as fine for a narrow bulk beside far outliers as for a full range."""


@dataclass(frozen=True)
class Density:
    """How often each small interval of values occurs.

    Exact zeros are left out: every scheme represents 0 without error, so they neither cost nor gain anything, but
    behind a ReLU they would be a spike that outweighs all else.

    Attributes:
        mass: float64 [B], occurrences, taken as evenly spread inside a bin; bin i covers [i − zero, i + 1 − zero).
        zero: index of the bin that starts at real 0.
        low, high: smallest (≤ 0) and largest (≥ 0) value, in bins.
        width: bin width in real units.
        levels: number of codes.
        symmetric: the middle code is 0, and `high` alone makes the range.
    """

    mass: Array
    zero: int
    low: float
    high: float
    width: float
    levels: int
    symmetric: bool

    @cached_property
    def total(self) -> float:
        return float(self.mass.sum())

    @property
    def resolves_codes(self) -> bool:
        """Whether there is anything to search: values other than 0, and bins finer than codes."""
        return bool(self.total) and self.levels < self.high - self.low

    @cached_property
    def lows(self) -> Array:
        """Candidates for the lower end in bins, widest first; only 0, to be ignored, when symmetric."""
        if self.symmetric:
            return np.zeros(1)
        return np.maximum(-_thresholds(self.mass[: self.zero][::-1]), self.low)

    @cached_property
    def highs(self) -> Array:
        """Candidates for the upper end in bins, widest first; those for both ends when symmetric."""
        if self.symmetric:
            folded = self.mass[self.zero :] + self.mass[: self.zero][::-1]
            return np.minimum(_thresholds(folded), max(-self.low, self.high))
        return np.minimum(_thresholds(self.mass[self.zero :]), self.high)

    def cells(self, low: Array, high: Array) -> tuple[Array, Array]:
        """What each code of C candidate ranges stands for, and owns: the values that round or saturate to it.

        Args:
            low, high: float64 [C], in bins, with low ≤ 0 ≤ high and low < high; symmetric: `low` is not used.

        Returns:
            centres [C, L] and edges [C, L + 1] of the L codes' cells, in bins. The codes are aligned so that 0 is one
            of them, as `QParams.from_range` does; the outer cells reach to the ends of the density.
        """
        if self.symmetric:
            zero = np.full(high.shape, float(self.levels // 2))
            step = high / (self.levels - 1 - zero)
        else:
            step = (high - low) / (self.levels - 1)
            zero = np.rint(-low / step)
        centres = (np.arange(self.levels) - zero[:, None]) * step[:, None]
        edges = np.empty((len(step), self.levels + 1))
        edges[:, 1:-1] = centres[:, 1:] - step[:, None] / 2
        edges[:, 0], edges[:, -1] = -self.zero, self.mass.size - self.zero
        return centres, edges

    def real(self, low: float, high: float) -> tuple[float, float]:
        """A range given in bins, in real units."""
        low, high = float(low) * self.width + 0.0, float(high) * self.width
        return (-high, high) if self.symmetric else (low, high)


def density(stats: TensorStats, scheme: QuantScheme) -> Density:
    """The search problem of a tensor under an integer scheme."""
    mass = stats.ascending().astype(np.float64)
    mass[BINS] -= stats.zeros
    low, high = min(stats.min, 0.0) / stats.width, max(stats.max, 0.0) / stats.width
    return Density(mass, BINS, low, high, stats.width, scheme.levels, scheme.symmetric)


def _thresholds(side: Array) -> Array:
    """Bin edges in geometric progression, from the outermost occupied one down; 0 for an empty side."""
    outermost = np.max(np.flatnonzero(side), initial=-1) + 1
    return np.unique(np.geomspace(outermost, 1, CANDIDATES).round())[::-1] if outermost else np.zeros(1)
