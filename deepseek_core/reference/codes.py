"""Real numbers ↔ codes, for every element type that ONNX quantizes to.

quantize      q = saturate(round_half_even(x / s) + z), the division in float32 (or in the type `precision` names)
dequantize    x = (q − z) · s, difference exact, product in float32
requantize    q = saturate(round_half_even(float32(acc) · float32(float32(s_x · s_w) / s_y)) + z_y)

Floating-point codes have no zero point: q = cast(x / s), saturating unless asked otherwise. NaN becomes the code of 0.

Sources: ONNX operators QuantizeLinear-25 and DequantizeLinear-25; Jacob et al., "Quantization and Training of Neural
Networks for Efficient Integer-Arithmetic-Only Inference", 2018, section 2.2 (with a float32 multiplier, as ONNX
Runtime's kernels have it). `deepseek_core.ir.qparams` defines the same for the types of the IR.
"""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray
from onnx.numpy_helper import saturate_cast

from deepseek_core.errors import ModelError
from deepseek_core.reference.numerics import round_codes

__all__ = ["dequantize", "integer_range", "is_integer", "quantize", "requantize", "spread"]

Array = NDArray[Any]

_SMALL = (ml_dtypes.int4, ml_dtypes.uint4, ml_dtypes.int2, ml_dtypes.uint2)
_RANGES: dict[np.dtype[Any], tuple[int, int]] = {
    np.dtype(t): (int(info(t).min), int(info(t).max))
    for info, types in ((np.iinfo, (np.int8, np.uint8, np.int16, np.uint16)), (ml_dtypes.iinfo, _SMALL))
    for t in types
}


def is_integer(dtype: np.dtype[Any]) -> bool:
    """Whether codes of this type are integers of at most 16 bits: what accumulators are fed with."""
    return dtype in _RANGES


def integer_range(dtype: np.dtype[Any]) -> tuple[int, int]:
    """Smallest and largest code of an integer type."""
    return _RANGES[dtype]


def spread(values: Array, shape: tuple[int, ...], axis: int, block: int = 0) -> Array:
    """A scale or zero point as an array that broadcasts to a tensor of `shape`.

    Args:
        values: one element; one for each index of `axis`; or, with `block` > 0, the tensor's shape with `axis`
            divided by `block` (rounded up).

    Raises:
        ModelError: `values` has another shape.
    """
    if values.size == 1 and not block:
        return values.reshape(())
    if -len(shape) <= axis < len(shape):
        axis %= len(shape)
        if block and values.ndim == len(shape):
            repeated = np.repeat(values, block, axis)
            return repeated[tuple(slice(n) if i == axis else slice(None) for i, n in enumerate(shape))]
        if not block and values.shape == (shape[axis],):
            return values.reshape([-1 if i == axis else 1 for i in range(len(shape))])
    raise ModelError(
        f"scale or zero point of shape {list(values.shape)} for axis {axis} of a tensor of shape {list(shape)}",
        fix="give one element, one for each index of the axis, or one for each block",
    )


def quantize(
    x: Array,
    scale: Array,
    zero: Array | None,
    dtype: np.dtype[Any],
    *,
    saturate: bool = True,
    precision: np.dtype[Any] | None = None,
) -> Array:
    """Codes of real numbers.

    Args:
        x: float or int32, any shape.
        scale, zero: broadcastable to `x`; zero None counts as 0.
        dtype: of the codes.
        saturate: float8 only: values beyond the range become the largest finite number, not NaN or infinity.
        precision: type of the division, default float32.
    """
    wide = precision if precision is not None else np.dtype(np.float32)
    ratio = x.astype(wide) / scale.astype(wide)
    if is_integer(dtype):
        return _to_codes(ratio.astype(np.float32), zero, dtype)
    return np.asarray(saturate_cast(ratio, dtype) if saturate else ratio.astype(dtype))


def dequantize(codes: Array, scale: Array, zero: Array | None) -> NDArray[np.float32]:
    """Real numbers of codes, float32. The difference to the zero point is exact, int32 codes included."""
    if is_integer(codes.dtype):
        difference = codes.astype(np.int32)
        difference = difference if zero is None else difference - zero.astype(np.int32)
    elif codes.dtype.kind in "iu":
        difference = codes.astype(np.int64) - (0 if zero is None else zero.astype(np.int64))
    else:
        difference = codes
    return np.asarray(difference.astype(np.float32) * scale.astype(np.float32), np.float32)


def requantize(
    accumulator: NDArray[np.int32], source: Array, target: Array, zero: Array | None, dtype: np.dtype[Any]
) -> Array:
    """Codes of an accumulator: saturate(round_half_even(float32(acc) · float32(source / target)) + zero).

    Args:
        accumulator: int32, any shape.
        source: float32 scale of the accumulator (activation · weight), broadcastable to it.
        target, zero: scale and zero point of the output, broadcastable to it.
        dtype: an integer type of at most 16 bits.
    """
    multiplier = np.asarray(source.astype(np.float32) / target.astype(np.float32), np.float32)
    return _to_codes(np.asarray(accumulator.astype(np.float32) * multiplier), zero, dtype)


def _to_codes(ratio: NDArray[np.float32], zero: Array | None, dtype: np.dtype[Any]) -> Array:
    # float32 is exact here: where a sum has more than 24 bits it lies far outside 16-bit codes and saturates.
    low, high = integer_range(dtype)
    offset = np.float32(0) if zero is None else zero.astype(np.float32)
    codes = np.clip(round_codes(ratio) + offset, low, high)
    codes = np.where(np.isnan(codes), offset, codes)
    return codes.astype(np.int32).astype(dtype)
