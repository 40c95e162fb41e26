"""Functions of one int16 value.

Lines with bounds are rescalings and clamps. Everything else is TABLE: 513 points with straight lines between them. The
points are int16 too, so one table is exact to half a code at best. Where that is not enough, the input is spread over
more of the table first, which is right where the function is flat beyond, or a second table adds the low bits of the
points. What comes of it is computed here for each of the 65,536 codes, and a unit that would be more than one code off
is refused.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepseek_backend_npu.lowering.emitter import Emitter
from deepseek_backend_npu.lowering.numbers import multiplier, qparams_for, scale_zero
from deepseek_backend_npu.tosa import DType, Op, Tensor
from deepseek_core import DType as ElementType
from deepseek_core import Role, Unit
from deepseek_core.lowering import UnaryFunction, clip_bounds

__all__ = ["bounded", "hard_sigmoid", "hard_swish", "interpolated", "wide_problem"]

Integers = NDArray[np.int64]
_CODES = np.arange(-(1 << 15), 1 << 15)
_LOWEST, _HIGHEST = -(1 << 15), (1 << 15) - 1
_STEP, _FRACTION = 128, 7
_LOW_BITS = 8
_LARGEST_ERROR = 1
_MOST_SPREAD = 6
_LARGEST_SLOPE = 1 << 12
_EXACT = frozenset(("Clip", "HardSwish", "Relu"))
_BEYOND = 8
"""Points reach this far beyond the output's codes, so that lines end where the function does and not before."""


@dataclass(frozen=True, slots=True)
class Interpolation:
    """A function as tables.

    Attributes:
        spread: left shift of the input, saturating.
        points: int16 [513], in steps of 2^8 `unit` where there is a second table.
        low: what is left of the points in steps of `unit`; None for one table.
        unit: output codes of a step of the points.
    """

    spread: int
    points: Integers
    low: Integers | None
    unit: float

    def results(self) -> Integers:
        """The code that each code becomes, as the NPU computes it."""
        place = np.clip(_CODES << self.spread, _LOWEST, _HIGHEST) - _LOWEST
        total = _line(self.points, place)
        if self.low is not None:
            total = (total << _LOW_BITS) + _line(self.low, place)
        number, shift = multiplier(self.unit / _STEP)
        return np.asarray(np.clip((total * number + (1 << shift - 1)) >> shift, _LOWEST, _HIGHEST))


def _line(points: Integers, place: Integers) -> Integers:
    start = points[place >> _FRACTION]
    return np.asarray((start << _FRACTION) + (points[(place >> _FRACTION) + 1] - start) * (place & _STEP - 1))


def wide_problem(unit: Unit) -> str | None:
    """Why the NPU does not compute this function, if it is one of int16; None where it does."""
    if unit.operands(Role.DATA)[0].dtype is not ElementType.INT16 or unit.op in _EXACT:
        return None
    if unit.op == "HardSigmoid":
        return None if 0 < _line_of(unit)[0] < _LARGEST_SLOPE else "its slope, in codes, is none that the NPU computes"
    if _interpolation(unit) is None:
        return f"straight lines between 513 points are more than {_LARGEST_ERROR} code off its {unit.op}"
    return None


def interpolated(unit: Unit, emitter: Emitter, x: Tensor) -> Tensor:
    """The function by tables; a unit that `wide_problem` accepts."""
    plan, graph = _interpolation(unit), emitter.graph
    assert plan is not None
    if plan.spread:
        x = emitter.rescale(x, DType.INT16, [float(1 << plan.spread)], 0, 0)
    total = graph.add(Op.TABLE, [x, graph.constant(plan.points, DType.INT16)], x.shape, DType.INT32)
    if plan.low is not None:
        by = [_constant(emitter, x, 1 << _LOW_BITS), graph.constant(np.array([0]), DType.INT8)]
        high = graph.add(Op.MUL, [total, *by], x.shape, DType.INT32)
        low = graph.add(Op.TABLE, [x, graph.constant(plan.low, DType.INT16)], x.shape, DType.INT32)
        total = graph.add(Op.ADD, [high, low], x.shape, DType.INT32)
    return emitter.rescale(total, DType.INT16, [plan.unit / _STEP], 0, 0)


def _interpolation(unit: Unit) -> Interpolation | None:
    (x,), y = unit.operands(Role.DATA), unit.outputs[0]
    return _planned(UnaryFunction.of(unit.node), float(scale_zero(x)[0]), float(scale_zero(y)[0]))


@functools.lru_cache(maxsize=1024)
def _planned(function: UnaryFunction, scale: float, step: float) -> Interpolation | None:
    """The least work that is exact enough; None where none is."""
    real = function(_CODES.astype(np.float32) * np.float32(scale))
    wanted = np.clip(np.rint(real / np.float32(step)), _LOWEST, _HIGHEST).astype(np.int64)
    for plan in _plans(function, scale, step):
        if int(np.abs(plan.results() - wanted).max()) <= _LARGEST_ERROR:
            return plan
    return None


