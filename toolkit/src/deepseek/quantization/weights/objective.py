"""The loss of a layer's output, quadratic in its weight."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from deepseek.quantization.grams import Moments

__all__ = ["Objective", "shrinkage"]

Float = NDArray[np.float64]

_FLOOR = 1e-3
"""Share of the mean diagonal that every input gets on top, so that unused ones keep their weights."""
_LEAST_SHRINKAGE = 0.02


@dataclass(frozen=True, slots=True, eq=False)
class Objective:
    """tr((Q − W)·H·(Q − W)ᵀ) for weights Q [G, M, K].

    Attributes:
        h: what errors of two inputs cost together, symmetric and positive definite, [G, K, K].
        target: W, the weight that would be best without rounding, [G, M, K].
    """

    h: Float
    target: Float

    @classmethod
    def of(cls, moments: Moments, target: Float, shrink: float, *, free_bias: bool) -> Self:
        """The loss to expect on unseen data.

        Args:
            moments: of the layer.
            target: see above.
            shrink: how far to go from the measured Σxxᵀ (0) towards its diagonal (1), for which rounding to nearest
                is best.
            free_bias: whether a bias makes up for the mean of any error.
        """
        h = moments.xx if free_bias else moments.xx + moments.x[:, :, None] * moments.x[:, None, :]
        own = np.einsum("gkk->gk", h)
        mean = own.mean(axis=1, keepdims=True)
        prior = shrink * own + np.where(mean > 0, _FLOOR * mean, 1.0)
        h = (1 - shrink) * h
        np.einsum("gkk->gk", h)[...] += prior
        return cls(h, target)

    def gradient(self, weight: Float) -> Float:
        """Half the slope of the loss, [G, M, K]."""
        return np.asarray((weight - self.target) @ self.h)

    def loss(self, weight: Float) -> Float:
        """Of each output, [G, M]."""
        return np.asarray((self.gradient(weight) * (weight - self.target)).sum(axis=2))


def shrinkage(folds: Sequence[Moments]) -> float:
    """The optimal share of the diagonal in an estimate of correlations (Ledoit & Wolf, 2004, section 3.2).

    The variance of the estimate, which theirs takes from single samples, comes from the difference of two halves:
    places of one picture or text are far from independent.
    """
    if len(folds) < 2:
        return 1.0
    first, second = (_correlations(fold) for fold in folds)
    noise, whole = np.square(first - second).sum() / 4, np.square((first + second) / 2).sum()
    return float(np.clip(noise / whole, _LEAST_SHRINKAGE, 1.0)) if whole > 0 else 1.0


def _correlations(moments: Moments) -> Float:
    """Off the diagonal; 0 for constant inputs."""
    own = np.einsum("gkk->gk", moments.xx)
    factor = np.where(own > 0, 1 / np.sqrt(np.where(own > 0, own, 1.0)), 0.0)
    found = moments.xx * factor[:, :, None] * factor[:, None, :]
    np.einsum("gkk->gk", found)[...] = 0.0
    return np.asarray(found)
