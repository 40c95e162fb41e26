"""Add, Sub, Mul, Min, Max of two or more tensors, with broadcasting."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import numpy as np

from deepseek_backend_npu.lowering.convolution import finish
from deepseek_backend_npu.lowering.emitter import Emitter
from deepseek_backend_npu.lowering.numbers import bounds, qparams_for, scale_zero, tosa_dtype
from deepseek_backend_npu.lowering.rounding import Factors, exact_sum, plain_sum
from deepseek_backend_npu.tosa import DType, Op, Tensor
from deepseek_core import Operand, Role, Unit
from deepseek_core.lowering import Order, canonical, shape_of

__all__ = ["LOWERINGS", "aligned", "to_output", "working_order"]

_AXES = 4
_HEADROOM = {DType.INT8: 20, DType.INT16: 15}
"""Fraction bits of a sum's common scale: as many as int32 has room for."""


def working_order(emitter: Emitter, unit: Unit) -> Order:
    """The order in which the unit's output is computed: that of the first input of its rank that is already there."""
    rank = len(shape_of(unit.outputs[0]))
    for operand in unit.operands(Role.DATA):
        order = emitter.order(operand.value)
        if order is not None and len(order) == rank:
            return order
    return canonical(rank)


def aligned(emitter: Emitter, operand: Operand, order: Order) -> Tensor:
    """Codes of an operand with the output's rank, axes in the output's order; sizes of 1 are left to broadcast."""
    rank, shape = len(order), shape_of(operand)
    if len(shape) == rank:
        return emitter.codes(operand, order)
    codes = emitter.codes(operand, canonical(len(shape)))
    return emitter.transpose(emitter.reshape(codes, ((1,) * (rank - len(shape)) + shape)), order)


def to_output(emitter: Emitter, operand: Operand, codes: Tensor, y: Operand) -> Tensor:
    """Codes rescaled to the parameters of `y`."""
    (scale, zero), (y_scale, y_zero) = scale_zero(operand), scale_zero(y)
    dtype = tosa_dtype(y)
    if (scale, zero, codes.dtype) == (y_scale, y_zero, dtype):
        return codes
    return emitter.rescale(codes, dtype, [float(scale / y_scale)], zero, y_zero)


def _sum(op: Op) -> Callable[[Unit, Emitter], None]:
    """Both sides at a common scale of 2^-20 (int16: 2^-15) of twice the larger one, summed in int32."""

    def lower(unit: Unit, emitter: Emitter) -> None:
        a, b = unit.operands(Role.DATA)
        y, order = unit.outputs[0], working_order(emitter, unit)
        *factors, last = _sum_factors(op, a, b, y)
        codes = [
            emitter.rescale(aligned(emitter, side, order), DType.INT32, [factor], scale_zero(side)[1], 0)
            for side, factor in zip((a, b), factors, strict=True)
        ]
        emitter.define(y.value, finish(emitter, unit, _combined(emitter, op, codes), [last]), order)

    return lower


def _sum_factors(op: Op, a: Operand, b: Operand, y: Operand) -> Factors:
    """Exact for int8; the pairs of int16 are too many to look at."""
    (a_scale, a_zero), (b_scale, b_zero), (y_scale, y_zero) = map(scale_zero, (a, b, y))
    scales, dtype = (a_scale, b_scale, y_scale), tosa_dtype(a)
    if dtype is not DType.INT8:
        return plain_sum(scales, _HEADROOM[dtype])
    scheme = qparams_for(y).scheme
    ends = (int(scheme.qmin) - y_zero, int(scheme.qmax) - y_zero)
    return exact_sum(scales, (a_zero, b_zero), ends, 1 if op is Op.ADD else -1, _HEADROOM[dtype])


def _multiply(unit: Unit, emitter: Emitter) -> None:
    a, b = unit.operands(Role.DATA)
    y, order = unit.outputs[0], working_order(emitter, unit)
    sides = [emitter.widen(aligned(emitter, operand, order), scale_zero(operand)[1]) for operand in (a, b)]
    total = _combined(emitter, Op.MUL, sides)
    factor = np.float32(scale_zero(a)[0] * scale_zero(b)[0]) / scale_zero(y)[0]
    emitter.define(y.value, finish(emitter, unit, total, [float(factor)]), order)


def _extreme(op: Op) -> Callable[[Unit, Emitter], None]:
    """Rounding keeps order, so the extreme of codes is the code of the extreme; TOSA compares in int32."""

    def lower(unit: Unit, emitter: Emitter) -> None:
        y, order = unit.outputs[0], working_order(emitter, unit)
        y_scale, y_zero = scale_zero(y)
        sides = []
        for operand in unit.operands(Role.DATA):
            scale, zero = scale_zero(operand)
            codes = aligned(emitter, operand, order)
            sides.append(emitter.rescale(codes, DType.INT32, [float(scale / y_scale)], zero, 0))
        total = sides[0]
        for side in sides[1:]:
            total = _combined(emitter, op, [total, side])
        codes = emitter.rescale(total, tosa_dtype(y), [1.0], 0, y_zero)
        emitter.define(y.value, emitter.clamp(codes, *bounds(unit, y)), order)

    return lower


def _combined(emitter: Emitter, op: Op, sides: list[Tensor]) -> Tensor:
    """int32 results of two int32 tensors.

    More than four axes and a single element beside them are an image and a scalar: Vela 5.2.0 mixes the two up.
    """
    shape = np.broadcast_shapes(*(side.shape for side in sides))
    more = [emitter.graph.constant(np.array([0]), DType.INT8)] if op is Op.MUL else []
    if len(shape) <= _AXES or all(prod(side.shape) > 1 for side in sides):
        return emitter.graph.add(op, [*sides, *more], shape, DType.INT32)
    flat = (1, 1, prod(shape[:-1]), shape[-1])
    images = [emitter.reshape(side, flat if side.shape == shape else (1, 1, 1, 1)) for side in sides]
    return emitter.reshape(emitter.graph.add(op, [*images, *more], flat, DType.INT32), shape)


LOWERINGS = {
    "Add": _sum(Op.ADD),
    "Sub": _sum(Op.SUB),
    "Mul": _multiply,
    "Min": _extreme(Op.MINIMUM),
    "Max": _extreme(Op.MAXIMUM),
}
