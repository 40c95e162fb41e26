"""Coordinate descent over the two ends of a range."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from deepseek_core.calibration.density import Array, Density

__all__ = ["Objective", "search"]

Objective = Callable[[Array, Array], Array]
"""Cost of ranges [low, high], element by element; the ends are bin edges in bins."""

_ROUNDS = 8


def search(density: Density, objective: Objective) -> tuple[float, float]:
    """The range of least cost in real units, never wider than the values; the widest among equals.

    Starts at the full range and moves one end at a time to its best place until neither moves.
    """
    if not density.total:
        return 0.0, 0.0
    low, high = density.lows[0], density.highs[0]
    for _ in range(_ROUNDS):
        before = (low, high)
        high = density.highs[np.argmin(objective(np.broadcast_to(low, density.highs.shape), density.highs))]
        low = density.lows[np.argmin(objective(density.lows, np.broadcast_to(high, density.lows.shape)))]
        if (low, high) == before:
            break
    return density.real(low, high)
