"""Rounding column by column, each column's error handed to the columns that are still to come.

GPTQ (Frantar et al., 2023): with H⁻¹ = UᵀU, the error e of column k, divided by U_kk, is taken out of later columns in
proportion to row k of U. Equal to Babai's nearest plane on the lattice of the codes (Chen et al., 2025).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from deepseek.quantization.weights.grid import Grid
from deepseek.quantization.weights.objective import Objective

__all__ = ["Factors", "feedback"]

Float = NDArray[np.float64]

_CHUNK = 1024
"""Columns that are inverted together; the cost of an inverse grows with its cube."""
_BLOCK = 64
"""Columns between two updates of those behind them."""


@dataclass(frozen=True, slots=True, eq=False)
class Factors:
    """What error feedback needs to know of a layer's inputs, whatever it rounds to.

    Attributes:
        chunks: columns in the order in which they are rounded, the strongest inputs first, with U for each chunk.
    """

    chunks: tuple[tuple[NDArray[np.intp], Float], ...]

    @classmethod
    def of(cls, objective: Objective) -> Self:
        """Factorise."""
        h = objective.h
        order = np.argsort(-np.einsum("gkk->k", h), kind="stable")
        parts = [order[first : first + _CHUNK] for first in range(0, len(order), _CHUNK)]
        return cls(tuple((columns, _upper(h[:, columns[:, None], columns])) for columns in parts))


def feedback(objective: Objective, factors: Factors, grid: Grid) -> Float:
    """Values of the grid with a small loss, [G, M, K].

    Chunks are solved one after the other, each for the others as they are then.

    Args:
        objective: of the layer.
        factors: of the same.
        grid: what to round to; its scales stay.
    """
    found = objective.target.copy()
    gradient = np.zeros_like(found)
    for columns, upper in factors.chunks:
        wanted = found[:, :, columns] - (gradient[:, :, columns] @ upper.swapaxes(1, 2)) @ upper
        rounded = _rounded(wanted, upper, grid, columns)
        gradient += (rounded - found[:, :, columns]) @ objective.h[:, columns]
        found[:, :, columns] = rounded
    return found


def _upper(h: Float) -> Float:
    """U with UᵀU = H⁻¹, upper triangular."""
    mirrored = h[:, ::-1, ::-1]
    damping = 0.0
    for attempt in range(8):
        try:
            lower = np.linalg.cholesky(mirrored + damping * np.eye(h.shape[1]))
            return np.ascontiguousarray(np.linalg.inv(lower)[:, ::-1, ::-1])
        except np.linalg.LinAlgError:
            damping = 10.0 ** (attempt - 5) * float(np.einsum("gkk->gk", h).mean())
    raise AssertionError("a matrix with a dominant diagonal has a Cholesky factor")


def _rounded(wanted: Float, upper: Float, grid: Grid, columns: NDArray[np.intp]) -> Float:
    """[G, M, n] values of the grid; rows of `work` are columns of the weight, so that each is contiguous."""
    work = np.ascontiguousarray(wanted.transpose(2, 0, 1))
    factors = np.ascontiguousarray(upper.transpose(1, 2, 0))[..., None]
    for first in range(0, len(work), _BLOCK):
        last = min(first + _BLOCK, len(work))
        errors = np.empty((last - first, *work.shape[1:]))
        for k in range(first, last):
            rounded = grid.nearest(work[k], int(columns[k]))
            error = (work[k] - rounded) / factors[k, k]
            work[k], errors[k - first] = rounded, error
            work[k + 1 : last] -= factors[k, k + 1 : last] * error
        if last < len(work):
            _take_out(work, errors, upper, first, last)
    return work.transpose(1, 2, 0)


def _take_out(work: Float, errors: Float, upper: Float, first: int, last: int) -> None:
    """Errors of the columns first … last out of all behind them."""
    part = errors.transpose(1, 2, 0) @ upper[:, first:last, last:]
    work[last:] -= part.transpose(2, 0, 1)
