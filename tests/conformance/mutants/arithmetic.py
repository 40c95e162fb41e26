"""Mutants that compute otherwise: rounding, saturation, accumulators, codes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from deepseek_core import Rounding
from deepseek_core.reference import accumulate, codes, values
from deepseek_core.reference.numerics import Numerics, following

from .base import numeric, patched

__all__: list[str] = []

Array = NDArray[Any]

_ROUNDING = "numerics/*/rounding_ties"
_ACCUMULATOR = "numerics/Gemm/uint8*/accumulator_*"


def _swap(target: str, replacement: object) -> Callable[[], AbstractContextManager[object]]:
    return lambda: patched(target, replacement)


def _declared(numerics: Numerics) -> Callable[[], AbstractContextManager[object]]:
    return lambda: following(numerics)


numeric("TruncatingRounding", _ROUNDING, _swap("codes.round_codes", np.trunc))
numeric("FlooringRounding", _ROUNDING, _swap("codes.round_codes", np.floor))
numeric("CeilingRounding", _ROUNDING, _swap("codes.round_codes", np.ceil))
numeric("HalfAwayRounding", _ROUNDING, _declared(Numerics(Rounding.HALF_AWAY)))
numeric("HalfUpRounding", _ROUNDING, _declared(Numerics(Rounding.HALF_UP)))
numeric("SaturatingAccumulator16", _ACCUMULATOR, _declared(Numerics(accumulator_bits=16)))
numeric("SaturatingAccumulator20", _ACCUMULATOR, _declared(Numerics(accumulator_bits=20)))
numeric("SaturatingAccumulator24", "numerics/*/bias_extremes", _declared(Numerics(accumulator_bits=24)))


def _saturating_sum(sums: Array) -> NDArray[np.int32]:
    return np.clip(sums, -(2**31), 2**31 - 1).astype(np.int32)


numeric("AccumulatorSaturatesAt32", "numerics/*/bias_wraps", _swap("accumulate.narrow", _saturating_sum))


def _wrapping_sum_16(sums: Array) -> NDArray[np.int32]:
    return sums.astype(np.int64).astype(np.int16).astype(np.int32)


numeric("WrappingAccumulator16", _ACCUMULATOR, _swap("accumulate.narrow", _wrapping_sum_16))


def _half_precision_sum(sums: Array) -> NDArray[np.int32]:
    return sums.astype(np.float32).astype(ml_dtypes.bfloat16).astype(np.int64).astype(np.int32)


numeric("BFloat16Accumulator", "numerics/Conv/uint8*", _swap("accumulate.narrow", _half_precision_sum))


def _pairwise(x: values.Dequantized, w: values.Dequantized) -> Array:
    """Sums pairs of u8 · s8 products in saturating int16, as vpmaddubsw does, and corrects for the zero point."""
    left, right = x.codes.astype(np.int64), w.codes.astype(np.int64)
    products = left[..., :, :, None] * right[..., None, :, :]
    if products.shape[-2] % 2:
        products = np.concatenate([products, np.zeros_like(products[..., :1, :])], -2)
    pairs = np.clip(products[..., 0::2, :] + products[..., 1::2, :], -(2**15), 2**15 - 1)
    zero = 0 if x.zero is None else int(x.zero)
    return np.asarray(pairs.sum(-2) - zero * right.sum(-2, keepdims=True))


numeric("PairwiseSaturation", "numerics/Gemm/uint8*/accumulator_pairs", _swap("ops.matrix._accumulated", _pairwise))


def _coarse_multiplier(accumulator: Array, source: Array, target: Array, zero: Array | None, dtype: Any) -> Array:
    """A multiplier of 8 bits, as fixed-point hardware might have."""
    ratio = (source.astype(np.float32) / target.astype(np.float32)).astype(ml_dtypes.bfloat16).astype(np.float32)
    return codes._to_codes(accumulator.astype(np.float32) * ratio, zero, dtype)


numeric("CoarseMultiplier", "numerics/Conv/uint8*/mixed", _swap("values.requantize", _coarse_multiplier))


def _rounds_after_zero(ratio: Array, zero: Array | None, dtype: Any) -> Array:
    low, high = codes.integer_range(dtype)
    offset = np.float32(0) if zero is None else zero.astype(np.float32)
    return np.clip(np.rint(ratio + offset), low, high).astype(np.int32).astype(dtype)


numeric("RoundsAfterZeroPoint", _ROUNDING, _swap("codes._to_codes", _rounds_after_zero))


def _wraps(ratio: Array, zero: Array | None, dtype: Any) -> Array:
    offset = np.float32(0) if zero is None else zero.astype(np.float32)
    return (np.rint(ratio) + offset).astype(np.int64).astype(dtype)


numeric("WrapsInsteadOfSaturating", "numerics/*/saturation", _swap("codes._to_codes", _wraps))


def _narrow_range(dtype: Any) -> tuple[int, int]:
    low, high = codes._RANGES[dtype]
    return (low + 1, high) if low < 0 else (low, high)


numeric("ClampsToNarrowRange", "numerics/Conv/int8*", _swap("codes.integer_range", _narrow_range))


def _never_the_top(dtype: Any) -> tuple[int, int]:
    low, high = codes._RANGES[dtype]
    return low, high - 1


numeric("LosesTheLargestCode", "numerics/*/saturation", _swap("codes.integer_range", _never_the_top))


def _overflows(x: Array, dtype: Any) -> Array:
    return x.astype(dtype)


numeric("Float8OverflowsToNan", "numerics/Conv/float8*/saturation", _swap("codes.saturate_cast", _overflows))


def _flushes(x: values.Dequantized) -> Array:
    small = x.codes.astype(np.float32)
    if x.codes.dtype == ml_dtypes.float8_e4m3fn:
        small = np.where(np.abs(small) < 2.0**-6, np.float32(0), small)
        return np.asarray(small * x.scale.astype(np.float32)).astype(x.dtype)
    return codes.dequantize(x.codes, x.scale, x.zero).astype(x.dtype)


numeric("FlushesFloat8Subnormals", "numerics/Conv/float8*/subnormals", _swap("values.Dequantized.real", _flushes))


def _uncentred(x: values.Dequantized, dtype: Any) -> Array:
    return x.codes.astype(dtype)


numeric("IgnoresZeroPoints", "numerics/Gemm/uint8*/zero_point_*", _swap("accumulate._centred", _uncentred))


def _bias_twice(sums: Array, scale: Array, dtype: Any, bias: Any, weight: float = 1.0) -> Any:
    return accumulate.finish(sums + (0 if bias is None else bias.codes.astype(np.int64)), scale, dtype, bias, weight)


numeric("AddsBiasTwice", "numerics/Gemm/uint8*/mixed", _swap("ops.matrix.finish", _bias_twice))
