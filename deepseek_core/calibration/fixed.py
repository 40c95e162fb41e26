"""A range that somebody else found."""

from __future__ import annotations

import math
from dataclasses import dataclass

from deepseek_core.calibration.stats import TensorStats
from deepseek_core.errors import ConfigError
from deepseek_core.scheme import QuantScheme

__all__ = ["Fixed"]


@dataclass(frozen=True, slots=True)
class Fixed:
    """The range given, whatever the values are: how a search writes its result into a recipe.

    Attributes:
        low, high: in real units; finite, low ≤ high. Both must be given.
    """

    low: float = math.nan
    high: float = math.nan

    def __post_init__(self) -> None:
        ends = (self.low, self.high)
        if not all(isinstance(end, int | float) and math.isfinite(end) for end in ends) or self.low > self.high:
            raise ConfigError(f"fixed range {self.low!r} to {self.high!r}", fix="give two finite numbers, low ≤ high")

    def range(self, stats: TensorStats, scheme: QuantScheme) -> tuple[float, float]:
        """(low, high) in real units."""
        return self.low, self.high
