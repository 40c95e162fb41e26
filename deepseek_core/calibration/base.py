"""What a calibrator is: statistics and a scheme in, a range out."""

from __future__ import annotations

from typing import Protocol

from deepseek_core.calibration.stats import TensorStats
from deepseek_core.scheme import QuantScheme

__all__ = ["Calibrator"]


class Calibrator(Protocol):
    """Finds the range of a tensor. Built by name with its options, for example `percentile(percentile=99.9)`."""

    def range(self, stats: TensorStats, scheme: QuantScheme) -> tuple[float, float]:
        """(low, high) in real units to map onto the scheme's codes."""
        ...