def _plans(function: UnaryFunction, scale: float, step: float) -> Iterator[Interpolation]:
    """One table, then two, from no spread to the most; points on the function first, then such that lines cross it."""
    places = _LOWEST + _STEP * np.arange(513)
    exact = []
    for spread in range(_MOST_SPREAD + 1):
        real = function(places * scale / (1 << spread)) / step
        if np.isfinite(real).all():
            exact += [(spread, real), (spread, real - np.pad(np.diff(real, 2), 1, "edge") / 16)]
    for spread, codes in exact:
        if max(np.abs(codes).max(), np.abs(np.diff(codes)).max() + 1) <= _HIGHEST:
            yield Interpolation(spread, np.rint(codes).astype(np.int64), None, 1.0)
    for spread, codes in exact:
        limited = np.clip(codes, _BEYOND * _LOWEST, _BEYOND * _HIGHEST)
        unit = max(float(np.abs(limited).max()), 1.0) / (_HIGHEST << _LOW_BITS)
        steps = np.rint(limited / unit).astype(np.int64)
        high = (steps + (1 << _LOW_BITS - 1)) >> _LOW_BITS
        if np.abs(np.diff(high)).max() <= _HIGHEST and np.abs(high).max() <= _HIGHEST:
            yield Interpolation(spread, high, steps - (high << _LOW_BITS), unit)


def bounded(unit: Unit, emitter: Emitter, x: Tensor) -> Tensor:
    """Relu and Clip: codes of the output, cut to those of the bounds."""
    (operand,), y = unit.operands(Role.DATA), unit.outputs[0]
    codes = emitter.rescale(x, DType.INT16, [float(scale_zero(operand)[0] / scale_zero(y)[0])], 0, 0)
    return emitter.clamp(
        codes, *(int(qparams_for(y).quantize(np.array(end, np.float32))) for end in clip_bounds(unit.node))
    )


def hard_sigmoid(unit: Unit, emitter: Emitter, x: Tensor) -> Tensor:
    """The line alpha · x + beta, cut to 0 … 1."""
    y = unit.outputs[0]
    slope, shift = _line_of(unit)
    bits = _room(abs(slope) * (1 << 15) + abs(shift), 12)
    total = _sloped(emitter, x, slope, shift, bits)
    codes = emitter.rescale(total, DType.INT16, [2.0**-bits], 0, 0)
    return emitter.clamp(codes, *(int(qparams_for(y).quantize(np.array(end, np.float32))) for end in (0, 1)))


def _line_of(unit: Unit) -> tuple[float, float]:
    """Its alpha and beta, in codes of the output."""
    (x,), y, attributes = unit.operands(Role.DATA), unit.outputs[0], unit.node.attributes
    scale = float(scale_zero(y)[0])
    slope = float(np.float32(attributes.get_float("alpha", 0.2))) * float(scale_zero(x)[0]) / scale
    return slope, float(np.float32(attributes.get_float("beta", 0.5))) / scale


def hard_swish(unit: Unit, emitter: Emitter, x: Tensor) -> Tensor:
    """The product x · (x / 6 + 1/2 cut to 0 … 1): the factor in 20 bits where there is room."""
    (operand,), y, graph = unit.operands(Role.DATA), unit.outputs[0], emitter.graph
    scale = float(scale_zero(operand)[0])
    bits = _room(scale * (1 << 15) / 6 + 0.5, 20)
    factor = _sloped(emitter, x, scale / 6, 0.5, bits)
    for op, end in ((Op.MAXIMUM, 0), (Op.MINIMUM, 1 << bits)):
        factor = graph.add(op, [factor, _constant(emitter, x, end)], x.shape, DType.INT32)
    down = max(bits - 14, 0)
    shift = graph.constant(np.array([down]), DType.INT8)
    product = graph.add(Op.MUL, [emitter.widen(x, 0), factor, shift], x.shape, DType.INT32)
    return emitter.rescale(product, DType.INT16, [scale / float(scale_zero(y)[0]) / 2.0 ** (bits - down)], 0, 0)


def _sloped(emitter: Emitter, x: Tensor, slope: float, shift: float, bits: int) -> Tensor:
    """(slope · x + shift) · 2^bits in int32."""
    line = emitter.rescale(x, DType.INT32, [slope * 2.0**bits], 0, 0)
    operands = [line, _constant(emitter, x, round(shift * 2.0**bits))]
    return emitter.graph.add(Op.ADD, operands, x.shape, DType.INT32)


def _room(largest: float, most: int) -> int:
    """Fraction bits of an int32 whose numbers are up to `largest`, and whose RESCALE has room for an int16 input."""
    return max(min(most, 28 - math.ceil(math.log2(max(largest, 1.0)))), 0)


def _constant(emitter: Emitter, x: Tensor, value: int) -> Tensor:
    return emitter.graph.constant(np.full((1,) * len(x.shape), value), DType.INT32)
