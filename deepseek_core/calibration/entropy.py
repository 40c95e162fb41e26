"""KL-divergence calibration after Migacz, "8-bit inference with TensorRT" (GTC 2017), mended where it harms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deepseek_core.calibration.density import Array, Density, density
from deepseek_core.calibration.noise import noise
from deepseek_core.calibration.search import search
from deepseek_core.calibration.stats import TensorStats
from deepseek_core.errors import ConfigError
from deepseek_core.scheme import QuantScheme

__all__ = ["Entropy", "divergence"]


@dataclass(frozen=True, slots=True)
class Entropy:
    """The range whose codes say most about the values, among those where clipping pays for itself.

    Minimises KL(P ‖ Q): P is the histogram, Q what is known of it when only the codes are known, that is the count
    of each code spread evenly over the occupied bins that get this code. It differs from the textbook form so:

    * The first and the last code own everything beyond the range too. The textbook moves outliers into P's end bin
      instead, which is free of loss when the range shrinks to a single bin and depends on the bin width.
    * A code owns the values that round to it, with fractions of bins, so no candidate is favoured because its width
      happens to divide by the number of codes.
    * Exact zeros are left out: they are free in every scheme, and behind a ReLU they would drown everything else.
    * Both ends are searched when the scheme is asymmetric.
    * KL does not see how far a saturated value moves: 6 → 1 costs no more than 1.1 → 1. In depthwise networks it
      cuts the long thin tails that the next layer depends on, and ruins them. So a range qualifies only if its
      rounding plus saturation noise is at most `max_noise` × that of the full range: at 1, clipping never lowers
      a tensor's signal-to-noise ratio.

    Float codes keep relative precision, and 16-bit codes are finer than the histogram: there the full range is taken.

    Attributes:
        max_noise: at least 1; infinity is KL without the bound.
    """

    max_noise: float = 1.0

    def __post_init__(self) -> None:
        if not isinstance(self.max_noise, int | float) or not self.max_noise >= 1:
            raise ConfigError(f"entropy max_noise is {self.max_noise!r}", fix="give a number of at least 1")

    def range(self, stats: TensorStats, scheme: QuantScheme) -> tuple[float, float]:
        """(low, high) in real units."""
        if not scheme.dtype.is_integer:
            return stats.min, stats.max
        problem = density(stats, scheme)
        if not problem.resolves_codes:
            return stats.min, stats.max
        limit = self.max_noise * noise(problem, problem.lows[:1], problem.highs[:1])

        def bounded(d: Density, low: Array, high: Array) -> Array:
            return np.where(noise(d, low, high) <= limit, divergence(d, low, high), np.inf)

        return search(problem, bounded)


def divergence(d: Density, low: Array, high: Array) -> Array:
    """KL(P ‖ Q) in nats of C candidate ranges [low, high] in bins; float64 [C]."""
    edges = d.cells(low, high)[1] + d.zero
    codes, occupied = _between(d.mass, edges), _between((d.mass > 0).astype(np.float64), edges)
    spread = np.divide(codes, occupied, out=np.ones_like(codes), where=codes > 0)
    return np.asarray((_xlogy(d.mass, d.mass).sum() - _xlogy(codes, spread).sum(axis=1)) / d.total)


def _between(values: Array, edges: Array) -> Array:
    """Integral of a piecewise constant density between neighbouring edges: [C, L] from edges [C, L + 1]."""
    index = np.minimum(edges.astype(np.intp), values.size - 1)
    integral = np.concatenate([[0.0], np.cumsum(values)])[index] + (edges - index) * values[index]
    return np.diff(integral, axis=1)


def _xlogy(x: Array, y: Array) -> Array:
    """Product x · log(y), 0 where x is 0."""
    return x * np.log(y, where=x > 0, out=np.zeros_like(x))
