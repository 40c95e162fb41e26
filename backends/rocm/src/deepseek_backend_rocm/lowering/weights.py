"""Constants of products with weights: rows as the kernels read them, biases and factors of the requantization."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deepseek_backend_rocm.lowering.codes import is_real
from deepseek_backend_rocm.lowering.emitter import qparams_for
from deepseek_core import Operand, Role, Unit
from deepseek_core.lowering import constant_of

__all__ = ["DEPTHS", "bias_of", "factors", "padded_depth", "rows"]

DEPTHS = (32, 64, 128)
"""Products that kernels take in one go; rows of weights are padded with zeros to a multiple of one of them."""


def padded_depth(products: int) -> int:
    """Products of one tap with their padding."""
    step = next((step for step in DEPTHS if products <= step), DEPTHS[-1])
    return -(-products // step) * step


def rows(weights: NDArray[np.int8], depth: int) -> NDArray[np.int8]:
    """[channels, taps, products] → [channels, taps, depth], zeros behind."""
    missing = depth - weights.shape[-1]
    return np.ascontiguousarray(np.pad(weights, ((0, 0), (0, 0), (0, missing))))


def bias_of(unit: Unit, sums: NDArray[np.int64]) -> NDArray[np.int32]:
    """The unit's bias less its input's zero point times sums of weights, modulo 2^32.

    Args:
        sums: of the weights that meet an input, [classes of positions, channels].
    """
    (x,) = unit.operands(Role.DATA)
    total = -sums * int(qparams_for(x).zero_point.reshape(-1)[0])
    for operand in unit.operands(Role.BIAS):
        total = total + constant_of(operand.value).astype(np.int64).reshape(-1)
    return np.asarray(total.astype(np.int32))


def factors(unit: Unit, channels: int) -> NDArray[np.float32]:
    """float32(float32(s_x · s_w) / s_y) of each channel; without the division where real numbers leave the unit."""
    (x,), (w,), y = unit.operands(Role.DATA), unit.operands(Role.WEIGHT), unit.outputs[0]
    product = (_scale(x) * _scale(w)).astype(np.float32)
    if is_real(unit):
        return np.asarray(np.broadcast_to(product, (channels,)))
    return np.asarray(np.broadcast_to((product / _scale(y)).astype(np.float32), (channels,)))


def _scale(operand: Operand) -> NDArray[np.float32]:
    return qparams_for(operand).scale.astype(np.float32).reshape(-1)
