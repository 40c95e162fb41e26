"""QLinearConv and QLinearMatMul: operations whose inputs and outputs are codes.

They mean DequantizeLinear → operation → QuantizeLinear, and are computed as just that by the same functions.
"""

from __future__ import annotations

import onnx_ir as ir

from deepseek_core.reference.accumulate import product_scale
from deepseek_core.reference.ops.convolution import conv
from deepseek_core.reference.ops.linear import quantize_value
from deepseek_core.reference.ops.matrix import matmul
from deepseek_core.reference.values import Array, Dequantized, Value, real

__all__ = ["matrix_operand", "qlinear_conv", "qlinear_matmul"]


def qlinear_conv(node: ir.Node, *inputs: Value) -> Value:
    """QLinearConv-10. Inputs x, s_x, z_x, w, s_w, z_w, s_y, z_y and an optional int32 bias with scale s_x · s_w.

    acc = Σ (x − z_x) · (w − z_w) + bias  in int32, padding counts as z_x
    y = saturate(round_half_even(float32(acc) · float32(float32(s_x · s_w) / s_y)) + z_y)
    """
    x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero, *rest = map(real, inputs)
    data, weight = Dequantized.of(x, x_scale, x_zero), Dequantized.of(w, w_scale, w_zero, axis=0)
    bias = None
    if rest and rest[0] is not None:
        bias = Dequantized.of(rest[0], product_scale(x_scale.reshape(()), w_scale), None, axis=0)
    return quantize_value(conv(node, data, weight, bias), y_scale.reshape(()), y_zero.reshape(()), y_zero.dtype)


def qlinear_matmul(node: ir.Node, *inputs: Value) -> Value:
    """QLinearMatMul-21. Inputs a, s_a, z_a, b, s_b, z_b, s_y, z_y; s_a one or by row, s_b one or by column.

    acc = Σ_k (a − z_a) · (b − z_b)  in int32
    y = saturate(round_half_even(float32(acc) · float32(float32(s_a · s_b) / s_y)) + z_y)
    """
    a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero = map(real, inputs)
    product = matmul(node, matrix_operand(a, a_scale, a_zero, -2), matrix_operand(b, b_scale, b_zero, -1))
    rank = real(product).ndim
    return quantize_value(product, _along(y_scale, rank, -2), _along(y_zero, rank, -2), y_zero.dtype)


def matrix_operand(codes: Value, scale: Array, zero: Value, axis: int) -> Dequantized:
    """A matrix with one scale, one for each row (axis -2) or column (-1), or a scale of the matrix' own rank."""
    array = real(codes)
    offset = None if zero is None else _along(real(zero), array.ndim, axis)
    return Dequantized(array, _along(scale, array.ndim, axis), offset, scale.dtype)


def _along(values: Array, rank: int, axis: int) -> Array:
    if values.size == 1:
        return values.reshape(())
    if values.ndim != 1 or rank < 2:
        return values
    return values.reshape([-1 if i == rank + axis else 1 for i in range(rank)])
