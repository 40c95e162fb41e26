"""Operators of ONNX Runtime's com.microsoft domain that read or write codes.

Each means DequantizeLinear → operator → QuantizeLinear, and is computed as just that. (ONNX Runtime's own kernels
for some of them interpolate in tables or in fixed point; the definition here is the float operator.)

Source: ONNX Runtime, docs/ContribOperators.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from deepseek_core.reference.accumulate import product_scale
from deepseek_core.reference.ops.linear import dynamic_quantize_linear, quantize_value
from deepseek_core.reference.ops.matrix import gemm, matmul
from deepseek_core.reference.ops.pooling import average_pool
from deepseek_core.reference.ops.qlinear import matrix_operand, qlinear_conv
from deepseek_core.reference.ops.standard import Operation, standard
from deepseek_core.reference.values import Array, Dequantized, Value, real

__all__ = [
    "dynamic_quantize_matmul",
    "elementwise",
    "matmul_integer_to_float",
    "nhwc_conv",
    "qgemm",
    "qlinear_concat",
    "qlinear_where",
]

_OPSET = {"": 13}
"""The version whose attributes the com.microsoft operators took over."""


def elementwise(op: str, operands: int = 1) -> Any:
    """Binds an operator with inputs (codes, scale, zero) × operands, output scale, output zero.

    y = saturate(round_half_even(op(x…) / s_y) + z_y), op in float32 on dequantized values
    """

    def bind(node: ir.Node) -> Operation:
        inner = _float_operator(op, operands, node)
        last = bool(node.attributes.get_int("channels_last", 0))

        def run(*inputs: Value) -> tuple[Value, ...]:
            given = _padded(inputs, 3 * operands + 2)
            values = [_dequantized(given[3 * i : 3 * i + 3]).real() for i in range(operands)]
            result = real(inner(*(_channels_first(v) if last else v for v in values))[0])
            return (_quantized(_channels_last(result) if last else result, given[-2], given[-1], given[0].dtype),)

        return run

    return bind


def qlinear_concat(node: ir.Node) -> Operation:
    """QLinearConcat: output scale and zero point, then (codes, scale, zero) of each part, along `axis`."""
    axis = node.attributes["axis"].as_int()

    def run(*inputs: Value) -> tuple[Value, ...]:
        given = _padded(inputs, len(inputs) + (2 - len(inputs)) % 3)
        parts = [_dequantized(given[i : i + 3]).real() for i in range(2, len(given), 3)]
        return (_quantized(np.concatenate(parts, axis), given[0], given[1], given[2].dtype),)

    return run


def qlinear_where(node: ir.Node, condition: Value, *inputs: Value) -> Value:
    """QLinearWhere: (codes, scale, zero) where true, the same where false, output scale and zero point."""
    given = _padded(inputs, 8)
    chosen = np.where(real(condition), _dequantized(given[:3]).real(), _dequantized(given[3:6]).real())
    return _quantized(chosen, given[6], given[7], given[0].dtype)


def qgemm(node: ir.Node, *inputs: Value) -> Value:
    """QGemm: a, s_a, z_a, b, s_b, z_b, int32 c with scale alpha · s_a · s_b, and s_y, z_y for codes as output.

    acc = Σ_k (a − z_a) · (b − z_b) + c  in int32
    y = saturate(round_half_even(float32(acc) · float32(float32(s_a · s_b) · alpha / s_y)) + z_y), or the real numbers
    """
    a, a_scale, a_zero, b, b_scale, b_zero, c, y_scale, y_zero = _padded(inputs, 9)
    axis = -2 if node.attributes.get_int("transB", 0) else -1
    bias = None
    if c is not None:
        alpha = np.float32(node.attributes.get_float("alpha", 1.0))
        bias = Dequantized(c, product_scale(a_scale.reshape(()), b_scale.reshape(-1)) * alpha, None, a_scale.dtype)
    product = gemm(node, matrix_operand(a, a_scale, a_zero, -2), matrix_operand(b, b_scale, b_zero, axis), bias)
    return product if y_scale is None else _quantized(product, y_scale, y_zero, a.dtype)


def nhwc_conv(node: ir.Node, *inputs: Value) -> Value:
    """com.microsoft's QLinearConv: as the standard's, with channels_last [N, spatial…, C] in and out."""
    if not node.attributes.get_int("channels_last", 0):
        return qlinear_conv(node, *inputs)
    return _channels_last(real(qlinear_conv(node, _channels_first(real(inputs[0])), *inputs[1:])))


def matmul_integer_to_float(node: ir.Node, *inputs: Value) -> Value:
    """MatMulIntegerToFloat: a, b, s_a, s_b, z_a, z_b, float bias: float32(acc) · float32(s_a · s_b) + bias."""
    a, b, a_scale, b_scale, a_zero, b_zero, bias = _padded(inputs, 7)
    product = matmul(node, matrix_operand(a, a_scale, a_zero, -2), matrix_operand(b, b_scale, b_zero, -1))
    return product if bias is None else real(product) + bias


def dynamic_quantize_matmul(node: ir.Node, *inputs: Value) -> Value:
    """DynamicQuantizeMatMul: a is quantized to uint8 by its own range, then as `matmul_integer_to_float`."""
    a, b, b_scale, b_zero, bias = _padded(inputs, 5)
    codes, a_scale, a_zero = dynamic_quantize_linear(node, a)
    return matmul_integer_to_float(node, codes, b, a_scale, b_scale, a_zero, b_zero, bias)


def _float_operator(op: str, operands: int, node: ir.Node) -> Operation:
    kept = [a for name, a in node.attributes.items() if name not in ("channels_last", "opset")]
    inner = ir.Node("", op, [ir.Value(name=f"x{i}") for i in range(operands)], kept, name=node.name)
    inner.outputs[0].name = "y"
    if op == "AveragePool":
        return lambda x: (average_pool(inner, x),)
    return standard(inner, {"": int(node.attributes.get_int("opset", _OPSET[""]))})


def _padded(inputs: Sequence[Value], count: int) -> list[Any]:
    return [*map(real, inputs), *(None,) * (count - len(inputs))]


def _dequantized(triple: Sequence[Any]) -> Dequantized:
    codes, scale, zero = triple
    return Dequantized.of(codes, scale, zero)


def _quantized(x: Value, scale: Array, zero: Array | None, dtype: np.dtype[Any]) -> Array:
    return quantize_value(
        x, scale.reshape(()), None if zero is None else zero.reshape(()), dtype if zero is None else zero.dtype
    )


def _channels_first(x: Array) -> Array:
    return np.moveaxis(x, -1, 1)


def _channels_last(x: Array) -> Array:
    return np.moveaxis(x, 1, -1)
