"""Factors of a group that lower its predicted noise."""

from __future__ import annotations

from itertools import product

import numpy as np

from deepseek.quantization.scaling.noise import Noise, Vector

__all__ = ["choose"]

_GRID = (0.0, 0.5, 1.0)
_LARGEST = 1e4
"""Factors stay between its inverse and it, relative to their geometric mean: float32 keeps its precision."""


def choose(noise: Noise, least_gain: float) -> Vector | None:
    """The best factors t = columns^β / ranges^α; None where the noise does not fall by the share `least_gain`.

    With α + β = 1 this is SmoothQuant's family (Xiao et al., 2023, eq. 4). Here both exponents are searched, on a grid
    and then around its best point: with scales per channel the weights need not pay for what the activations gain.
    Channels that are constantly 0, or that no weight reads, keep factor 1.
    """
    unchanged = noise(np.ones(len(noise.ranges)))
    tried = {(a, b): noise(_factors(noise, a, b)) for a, b in product(_GRID, _GRID) if a or b}
    step = 0.25
    while step > 0.05:
        a, b = min(tried, key=tried.__getitem__)
        for near in ((a + step, b), (a - step, b), (a, b + step), (a, b - step)):
            if near not in tried:
                tried[near] = noise(_factors(noise, *near))
        step /= 2
    best = min(tried, key=tried.__getitem__)
    return _factors(noise, *best) if tried[best] < (1 - least_gain) * unchanged else None


def _factors(noise: Noise, alpha: float, beta: float) -> Vector:
    alive = (noise.ranges > 0) & (noise.columns > 0)
    if not alive.any():
        return np.ones(len(alive))
    logs = beta * np.log(noise.columns[alive]) - alpha * np.log(noise.ranges[alive])
    limit = np.log(_LARGEST)
    result = np.ones(len(alive))
    result[alive] = np.exp(np.clip(logs - logs.mean(), -limit, limit))
    return result
