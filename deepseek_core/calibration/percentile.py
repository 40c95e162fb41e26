"""Percentile calibration: clip a fixed share of the values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepseek_core.calibration.stats import BINS, TensorStats
from deepseek_core.errors import ConfigError
from deepseek_core.scheme import QuantScheme

__all__ = ["Percentile"]


@dataclass(frozen=True, slots=True)
class Percentile:
    """The range that clips at most (100 − percentile) % of the values, to the resolution of one bin.

    A symmetric scheme clips by magnitude. An asymmetric one shares the percentage equally between the ends, or gives
    all of it to one end when the values lie on one side of zero, since 0 stays in the range anyway.

    Attributes:
        percentile: in (50, 100].
    """

    percentile: float = 99.99

    def __post_init__(self) -> None:
        if not isinstance(self.percentile, int | float) or not 50 < self.percentile <= 100:
            raise ConfigError(f"percentile is {self.percentile!r}", fix="give a number above 50 and up to 100")

    def range(self, stats: TensorStats, scheme: QuantScheme) -> tuple[float, float]:
        """(low, high) in real units."""
        clipped = stats.count * (1 - self.percentile / 100)
        negative, positive = stats.counts
        if scheme.symmetric or not scheme.dtype.is_integer:
            limit = _threshold(negative + positive, clipped) * stats.width
            return max(-limit, stats.min), min(limit, stats.max)
        if stats.min < 0 < stats.max:
            clipped /= 2
        low, high = -_threshold(negative, clipped) * stats.width, _threshold(positive, clipped) * stats.width
        return max(low, stats.min), min(high, stats.max)


def _threshold(magnitudes: NDArray[np.int64], clipped: float) -> int:
    """The smallest bin edge with at most `clipped` counts beyond it."""
    beyond = np.cumsum(magnitudes[::-1])[::-1]  # counts in bin i and above
    return BINS - int(np.count_nonzero(beyond <= clipped))
