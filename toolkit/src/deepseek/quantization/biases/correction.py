"""How far a bias is to be shifted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepseek.quantization.grams import Measured

__all__ = ["Correction", "measured_shift"]


@dataclass(frozen=True, slots=True, eq=False)
class Correction:
    """A shift and what it does to the layer.

    Attributes:
        shift: added to the bias as the layer's outputs see it, float64 [G, M].
        before, after: mean squared error of the layer's output relative to its power.
    """

    shift: NDArray[np.float64]
    before: float
    after: float

    @property
    def gain(self) -> float:
        """Share of the error that is gone."""
        return 1 - self.after / self.before if self.before > 0 else 0.0


def measured_shift(measured: Measured, weight: NDArray[np.float64]) -> Correction:
    """The shift that makes the mean output of a quantized layer that of the float one.

    It is shrunk by how far two halves of the samples agree about it, Σ d₁·d₂ / Σ d² from 0 to 1, so that what is
    chance is not corrected.

    Args:
        measured: what the layer reads in the quantized network, and makes in the float one.
        weight: as quantized, float64 [G, M, K].
    """
    offset, moments = measured.site.offset, measured.total()
    shift = moments.bias(weight) - offset
    halves = [fold.bias(weight) - offset for fold in measured.folds()]
    if len(halves) == 2:
        power = float(np.square(shift).sum())
        shift = shift * (float(np.clip((halves[0] * halves[1]).sum() / power, 0.0, 1.0)) if power > 0 else 0.0)
    power = max(float(moments.power.sum()), float(np.finfo(np.float32).tiny))
    before, after = (float(moments.error(weight, offset + d).sum()) / power for d in (np.zeros_like(shift), shift))
    return Correction(shift, before, after)
