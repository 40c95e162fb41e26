"""Exact sums of products of codes, wrapped to int32.

acc = Σ (x − z_x) · (w − z_w) [+ bias]  mod 2^32

Padding adds real zeros, that is codes equal to the zero point. The sums run in a floating-point type that holds
every partial sum exactly (then the order of summation cannot matter), so that BLAS does the work.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from deepseek_core.reference.codes import integer_range, is_integer
from deepseek_core.reference.numerics import narrow
from deepseek_core.reference.values import Accumulated, Array, Dequantized, Value, real

__all__ = ["Sums", "accumulate", "finish", "is_codes", "product_scale"]


@dataclass(frozen=True, slots=True)
class Sums:
    """What an accumulating operation sums.

    Attributes:
        of: sums of products of two arrays of one dtype, float32, float64 or int64, in that dtype.
        terms: products behind one sum, at most.
    """

    of: Callable[[Array, Array], Array]
    terms: int


def is_codes(value: Value) -> TypeGuard[Dequantized]:
    """Whether a value has integer codes that an int32 accumulator takes."""
    return isinstance(value, Dequantized) and is_integer(value.codes.dtype)


def accumulate(x: Dequantized, w: Dequantized, sums: Sums) -> Array:
    """Exact sums of products of centred codes, as int64."""
    dtype = _exact_type(_reach(x) * _reach(w) * sums.terms)
    return sums.of(_centred(x, dtype), _centred(w, dtype)).astype(np.int64)


def product_scale(x: Array, w: Array) -> NDArray[np.float32]:
    """float32(s_x · s_w), the scale of an accumulator."""
    return np.asarray(x.astype(np.float32) * w.astype(np.float32), np.float32)


def finish(sums: Array, scale: NDArray[np.float32], dtype: np.dtype[Any], bias: Value, weight: float = 1.0) -> Value:
    """The result of an accumulating operation.

    An int32 bias whose scale is the accumulator's joins the accumulator, and the result stays lazy. Any other bias
    is added to the real numbers: float32(acc) · scale + bias, in float32.

    Args:
        sums: int64.
        scale: of the sums, broadcastable to them.
        dtype: of the real numbers.
        bias: broadcastable to the sums; None for none.
        weight: factor of the bias (beta of Gemm).
    """
    if bias is None:
        return Accumulated(narrow(sums), scale, dtype)
    if isinstance(bias, Dequantized) and _joins(bias, scale, weight):
        return Accumulated(narrow(sums + bias.codes.astype(np.int64)), scale, dtype)
    product = narrow(sums).astype(np.float32) * scale
    addend = np.float32(weight) * real(bias).astype(np.float32)
    return np.asarray(product + addend).astype(dtype, copy=False)


def _joins(bias: Dequantized, scale: NDArray[np.float32], weight: float) -> bool:
    """Whether the bias is in units of the accumulator, up to how its scale was rounded."""
    if bias.codes.dtype != np.int32 or (bias.zero is not None and bias.zero.any()):
        return False
    return bool(np.isclose(bias.scale.astype(np.float64) * weight, scale.astype(np.float64), rtol=1e-4, atol=0).all())


def _reach(codes: Dequantized) -> int:
    """Largest possible |code − zero|."""
    low, high = integer_range(codes.codes.dtype)
    zero = np.zeros(1, np.int64) if codes.zero is None else codes.zero.astype(np.int64)
    return max(int(np.max(high - zero, initial=0)), int(np.max(zero - low, initial=0)))


def _exact_type(bound: int) -> np.dtype[Any]:
    """Fastest type in which sums up to `bound` are exact; int64 wraps modulo 2^64, which does no harm to 2^32."""
    return np.dtype(np.float32 if bound <= 2**24 else np.float64 if bound <= 2**53 else np.int64)


def _centred(codes: Dequantized, dtype: np.dtype[Any]) -> Array:
    wide = codes.codes.astype(dtype)
    return wide if codes.zero is None else wide - codes.zero.astype(dtype)
