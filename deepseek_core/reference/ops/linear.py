"""QuantizeLinear, DequantizeLinear and DynamicQuantizeLinear."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from deepseek_core.reference.codes import is_integer, quantize, spread
from deepseek_core.reference.values import Accumulated, Array, Dequantized, Value, real, shape_of

__all__ = ["dequantize_linear", "dynamic_quantize_linear", "quantize_linear", "quantize_value"]


def quantize_linear(node: ir.Node, x: Value, scale: Value, zero: Value = None) -> Value:
    """QuantizeLinear-25: q = saturate(round_half_even(x / s) + z), per tensor, channel or block.

    The division is in float32 unless attribute `precision` names another type. Behind an integer accumulation:
        q = saturate(round_half_even(float32(acc) · float32(float32(s_x · s_w) / s)) + z)
    """
    factor, offset = real(scale), real(zero)
    code = node.attributes.get_int("output_dtype", 0)
    dtype = offset.dtype if offset is not None else ir.DataType(code or ir.DataType.UINT8).numpy()
    shape = shape_of(x)
    axis, block = (int(node.attributes.get_int(name, default)) for name, default in _AXIS_AND_BLOCK)
    precision = node.attributes.get_int("precision", 0)
    return quantize_value(
        x,
        spread(factor, shape, axis, block),
        None if offset is None else spread(offset, shape, axis, block),
        dtype,
        saturate=bool(node.attributes.get_int("saturate", 1)),
        precision=ir.DataType(precision).numpy() if precision else None,
    )


def dequantize_linear(node: ir.Node, codes: Value, scale: Value, zero: Value = None) -> Value:
    """DequantizeLinear-25: x = (q − z) · s, per tensor, channel or block; the difference is exact."""
    axis, block = (int(node.attributes.get_int(name, default)) for name, default in _AXIS_AND_BLOCK)
    result = Dequantized.of(real(codes), real(scale), real(zero), axis, block)
    code = node.attributes.get_int("output_dtype", 0)
    if not code:
        return result
    return Dequantized(result.codes, result.scale, result.zero, ir.DataType(code).numpy())


def quantize_value(
    x: Value,
    scale: Array,
    zero: Array | None,
    dtype: np.dtype[Any],
    *,
    saturate: bool = True,
    precision: np.dtype[Any] | None = None,
) -> Array:
    """Codes of a value: requantized from the accumulator where there is one and the codes are integers.

    Args:
        scale, zero: broadcastable to `x`.
        saturate, precision: see `codes.quantize`; an accumulator needs neither.
    """
    if isinstance(x, Accumulated) and is_integer(dtype):
        return x.quantized(scale, zero, dtype)
    return quantize(real(x), scale, zero, dtype, saturate=saturate, precision=precision)


def dynamic_quantize_linear(node: ir.Node, x: Value) -> tuple[Value, ...]:
    """DynamicQuantizeLinear-11: uint8 codes, scale and zero point of the range of x, widened to hold 0.

    s = (max(0, max x) − min(0, min x)) / 255 in float32, 1 for a range of zero width
    z = saturate(round_half_even(0 − min(0, min x) / s)),  q = saturate(round_half_even(x / s) + z)
    """
    values = real(x).astype(np.float32, copy=False)
    low, high = np.min(values, initial=np.float32(0)), np.max(values, initial=np.float32(0))
    scale = np.asarray((high - low) / np.float32(255), np.float32) if high > low else np.ones((), np.float32)
    zero = quantize(np.asarray(-low, np.float32), scale, None, np.dtype(np.uint8))
    return quantize(values, scale, zero, np.dtype(np.uint8)), scale, zero


_AXIS_AND_BLOCK = (("axis", 1), ("block_size", 0))
