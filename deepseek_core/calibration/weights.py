"""Quantization parameters of weights, from their values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek_core.errors import ConfigError, ModelError
from deepseek_core.ir.qparams import QParams
from deepseek_core.recipe import TensorRecipe
from deepseek_core.scheme import Granularity, QuantScheme

__all__ = ["weight_qparams"]

_SHRINK = np.linspace(1.0, 0.3, 71)
"""Shares of the full range that the search tries, the widest first; 4-bit codes of a Gaussian want about 0.6."""


def weight_qparams(array: NDArray[Any], recipe: TensorRecipe) -> QParams:
    """Scale and zero point for a constant tensor.

    The range is the full one of each tensor, channel or block; with the calibrator `mse` it is the share of it, of
    71 between 1 and 0.3, that has the least squared error after real quantization. Other calibrators, a backend's own
    included, are for activations and mean the full range here. A channel or block of zeros is exact with any scale:
    it gets that of the whole tensor, so that a bias quantized with it stays precise.

    Args:
        array: float (float16, bfloat16, float32, float64) of any shape; may be empty.
        recipe: scheme with a resolved axis, and calibrator.

    Raises:
        ModelError: a value is NaN or infinite.
        ConfigError: the axis is outside the tensor's rank.
    """
    with np.errstate(over="ignore"):  # a float64 value beyond float32 becomes infinite and is refused below
        groups = _group(np.asarray(array, np.float32), recipe.scheme)
    if not np.isfinite(groups.values).all():
        raise ModelError("a weight holds NaN or infinity", fix="check the training or the export of the model")
    low, high = groups.values.min(axis=1, initial=0.0), groups.values.max(axis=1, initial=0.0)
    if recipe.calibrator.method.lower() == "mse":
        share = _best_share(groups.values, low, high, recipe.scheme)
        low, high = low * share, high * share
    dead = (low == 0) & (high == 0)
    low, high = np.where(dead, low.min(initial=0.0), low), np.where(dead, high.max(initial=0.0), high)
    return QParams.from_range(recipe.scheme, groups.arrange(low), groups.arrange(high))


@dataclass(frozen=True, slots=True)
class _Groups:
    """Values that share a scale as rows, float32 [G, M], and the way back to the shape of the scales.

    Attributes:
        shape: shape of the scales with the quantized axis last.
        axis: where that axis belongs; None when there is nothing to move.
    """

    values: NDArray[np.float32]
    shape: tuple[int, ...]
    axis: int | None = None

    def arrange(self, numbers: NDArray[Any]) -> NDArray[Any]:
        """One number for each row, as an array of the scales' shape."""
        shaped = numbers.reshape(self.shape)
        return shaped if self.axis is None else np.moveaxis(shaped, -1, self.axis)


def _group(array: NDArray[np.float32], scheme: QuantScheme) -> _Groups:
    if scheme.granularity is Granularity.PER_TENSOR:
        return _Groups(array.reshape(1, -1), ())
    axis = 0 if scheme.axis is None else scheme.axis
    if not -array.ndim <= axis < array.ndim:
        raise ConfigError(
            f"quantized axis {axis} of a weight of shape {array.shape}", fix="use an axis inside the tensor's rank"
        )
    length = array.shape[axis]
    if scheme.block_size is None:
        rows = np.moveaxis(array, axis, 0)
        return _Groups(rows.reshape(length, rows[:1].size or 0), (length,))
    last = np.moveaxis(array, axis, -1)
    blocks = -(-length // scheme.block_size)
    # The last block may be short; zeros change neither a range, which holds 0 anyway, nor an error.
    padding = [(0, 0)] * (array.ndim - 1) + [(0, blocks * scheme.block_size - length)]
    padded = np.pad(last, padding)
    shape = (*last.shape[:-1], blocks)
    return _Groups(padded.reshape(int(np.prod(shape)), scheme.block_size), shape, axis)


def _best_share(
    values: NDArray[np.float32], low: NDArray[np.float32], high: NDArray[np.float32], scheme: QuantScheme
) -> NDArray[np.float64]:
    """For each row, the share of its range with the least squared quantization error, float64 [G]."""
    rows = QuantScheme(
        scheme.dtype, Granularity.PER_CHANNEL, symmetric=scheme.symmetric, narrow_range=scheme.narrow_range, axis=0
    )
    best, least = np.ones(len(values)), np.full(len(values), np.inf)
    for share in _SHRINK:
        parameters = QParams.from_range(rows, low * share, high * share)
        error = np.square(parameters.fake_quantize(values) - values).sum(axis=1, dtype=np.float64)
        best, least = np.where(error < least, share, best), np.minimum(error, least)
    return best
