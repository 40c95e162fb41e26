"""A histogram as a threshold search sees it: exact zeros left out, positions in bins, running sums at hand."""

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
"""Thresholds tried on each side: steps of 0.2 % of the range."""


@dataclass(frozen=True)
class Density:
    """How often each small interval of values occurs.

    Exact zeros are left out: every scheme represents 0 without error, so they neither cost nor gain anything, but
    behind a ReLU they would be a spike that outweighs all else.

    Attributes:
        mass: float64 [B], occurrences; bin i covers [i − zero, i + 1 − zero) · width.
        zero: index of the bin that starts at real 0.
        low, high: smallest (≤ 0) and largest (≥ 0) value, in bins.
        width: bin width in real units.
        levels: codes that share the range [low, high], both ends included.
        mirrored: the density is that of |x|, and a range [0, high] stands for [−high, high].
    """

    mass: Array
    zero: int
    low: float
    high: float
    width: float
    levels: int
    mirrored: bool

    @cached_property
    def total(self) -> float:
        return float(self.mass.sum())

    @cached_property
    def lows(self) -> Array:
        """Candidates for the lower end in bins, widest first: lower edges of bins that hold something below zero."""
        return -self._edges(self.mass[: self.zero][::-1])

    @cached_property
    def highs(self) -> Array:
        """Candidates for the upper end in bins, widest first: upper edges of bins that hold something."""
        return self._edges(self.mass[self.zero :])

    def real(self, low: float, high: float) -> tuple[float, float]:
        """A range given in bins, in real units and never wider than the values."""
        end = min(high, self.high) * self.width
        return (-end if self.mirrored else max(low, self.low) * self.width + 0.0), end

    @staticmethod
    def _edges(side: Array) -> Array:
        """Outer edges of the occupied bins of one side, thinned out to `CANDIDATES`; 0 for an empty side.

        A threshold inside a gap clips what the edge before the gap clips and has coarser steps, so edges suffice.
        """
        occupied = np.flatnonzero(side)[::-1] + 1.0
        if not occupied.size:
            return np.zeros(1)
        picked = np.linspace(0, occupied.size - 1, min(occupied.size, CANDIDATES)).round().astype(np.intp)
        return np.asarray(occupied[picked], np.float64)


def density(stats: TensorStats, scheme: QuantScheme) -> Density:
    """The search problem of a tensor under an integer scheme.

    A symmetric scheme has one threshold for both signs, so its density is that of |x| on the codes from 0 up.
    """
    counts = stats.counts.astype(np.float64)
    counts[1, 0] -= stats.zeros
    low, high = min(stats.min, 0.0), max(stats.max, 0.0)
    levels = scheme.levels
    if scheme.symmetric:
        counts = np.stack([np.zeros(BINS), counts.sum(axis=0)])
        low, high = 0.0, max(-low, high)
        levels = (scheme.levels + 1) // 2
    width = stats.width
    mass = np.concatenate([counts[0, ::-1], counts[1]])
    return Density(mass, BINS, low / width, high / width, width, levels, scheme.symmetric)
