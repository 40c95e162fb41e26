"""Softmax of int8 codes, in 32-bit integers.

With d = x - max(x) the exponential has 256 values: a table, of as many bits as the sum of a row leaves room for. A
table holds bytes, so there is one for each byte, and their sum is exact. The reciprocal of the sum is looked up between
points, after the sum was shifted to 31 bits; the shift is taken back at the end. What is lost on the way is below 2^-9
of each result, in the longest rows and much less in others: at most half a code of eight bits, so one code at most.
"""

from __future__ import annotations

import math
from math import prod

import numpy as np

from deepseek_backend_npu.lowering.emitter import Emitter
from deepseek_backend_npu.lowering.numbers import scale_zero
from deepseek_backend_npu.tosa import DType, Op, Tensor
from deepseek_core import Role, Unit
from deepseek_core.lowering import Order, canonical, shape_of

__all__ = ["LOWERINGS", "softmax_problem"]

_LONGEST = 2048
"""Elements of a row: with more, the exponentials' bits are too few."""
_SUM_BITS, _MOST_BITS = 30, 22
_BYTES = 3
_POINTS = 513
_RECIPROCAL_BITS = 24
_RESULT_BITS = 22


def softmax_problem(unit: Unit) -> str | None:
    """Why the NPU does not compute this softmax; None when it does."""
    size = shape_of(unit.operands(Role.DATA)[0])[_axis(unit)]
    return f"a softmax over more than {_LONGEST} elements is less exact than declared" if size > _LONGEST else None


def _axis(unit: Unit) -> int:
    return unit.node.attributes.get_int("axis", -1) % len(shape_of(unit.operands(Role.DATA)[0]))


def _softmax(unit: Unit, emitter: Emitter) -> None:
    (x,), y = unit.operands(Role.DATA), unit.outputs[0]
    order = _axis_last(emitter.order(x.value) or canonical(len(shape_of(x))), _axis(unit))
    codes = emitter.codes(x, order)
    rows = emitter.reshape(codes, (1, prod(codes.shape[:-1]), 1, codes.shape[-1]))
    bits = min(_MOST_BITS, _SUM_BITS - math.ceil(math.log2(rows.shape[-1])))
    powers = _exponentials(emitter, rows, float(scale_zero(x)[0]), bits)
    shares = _divided(emitter, powers, bits)
    scale, zero = scale_zero(y)
    result = emitter.rescale(shares, DType.INT8, [2.0**-_RESULT_BITS / float(scale)], 0, zero)
    emitter.define(y.value, emitter.reshape(result, codes.shape), order)


def _axis_last(order: Order, axis: int) -> Order:
    return (*(place for place in order if place != axis), axis)


def _exponentials(emitter: Emitter, rows: Tensor, scale: float, bits: int) -> Tensor:
    """exp(scale · (x - max(x))) · 2^bits in int32."""
    graph = emitter.graph
    largest = graph.add(Op.REDUCE_MAX, [rows], _single(rows), DType.INT8, axis=3)
    below = graph.add(Op.SUB, [emitter.widen(rows, 0), emitter.widen(largest, 0)], rows.shape, DType.INT32)
    index = emitter.rescale(below, DType.INT8, [1.0], 0, 127)
    rest = np.rint(np.exp(np.arange(-255, 1) * scale) * 2.0**bits).astype(np.int64)
    total: Tensor | None = None
    for place in range(_BYTES):
        digit = (rest + 128 & 255) - 128 if place < _BYTES - 1 else rest
        rest = rest - digit >> 8
        table = graph.constant(digit, DType.INT8)
        looked_up = graph.add(Op.TABLE, [index, table], rows.shape, DType.INT8)
        part = emitter.rescale(looked_up, DType.INT32, [256.0**place], 0, 0)
        total = part if total is None else graph.add(Op.ADD, [total, part], rows.shape, DType.INT32)
    assert total is not None
    return total


def _divided(emitter: Emitter, powers: Tensor, bits: int) -> Tensor:
    """Powers by their sum, times 2^_RESULT_BITS, in int32."""
    graph, row = emitter.graph, _single(powers)
    total = graph.add(Op.REDUCE_SUM, [powers], row, DType.INT32, axis=3)
    zeros = graph.add(Op.CLZ, [total], row, DType.INT32)
    up = graph.add(Op.SUB, [zeros, _number(emitter, 1)], row, DType.INT32)
    high = graph.add(Op.LOGICAL_LEFT_SHIFT, [total, up], row, DType.INT32)  # in [2^30, 2^31)
    reciprocal = _reciprocal(emitter, high)
    down = bits + _RECIPROCAL_BITS - _SUM_BITS
    shift = graph.constant(np.array([down]), DType.INT8)
    product = graph.add(Op.MUL, [powers, reciprocal, shift], powers.shape, DType.INT32)
    # power / sum = power · reciprocal · 2^(up - 30), and the product is power · reciprocal · 2^(24 - down)
    most = _number(emitter, _RECIPROCAL_BITS - down + _SUM_BITS - _RESULT_BITS)
    amount = graph.add(Op.SUB, [most, up], row, DType.INT32)
    return graph.add(Op.ARITHMETIC_RIGHT_SHIFT, [product, amount], powers.shape, DType.INT32, round=True)


def _reciprocal(emitter: Emitter, high: Tensor) -> Tensor:
    """2^(30 + _RECIPROCAL_BITS) / high: the table has the distance to 3/4, in the middle of what it can be."""
    graph, row = emitter.graph, high.shape
    centred = graph.add(Op.SUB, [high, _number(emitter, 3 << 29)], row, DType.INT32)
    index = emitter.rescale(centred, DType.INT16, [2.0**-14], 0, 0)
    values = 1 + np.arange(_POINTS) / (_POINTS - 1)
    points = np.clip(np.rint((1 / values - 0.75) * 2.0**17), -(2**15), 2**15 - 1)
    distance = graph.add(Op.TABLE, [index, graph.constant(points, DType.INT16)], row, DType.INT32)
    return graph.add(Op.ADD, [distance, _number(emitter, 3 << _RECIPROCAL_BITS - 2)], row, DType.INT32)


def _single(rows: Tensor) -> tuple[int, ...]:
    return (*rows.shape[:-1], 1)


def _number(emitter: Emitter, value: int) -> Tensor:
    return emitter.graph.constant(np.full((1, 1, 1, 1), value), DType.INT32)


LOWERINGS = {"Softmax": _softmax}
