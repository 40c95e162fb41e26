"""Mean-squared-error calibration (Banner et al., "Post training 4-bit quantization", NeurIPS 2019, section 4)."""

from __future__ import annotations

from dataclasses import dataclass

from deepseek_core.calibration.density import density
from deepseek_core.calibration.noise import noise
from deepseek_core.calibration.search import search
from deepseek_core.calibration.stats import TensorStats
from deepseek_core.scheme import QuantScheme

__all__ = ["Mse"]


@dataclass(frozen=True, slots=True)
class Mse:
    """The range with the least sum of squared rounding and saturation errors, both ends searched.

    Float codes keep relative precision, so their noise does not shrink with the range, and 16-bit codes are finer
    than the histogram: there the full range is taken.
    """

    def range(self, stats: TensorStats, scheme: QuantScheme) -> tuple[float, float]:
        """(low, high) in real units."""
        if not scheme.dtype.is_integer:
            return stats.min, stats.max
        problem = density(stats, scheme)
        return search(problem, noise) if problem.resolves_codes else (stats.min, stats.max)
