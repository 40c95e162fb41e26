"""Running sums over samples for one tensor of two models."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Tally"]


class Tally:
    """Signal, noise and the largest differences; memory does not grow with the samples.

    Args:
        comparable: the codes mean the same real values in both models, so they compare directly.
    """

    def __init__(self, *, comparable: bool) -> None:
        self.shape: tuple[int, ...] = ()
        self.max_error = 0.0
        self.lsb: int | None = 0 if comparable else None
        self._signal = self._noise = 0.0

    def add(self, reference: NDArray[Any], other: NDArray[Any]) -> None:
        """Count real values. NaN equals NaN and nothing else; another shape is an infinite error."""
        self.shape = other.shape
        if reference.shape != other.shape:
            self._noise = self.max_error = math.inf
            return
        wanted, got = reference.astype(np.float64).reshape(-1), other.astype(np.float64).reshape(-1)
        with np.errstate(invalid="ignore", over="ignore"):
            error = got - wanted
            signal, noise = float(wanted @ wanted), float(error @ error)
        if not (math.isfinite(signal) and math.isfinite(noise)):
            signal, error = _finite(wanted, got)
            noise = float(np.square(error).sum())
        self._signal += signal
        self._noise += noise
        self.max_error = max(self.max_error, float(error.max(initial=0.0)), -float(error.min(initial=0.0)))

    def add_codes(self, ours: NDArray[Any], theirs: NDArray[Any]) -> None:
        """Count codes, where they compare."""
        if self.lsb is not None and ours.shape == theirs.shape:
            apart = np.abs(ours.astype(np.float64) - theirs.astype(np.float64))
            self.lsb = max(self.lsb, int(apart.max(initial=0.0)))

    @property
    def sqnr(self) -> float:
        """Signal to noise in dB; infinite for equal tensors, minus infinite for noise without a signal."""
        if self._noise == 0.0:
            return math.inf
        if self._signal == 0.0 or math.isinf(self._noise):
            return -math.inf
        return 10 * math.log10(self._signal / self._noise)


def _finite(wanted: NDArray[np.float64], got: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
    """Signal of the finite values, and absolute errors: none where both are NaN or the same infinity."""
    same = (wanted == got) | (np.isnan(wanted) & np.isnan(got))
    with np.errstate(invalid="ignore"):
        error = np.where(same, 0.0, np.abs(wanted - got))
    error[np.isnan(error)] = math.inf
    return float(np.square(wanted[np.isfinite(wanted)]).sum()), error
