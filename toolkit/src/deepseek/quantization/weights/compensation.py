"""The weight that does best on the inputs a layer really gets: it makes up for noise that earlier layers left there.

Closed form: W + E·(Σxxᵀ)⁻¹ with E = Σ(y − Wx)xᵀ. Few samples make that overfit badly, so the system is solved by
conjugate gradients, whose early steps follow the strongest directions of the inputs, and stopped where samples that
had no part in the solution say so (Hanke, 1995, on early stopping as regularisation).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from deepseek.quantization.grams import Moments

__all__ = ["compensated"]

Float = NDArray[np.float64]

_EXHAUSTED = 1e-8
"""Share of the first residual's square below which an output is solved."""
_PATIENCE = 2
"""Steps without a gain on held-out samples before the search ends."""


def compensated(
    folds: Sequence[Moments], total: Moments, weight: Float, bias: Float, most: int, *, free_bias: bool
) -> tuple[Float, int]:
    """The weight to round, and the number of steps it is away from `weight`.

    Args:
        folds: moments of halves of the samples; with fewer than two, nothing is changed.
        total: of all.
        weight, bias: of the float layer, [G, M, K] and [G, M].
        most: steps.
        free_bias: whether the bias follows the weight.
    """
    if len(folds) < 2 or not most:
        return weight, 0
    paths = [_path(fold, weight, bias, free_bias=free_bias) for fold in folds]
    least, best = np.inf, 0
    for step in range(most + 1):
        error = 0.0
        for number, path in enumerate(paths):
            found = next(path)
            other = folds[1 - number]
            error += float(other.error(found, folds[number].bias(found) if free_bias else bias).sum())
        if error < least:
            least, best = error, step
        elif step - best >= _PATIENCE:
            break
    return next(islice(_path(total, weight, bias, free_bias=free_bias), best, None)), best


def _path(moments: Moments, weight: Float, bias: Float, *, free_bias: bool) -> Iterator[Float]:
    """Weights after 0, 1, 2… steps of conjugate gradients, each output on its own, inputs scaled to equal power."""
    xx, yx = moments.xx, moments.yx
    if not free_bias:
        xx = xx + moments.x[:, :, None] * moments.x[:, None, :]
        yx = yx + (moments.y - bias)[:, :, None] * moments.x[:, None, :]
    own = np.einsum("gkk->gk", xx)
    used = own > np.maximum(1e-6 * own.mean(axis=1, keepdims=True), 0.0)  # rounding can make a variance negative
    scale = np.where(used, 1 / np.sqrt(np.where(used, own, 1.0)), 0.0)
    matrix = xx * scale[:, :, None] * scale[:, None, :]
    rest = (yx - weight @ xx) * scale[:, None, :]
    direction, change = rest.copy(), np.zeros_like(rest)
    square = np.square(rest).sum(axis=2)
    end = _EXHAUSTED * square
    while True:
        yield weight + change * scale[:, None, :]
        ahead = direction @ matrix
        curvature = (direction * ahead).sum(axis=2)
        going = (square > end) & (curvature > 0)
        length = np.where(going, square / np.where(going, curvature, 1.0), 0.0)[:, :, None]
        change += length * direction
        rest -= length * ahead
        new = np.where(going, np.square(rest).sum(axis=2), square)
        direction = rest + np.where(going, new / np.where(going, square, 1.0), 0.0)[:, :, None] * direction
        square = new
