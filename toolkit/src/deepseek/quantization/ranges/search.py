"""The range of an activation with the least error at the outputs of its readers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from deepseek.quantization.ranges.readers import Reader
from deepseek.quantization.scaling.noise import relative_shares, rounding_error
from deepseek.quantization.scaling.observe import ChannelStats
from deepseek_core import QParams, QuantScheme

__all__ = ["Range", "find_range"]

Range = tuple[float, float]

_SHARES = (1.0, 0.8, 0.6, 0.4, 0.2)
_STEPS = (0.1, 0.05, 0.025)
"""Shares of the full range that are tried, and steps around the best one."""


@dataclass(frozen=True, slots=True, eq=False)
class _View:
    """One reader with the places that were kept of its input."""

    rows: NDArray[np.float32]
    shares: NDArray[np.float64]
    matrix: NDArray[np.float32] | None

    @classmethod
    def of(cls, reader: Reader, stats: ChannelStats) -> _View | None:
        """None where the reader's output is 0 throughout."""
        power = _power(stats.rows, reader.matrix)
        mean = float(stats.shares @ power)
        if not mean > 0:
            return None
        shares = relative_shares(stats.shares, power) if reader.relative else stats.shares
        return cls(stats.rows, shares / mean, reader.matrix)

    def error(self, params: QParams) -> float:
        """Mean squared error at the reader's output, relative to its power."""
        return float(self.shares @ _power(rounding_error(self.rows, params), self.matrix))


def _power(rows: NDArray[np.float32], matrix: NDArray[np.float32] | None) -> NDArray[np.float64]:
    found = rows if matrix is None else rows * matrix if matrix.ndim == 1 else rows @ matrix
    return np.asarray(np.einsum("nm,nm->n", found, found), np.float64)


def find_range(
    pairs: Iterable[tuple[Reader, ChannelStats]], scheme: QuantScheme, known: Sequence[Range]
) -> tuple[Range, float, float] | None:
    """Search both ends of a range.

    Args:
        pairs: readers, each with statistics of what it reads.
        scheme: per tensor, of integers.
        known: ranges to start from; the first is the one to beat.

    Returns:
        The best range, its relative error (summed over the readers), and that of the first known one; None where
        nothing arrives at any reader.
    """
    views = [view for reader, stats in pairs if (view := _View.of(reader, stats)) is not None]
    if not views:
        return None

    @cache
    def error(low: float, high: float) -> float:
        params = QParams.from_range(scheme, low, high)
        return sum(view.error(params) for view in views)

    low, high = min(known, key=lambda ends: error(*ends))
    widest = min(0.0, *(ends[0] for ends in known)), max(0.0, *(ends[1] for ends in known))
    if scheme.symmetric:
        reach = max(-low, high)
        _, reach = _descend(lambda _, end: error(-end, end), (0.0, reach), (0.0, max(-widest[0], widest[1])))
        low, high = -reach, reach
    else:
        low, high = _descend(error, (low, high), widest)
    return (low, high), error(low, high), error(*known[0])


def _descend(error: Callable[[float, float], float], start: Range, widest: Range) -> Range:
    """One end after the other to its best place, on the coarse shares and then in ever smaller steps."""
    low, high = start
    high = min([high, *(widest[1] * s for s in _SHARES if widest[1] > 0)], key=lambda end: error(low, end))
    low = min([low, *(widest[0] * s for s in _SHARES if widest[0] < 0)], key=lambda end: error(end, high))
    for step in _STEPS:
        high = min((max(high + widest[1] * s, 0.0) for s in (0.0, -step, step)), key=lambda end: error(low, end))
        low = min((min(low + widest[0] * s, 0.0) for s in (0.0, -step, step)), key=lambda end: error(end, high))
    return low, high
