"""Scales that suit what a weight is multiplied with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deepseek.quantization.weights.grid import Grid

__all__ = ["searched"]

Float = NDArray[np.float64]

_SHARES = np.linspace(1.0, 0.4, 21)


def searched(weight: Float, power: Float, grid: Grid, least: Float) -> Grid:
    """The grid with the share of each scale that has the least error when its weights are rounded to nearest.

    Errors count as much as the inputs they meet have power: the loss of the output where inputs are independent
    (the importance of llama.cpp's and AWQ's searches).

    Args:
        weight: [G, M, K].
        power: mean square of each input, [G, K].
        grid: its scales are the widest that are tried.
        least: what no scale goes below, [G, M, K / span].
    """
    best, lowest = grid.scale.copy(), np.full(grid.scale.shape, np.inf)
    importance = power[:, None, :] + np.where(power.any(), 1e-6 * power.mean(), 1.0)
    for share in _SHARES:
        tried = grid.with_scale(np.maximum(grid.scale * share, np.minimum(least, grid.scale)))
        error = np.square(tried.round(weight) - weight) * importance
        summed = grid.pooled(np.add.reduceat(error, np.arange(0, weight.shape[2], grid.span), axis=2))
        better = summed < lowest
        best, lowest = np.where(better, tried.scale, best), np.where(better, summed, lowest)
    return grid.with_scale(best)
