"""Gemm and MatMul: with constant weights a 1 × 1 convolution over rows, of two activations a product of matrices."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek_backend_npu.lowering.convolution import convolve, finish, sums
from deepseek_backend_npu.lowering.emitter import Emitter
from deepseek_backend_npu.lowering.numbers import bias_codes, factors, scale_zero
from deepseek_backend_npu.lowering.windows import Window
from deepseek_backend_npu.tosa import Op
from deepseek_core import Role, Unit
from deepseek_core.lowering import canonical, constant_of, shape_of

__all__ = ["LOWERINGS"]

_POINT = Window((1, 1), (1, 1), (1, 1), ((0, 0), (0, 0)))


def _gemm(unit: Unit, emitter: Emitter) -> None:
    attributes = unit.node.attributes
    (weight,) = unit.operands(Role.WEIGHT)
    weights = constant_of(weight.value)
    columns_first = weights if attributes.get_int("transB", 0) else weights.T
    order = (1, 0) if attributes.get_int("transA", 0) else (0, 1)
    _rows_by_weights(unit, emitter, columns_first, order)


def _matmul(unit: Unit, emitter: Emitter) -> None:
    weights = unit.operands(Role.WEIGHT)
    if weights:
        rank = len(shape_of(unit.operands(Role.DATA)[0]))
        _rows_by_weights(unit, emitter, constant_of(weights[0].value).T, canonical(rank))
    else:
        _product(unit, emitter)


def _rows_by_weights(unit: Unit, emitter: Emitter, weights: NDArray[Any], order: tuple[int, ...]) -> None:
    """Rows of [..., K] times weights [N, K]: a point convolution over an image of rows."""
    (x,), (weight,), y = unit.operands(Role.DATA), unit.operands(Role.WEIGHT), unit.outputs[0]
    codes = emitter.codes(x, order)
    columns, depth = weights.shape
    rows = prod(codes.shape[:-1])
    image = emitter.reshape(codes, (1, rows, 1, depth))
    kernels = weights.reshape(columns, 1, 1, depth)
    total = convolve(emitter, image, kernels, bias_codes(unit, columns), _POINT, zero=scale_zero(x)[1])
    result = finish(emitter, unit, total, np.broadcast_to(factors(x, weight, y), (columns,)))
    shape = shape_of(y)
    emitter.define(y.value, emitter.reshape(result, shape), canonical(len(shape)))


def _product(unit: Unit, emitter: Emitter) -> None:
    """[..., H, C] times [..., C, W], batch by batch."""
    a, b = unit.operands(Role.DATA)
    y, graph = unit.outputs[0], emitter.graph
    left, right = (emitter.codes(operand, canonical(len(shape_of(operand)))) for operand in (a, b))
    batch = prod(left.shape[:-2])
    left = emitter.reshape(left, (batch, *left.shape[-2:]))
    right = emitter.reshape(right, (batch, *right.shape[-2:]))
    zeros = [graph.constant(np.array([scale_zero(o)[1]]), t.dtype) for o, t in ((a, left), (b, right))]
    shape = (batch, left.shape[1], right.shape[2])
    total = graph.add(Op.MATMUL, [left, right, *zeros], shape, sums(left))
    factor = np.float32(scale_zero(a)[0] * scale_zero(b)[0]) / scale_zero(y)[0]
    result = finish(emitter, unit, total, [float(factor)])
    emitter.define(y.value, emitter.reshape(result, shape_of(y)), canonical(len(shape_of(y))))


LOWERINGS = {"Gemm": _gemm, "MatMul": _matmul}
