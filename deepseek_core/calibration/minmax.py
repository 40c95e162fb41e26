"""Min-max calibration: the range of everything seen."""

from __future__ import annotations

from dataclasses import dataclass

from deepseek_core.calibration.stats import TensorStats
from deepseek_core.scheme import QuantScheme

__all__ = ["MinMax"]


@dataclass(frozen=True, slots=True)
class MinMax:
    """Nothing is clipped; one outlier can make all steps coarse."""

    def range(self, stats: TensorStats, scheme: QuantScheme) -> tuple[float, float]:
        """(low, high) in real units."""
        return stats.min, stats.max
