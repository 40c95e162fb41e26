"""ConvInteger and MatMulInteger: bare accumulators, without a scale."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from deepseek_core.reference.ops.convolution import conv
from deepseek_core.reference.ops.matrix import matmul
from deepseek_core.reference.ops.qlinear import matrix_operand
from deepseek_core.reference.values import Accumulated, Array, Dequantized, Value, real

__all__ = ["conv_integer", "matmul_integer"]

_ONE = np.ones((), np.float32)


def conv_integer(node: ir.Node, x: Value, w: Value, x_zero: Value = None, w_zero: Value = None) -> Value:
    """ConvInteger-10: Σ (x − z_x) · (w − z_w) mod 2^32 as int32; z_w one, or one for each output channel."""
    data = Dequantized.of(real(x), _ONE, real(x_zero))
    return _accumulator(conv(node, data, Dequantized.of(real(w), _ONE, real(w_zero), axis=0)))


def matmul_integer(node: ir.Node, a: Value, b: Value, a_zero: Value = None, b_zero: Value = None) -> Value:
    """MatMulInteger-10: Σ_k (a − z_a) · (b − z_b) mod 2^32 as int32; z_a one or by row, z_b one or by column."""
    return _accumulator(matmul(node, matrix_operand(a, _ONE, a_zero, -2), matrix_operand(b, _ONE, b_zero, -1)))


def _accumulator(value: Value) -> Array:
    assert isinstance(value, Accumulated)
    return value.accumulator
