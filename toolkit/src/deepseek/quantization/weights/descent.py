"""Coordinate descent over codes and scales: every step lowers the layer's loss, until none does."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deepseek.quantization.weights.grid import Grid
from deepseek.quantization.weights.objective import Objective

__all__ = ["descend", "refit"]

Float = NDArray[np.float64]

_BLOCK = 64
"""Columns between two updates of all others."""


def descend(objective: Objective, start: Float, grid: Grid, sweeps: int) -> Float:
    """Move single codes, of all rows side by side, while that lowers the loss; never worse than `start`.

    The loss is quadratic in a code, so its best value is the one closest to the minimum of the parabola.

    Args:
        objective: of the layer.
        start: values of the grid, [G, M, K].
        grid: its scales stay.
        sweeps: over all columns, at most.
    """
    found, gradient = start.copy(), objective.gradient(start)
    for _ in range(sweeps):
        moved = False
        for first in range(0, found.shape[2], _BLOCK):
            columns = slice(first, min(first + _BLOCK, found.shape[2]))
            change = _change(
                objective.h[:, columns, columns], found[:, :, columns], gradient[:, :, columns], grid, first
            )
            if change is not None:
                moved = True
                found[:, :, columns] += change
                gradient += change @ objective.h[:, columns]
        if not moved:
            break
    return grid.round(found)


def _change(h: Float, found: Float, gradient: Float, grid: Grid, first: int) -> Float | None:
    """What to add to a block of columns, [G, M, n]; None where nothing moves."""
    values = np.ascontiguousarray(found.transpose(2, 0, 1))
    slopes = np.ascontiguousarray(gradient.transpose(2, 0, 1))
    curvature = np.ascontiguousarray(h.transpose(1, 2, 0))[..., None]
    change = None
    # Columns that want to move now; what moves within the block may wake others, which the next sweep sees.
    for k in _restless(values, slopes, curvature, grid, first):
        moved = _moves(values[k], slopes[k], curvature[k, k], grid, first + k)
        if moved.any():
            change = np.zeros_like(values) if change is None else change
            change[k] = moved
            slopes += curvature[k] * moved
    return None if change is None else change.transpose(1, 2, 0)


def _restless(values: Float, slopes: Float, curvature: Float, grid: Grid, first: int) -> list[int]:
    own = np.einsum("kkgo->kgo", curvature)
    wanted = (values - slopes / own).transpose(1, 2, 0)
    moved = grid.round(wanted, first) - values.transpose(1, 2, 0)
    return [int(k) for k in np.flatnonzero((np.abs(moved) > 1e-9 * np.abs(wanted)).any(axis=(0, 1)))]


def _moves(values: Float, slopes: Float, curvature: Float, grid: Grid, column: int) -> Float:
    moved = grid.nearest(values - slopes / curvature, column) - values
    # What float rounding makes of a value that stays where it is, is no move.
    moved[np.abs(moved) <= 1e-9 * np.abs(values)] = 0.0
    return moved


def refit(objective: Objective, weight: Float, grid: Grid, least: Float) -> tuple[Float, Grid]:
    """The scales with the least loss for codes as they are, and the weight on them.

    Args:
        objective: of the layer.
        weight: values of the grid, [G, M, K].
        grid: where they come from.
        least: what no scale goes below, [G, M, K / span].
    """
    found, gradient = weight.copy(), objective.gradient(weight)
    scale = grid.scale.copy()
    for block in range(scale.shape[2]):
        columns = slice(block * grid.span, (block + 1) * grid.span)
        part, old = found[:, :, columns], scale[:, :, block]
        curvature = ((part @ objective.h[:, columns, columns]) * part).sum(axis=2)
        slope = (gradient[:, :, columns] * part).sum(axis=2)
        curvature, slope = grid.pooled(curvature[..., None])[..., 0], grid.pooled(slope[..., None])[..., 0]
        factor = 1 - np.where(curvature > 0, slope / np.where(curvature > 0, curvature, 1.0), 0.0)
        new = np.where(factor > 0, np.maximum(old * factor, np.minimum(least[:, :, block], old)), old)
        scale[:, :, block] = new = new.astype(np.float32).astype(np.float64)
        change = part * (new / old - 1)[:, :, None]
        found[:, :, columns] += change
        gradient += change @ objective.h[:, columns]
    moved = grid.with_scale(scale)
    return moved.round(found), moved
