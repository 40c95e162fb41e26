"""Operators: those with numerics of their own, and onnx.reference for the rest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import onnx_ir as ir

from deepseek_core.ir.ops import op_key
from deepseek_core.reference.ops import (
    clamp,
    contrib,
    convolution,
    gather,
    integer,
    linear,
    matrix,
    normalization,
    optional,
    pooling,
    qlinear,
)
from deepseek_core.reference.ops.standard import Operation, standard
from deepseek_core.reference.values import Value

__all__ = ["Operation", "bind"]

_MS = "com.microsoft::"

_KERNELS: dict[str, Callable[..., Any]] = {
    "AveragePool": pooling.average_pool,
    "Clip": clamp.clip,
    "Conv": convolution.conv,
    "ConvInteger": integer.conv_integer,
    "ConvTranspose": convolution.conv_transpose,
    "DequantizeLinear": linear.dequantize_linear,
    "DynamicQuantizeLinear": linear.dynamic_quantize_linear,
    "GatherElements": gather.gather_elements,
    "Gemm": matrix.gemm,
    "GlobalAveragePool": pooling.global_average_pool,
    "GlobalLpPool": pooling.global_lp_pool,
    "GlobalMaxPool": pooling.global_max_pool,
    "LRN": normalization.lrn,
    "MatMul": matrix.matmul,
    "MatMulInteger": integer.matmul_integer,
    "MaxPool": pooling.max_pool,
    "Optional": optional.optional,
    "OptionalGetElement": optional.optional_get_element,
    "OptionalHasElement": optional.optional_has_element,
    "QLinearConv": qlinear.qlinear_conv,
    "QLinearMatMul": qlinear.qlinear_matmul,
    "QuantizeLinear": linear.quantize_linear,
    "Relu": clamp.relu,
    f"{_MS}DequantizeLinear": linear.dequantize_linear,
    f"{_MS}DynamicQuantizeMatMul": contrib.dynamic_quantize_matmul,
    f"{_MS}MatMulIntegerToFloat": contrib.matmul_integer_to_float,
    f"{_MS}QGemm": contrib.qgemm,
    f"{_MS}QLinearConv": contrib.nhwc_conv,
    f"{_MS}QLinearWhere": contrib.qlinear_where,
    f"{_MS}QuantizeLinear": linear.quantize_linear,
}
"""`kernel(node, *inputs)` gives one value, or a tuple of them."""

_BINDERS: dict[str, Callable[[ir.Node], Operation]] = {
    f"{_MS}QLinearAdd": contrib.elementwise("Add", 2),
    f"{_MS}QLinearAveragePool": contrib.elementwise("AveragePool"),
    f"{_MS}QLinearConcat": contrib.qlinear_concat,
    f"{_MS}QLinearGlobalAveragePool": contrib.elementwise("GlobalAveragePool"),
    f"{_MS}QLinearLeakyRelu": contrib.elementwise("LeakyRelu"),
    f"{_MS}QLinearMul": contrib.elementwise("Mul", 2),
    f"{_MS}QLinearReduceMean": contrib.elementwise("ReduceMean"),
    f"{_MS}QLinearSigmoid": contrib.elementwise("Sigmoid"),
    f"{_MS}QLinearSoftmax": contrib.elementwise("Softmax"),
}


def bind(node: ir.Node, opsets: Mapping[str, int]) -> Operation:
    """A node ready to run.

    Args:
        opsets: version of each domain, as the model imports them.

    Raises:
        ModelError: nobody implements the operator; the message names the node.
    """
    key = op_key(node)
    if key in _BINDERS:
        return _BINDERS[key](node)
    if key not in _KERNELS:
        return standard(node, opsets)
    kernel = _KERNELS[key]

    def run(*inputs: Value) -> tuple[Value, ...]:
        result = kernel(node, *inputs)
        return result if isinstance(result, tuple) else (result,)

    return run
