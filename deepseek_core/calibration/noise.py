"""Quantization noise of a range, from a histogram: rounding inside, saturation outside."""

from __future__ import annotations

import numpy as np

from deepseek_core.calibration.density import Array, Density

__all__ = ["Noise"]


class Noise:
    """Expected squared error of a density as a function of the range it is quantized with.

    A value inside the range is off by a rounding error of variance step² / 12 (Bennett, 1948); one outside by its
    distance to the nearer end. Zeros are exact and cost nothing.
    """

    def __init__(self, density: Density) -> None:
        self._density = density
        self._above = _saturation(density.mass)
        self._below = _saturation(density.mass[::-1])[::-1]
        self._cumulative = np.concatenate([[0.0], np.cumsum(density.mass)])

    def __call__(self, low: Array, high: Array) -> Array:
        """Sum of squared errors in bins², for ranges [low, high] in bins; the ends are bin edges (whole numbers)."""
        first = (np.asarray(low) + self._density.zero).astype(np.intp)
        last = (np.asarray(high) + self._density.zero).astype(np.intp)
        step = (high - low) / (self._density.levels - 1)
        inside = self._cumulative[last] - self._cumulative[first]
        return np.asarray(step**2 / 12 * inside + self._below[first] + self._above[last])


def _saturation(mass: Array) -> Array:
    """At each bin edge e, sum of mass · (x − e)² over the bins above it; x is a bin's centre."""
    edges = np.arange(mass.size + 1.0)
    centres = edges[:-1] + 0.5
    m0, m1, m2 = (_suffix_sum(mass * centres**power) for power in range(3))
    return np.maximum(m2 - 2 * edges * m1 + edges**2 * m0, 0.0)


def _suffix_sum(values: Array) -> Array:
    return np.concatenate([np.cumsum(values[::-1])[::-1], [0.0]])
