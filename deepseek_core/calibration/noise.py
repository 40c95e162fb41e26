"""Quantization noise of a range, from a histogram: rounding inside, saturation outside."""

from __future__ import annotations

import numpy as np

from deepseek_core.calibration.density import Array, Density

__all__ = ["noise"]


def noise(d: Density, low: Array, high: Array) -> Array:
    """Sum of squared quantization errors of C candidate ranges, in bins²; float64 [C].

    A cell with centre c has the error ∫ (x − c)² = M₂ − 2 c M₁ + c² M₀ by the moments M of the density over the cell,
    which are differences of running integrals: exact but for the spread inside a bin, and O(codes) per candidate.

    Args:
        low, high: float64 [C], in bins.
    """
    centres, edges = d.cells(low, high)
    m0, m1, m2 = (np.diff(integral, axis=1) for integral in _moments(d, edges))
    return np.asarray((m2 - 2 * centres * m1 + centres**2 * m0).sum(axis=1))


def _moments(d: Density, edges: Array) -> tuple[Array, Array, Array]:
    """Integrals of density · x^k for k = 0, 1, 2 from the lower end of the density up to each edge."""
    index = np.minimum((edges + d.zero).astype(np.intp), d.mass.size - 1)
    mass = d.mass[index]
    starts = np.arange(d.mass.size + 1.0) - d.zero
    found = []
    for at_starts, at_edges in zip(_primitives(starts), _primitives(edges), strict=True):
        before = np.concatenate([[0.0], np.cumsum(d.mass * np.diff(at_starts))])
        found.append((before[:-1] - d.mass * at_starts[:-1])[index] + mass * at_edges)
    return found[0], found[1], found[2]


def _primitives(x: Array) -> tuple[Array, Array, Array]:
    """Integrals of 1, x and x²."""
    square = x * x
    return x, square / 2, square * x / 3
