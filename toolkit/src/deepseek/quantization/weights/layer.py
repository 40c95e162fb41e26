"""Codes for one layer from its moments."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial, reduce

import numpy as np
from numpy.typing import NDArray

from deepseek.quantization.grams import Decision, Measured
from deepseek.quantization.weights.compensation import compensated
from deepseek.quantization.weights.descent import descend, refit
from deepseek.quantization.weights.feedback import Factors, feedback
from deepseek.quantization.weights.grid import Grid
from deepseek.quantization.weights.objective import Objective, shrinkage
from deepseek.quantization.weights.ranges import searched

__all__ = ["Method", "Solution", "solve"]

Float = NDArray[np.float64]

_FEW_BITS = 6
"""Wider codes gain nothing that counts from ranges that cut weights off, or from descent behind error feedback."""
_BIAS_ROOM = 2.0**30
"""Steps of its int32 that the largest bias may take; as in `deepseek_core.quantize`."""


@dataclass(frozen=True, slots=True)
class Method:
    """How codes are chosen.

    Attributes:
        ranges: search scales first.
        feedback: round column by column, handing errors on (GPTQ); otherwise to nearest.
        sweeps: of coordinate descent behind that, at most; over codes of few bits.
        refits: of the scales, each followed by descent; likewise.
        compensation: steps towards the weight that makes up for earlier noise, at most.
        bias: let the bias make up for the mean error.
        shrink: of correlations towards none; negative for what the samples say.
    """

    ranges: bool = True
    feedback: bool = True
    sweeps: int = 2
    refits: int = 2
    compensation: int = 8
    bias: bool = True
    shrink: float = -1.0


@dataclass(frozen=True, slots=True, eq=False)
class Solution:
    """What was chosen, and what it buys.

    Attributes:
        decision: codes and bias.
        before, after: power of the layer's output over power of its error, in dB, with the given scales rounded to
            nearest and with the decision; on the samples that decided.
        steps: of compensation.
        shrink: that was used.
    """

    decision: Decision
    before: float
    after: float
    steps: int
    shrink: float


def solve(measured: Measured, method: Method) -> Solution:
    """Choose codes for the weight of one site.

    Args:
        measured: moments of what it reads in the quantized and makes in the float model.
        method: see there.
    """
    site, total = measured.site, measured.total()
    weight, bias = site.weight, site.offset
    folds = measured.folds()
    free = method.bias and site.bias is not None
    start = Grid.of(measured.start, site.layout, weight.shape[2])
    nearest = start.round(weight)
    target, steps = compensated(folds, total, weight, bias, method.compensation, free_bias=free)
    shrink = method.shrink if method.shrink >= 0 else shrinkage(folds)
    objective = Objective.of(total, target, shrink, free_bias=free)
    least = _least(measured, start, np.maximum(np.abs(bias), np.abs(total.bias(target)) if free else 0.0))
    found, grid = _rounded(objective, start, method, least)
    found, grid = _better(objective, (found, grid), (nearest, start))
    new = bias + _shift(measured, found) if free else bias
    power = total.power.sum()
    before, after = (_decibels(power, total.error(w, b).sum()) for w, b in ((nearest, bias), (found, new)))
    outside = new + site.bias.values - bias if free and site.bias is not None else None
    return Solution(Decision(grid.codes(found), outside), before, after, steps, shrink)


def _rounded(objective: Objective, grid: Grid, method: Method, least: Float) -> tuple[Float, Grid]:
    """Each output takes the scales that suit it; then codes and scales give way to each other."""
    found, grid = _chosen(objective, _tried(objective, grid, method, least), method)
    if grid.params.scheme.dtype.bits > _FEW_BITS:
        return found, grid
    found = descend(objective, found, grid, method.sweeps)
    for _ in range(method.refits):
        moved, other = refit(objective, found, grid, least)
        moved = descend(objective, moved, other, method.sweeps)
        found, grid = _better(objective, (moved, other), (found, grid))
    return found, grid


def _tried(objective: Objective, grid: Grid, method: Method, least: Float) -> list[Grid]:
    """The full ranges, those that suit rounding to nearest, and those between: handed-on errors want room."""
    if grid.params.scheme.dtype.bits > _FEW_BITS:
        return [grid.covering(objective.target)]
    if not method.ranges:
        return [grid]
    narrow = searched(objective.target, np.einsum("gkk->gk", objective.h), grid, least)
    if not method.feedback:
        return [narrow]
    return [narrow, grid.with_scale(np.sqrt(grid.scale * narrow.scale)), grid]


def _chosen(objective: Objective, grids: list[Grid], method: Method) -> tuple[Float, Grid]:
    if not method.feedback:
        return grids[0].round(objective.target), grids[0]
    factors = Factors.of(objective)
    found = [(feedback(objective, factors, grid), grid) for grid in grids]
    return reduce(partial(_better, objective), found)


def _better(objective: Objective, one: tuple[Float, Grid], other: tuple[Float, Grid]) -> tuple[Float, Grid]:
    """The better of two, scale by scale where rows do not share one."""
    (found, grid), (instead, spare) = one, other
    gain = (objective.loss(instead) - objective.loss(found))[..., None]
    better = (grid.pooled(gain) if grid.shared else gain) >= 0
    scale = np.where(better, grid.scale, spare.scale)
    return np.where(better, found, instead), grid.with_scale(scale)


def _shift(measured: Measured, weight: Float) -> Float:
    """What to add to the bias, [G, M]: the mean error, as far as two halves of the samples agree on it."""
    mean = measured.total().bias(weight) - measured.site.offset
    halves = [fold.bias(weight) - measured.site.offset for fold in measured.folds()]
    square = np.square(mean).sum()
    if len(halves) < 2 or square == 0:
        return mean
    return np.asarray(mean * np.clip((halves[0] * halves[1]).sum() / square, 0.0, 1.0))


def _least(measured: Measured, grid: Grid, bias: Float) -> Float:
    """Scales below which the int32 bias of a unit with quantized data would saturate."""
    if measured.data is None or measured.site.bias is None or not measured.site.bias.inside:
        return np.zeros(grid.scale.shape)
    room = bias / (float(measured.data.scale) * _BIAS_ROOM)
    shared = np.zeros(grid.params.scale.size)
    np.maximum.at(shared, grid.owner.reshape(-1), np.broadcast_to(room[..., None], grid.owner.shape).reshape(-1))
    return np.asarray(shared[grid.owner])


def _decibels(signal: float, noise: float) -> float:
    return float(10 * np.log10(signal / noise)) if signal > 0 and noise > 0 else float("inf")
