"""Shifts of biases that best cancel what rounding did to a network's outputs, in closed form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Direction", "Equations", "directions", "flat"]

Array = NDArray[Any]

_RIDGES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Candidates for the ridge, relative to the mean curvature."""

_MOST = 2**16
"""Output elements of a sample that take part; of more, evenly spread ones."""


@dataclass(frozen=True, slots=True, eq=False)
class Direction:
    """A shift of one unit's biases.

    Attributes:
        unit: its name.
        shift: float64, one number for each output channel.
    """

    unit: str
    shift: NDArray[np.float64]


def directions(unit: str, error: NDArray[np.float64], count: int) -> list[Direction]:
    """A unit's mean error by channel, cut into at most `count` shifts of equal energy, large channels first."""
    order = np.argsort(-np.abs(error), kind="stable")
    energy = np.cumsum(error[order] ** 2)
    if not energy.size or energy[-1] == 0:
        return []
    group = np.minimum((energy / energy[-1] * count - 1e-9).astype(int), count - 1)
    found = []
    for number in np.unique(group):
        shift = np.zeros_like(error)
        shift[order[group == number]] = error[order[group == number]]
        found.append(Direction(unit, shift))
    return found


class Equations:
    """Least squares over the outputs of several samples: shares of directions that cancel the residual.

    The ridge is the one with the least error on samples left out one by one; when none beats leaving everything as it
    is, the shares are zero.

    Args:
        count: directions.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._samples: list[tuple[Array, Array, float]] = []

    def add(self, residual: Array, effects: Sequence[Array]) -> None:
        """Count a sample.

        Args:
            residual: what its outputs lack, flat.
            effects: what each direction adds to its outputs.
        """
        columns = np.stack(effects, axis=1).astype(np.float64)
        wanted = residual.astype(np.float64)
        self._samples.append((columns.T @ columns, columns.T @ wanted, float(wanted @ wanted)))

    def shares(self) -> NDArray[np.float64]:
        """How much of each direction to take, float64 [count]."""
        curvature = sum((own for own, _, _ in self._samples), np.zeros((self._count, self._count)))
        slope = sum((own for _, own, _ in self._samples), np.zeros(self._count))
        if not np.isfinite(curvature).all() or not np.trace(curvature) > 0:
            return np.zeros(self._count)
        error, ridge = min((self._left_out(curvature, slope, ridge), ridge) for ridge in _RIDGES)
        if error >= sum(energy for _, _, energy in self._samples):
            return np.zeros(self._count)
        return _solved(curvature, slope, ridge)

    def _left_out(self, curvature: Array, slope: Array, ridge: float) -> float:
        """Squared residual of every sample under shares found without it; of a single one, with it."""
        total = 0.0
        for own, towards, energy in self._samples:
            rest = (curvature - own, slope - towards) if len(self._samples) > 1 else (curvature, slope)
            shares = _solved(*rest, ridge)
            total += energy - 2 * float(towards @ shares) + float(shares @ own @ shares)
        return total


def _solved(curvature: Array, slope: Array, ridge: float) -> NDArray[np.float64]:
    size = len(slope)
    damping = ridge * max(float(np.trace(curvature)) / size, np.finfo(np.float64).tiny)
    return np.asarray(np.linalg.solve(curvature + damping * np.eye(size), slope))


def flat(outputs: Mapping[str, Array], names: Sequence[str]) -> Array:
    """Outputs as one vector, or evenly spread elements of them."""
    whole = np.concatenate([np.asarray(outputs[name], np.float64).ravel() for name in names])
    return whole[:: -(-whole.size // _MOST) or 1]
