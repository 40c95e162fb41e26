"""Coordinate descent over the two ends of a range."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from deepseek_core.calibration.density import Array, Density

__all__ = ["Objective", "search"]

Objective = Callable[[Density, Array, Array], Array]
"""Cost of C ranges [low, high] given in bins, float64 [C]."""

_ROUNDS = 8


def search(density: Density, objective: Objective) -> tuple[float, float]:
    """The range of least cost in real units; the widest among equals.

    Starts at the full range and moves one end at a time to its best place until neither moves.
    """
    low, high = density.lows[0], density.highs[0]
    for _ in range(_ROUNDS):
        before = (low, high)
        high = density.highs[np.argmin(objective(density, np.full(density.highs.shape, low), density.highs))]
        low = density.lows[np.argmin(objective(density, density.lows, np.full(density.lows.shape, high)))]
        if (low, high) == before:
            break
    return density.real(low, high)
