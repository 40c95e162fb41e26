"""Ops that move codes: reshaping, transposing, cutting, joining, padding, picking."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek_backend_npu.lowering.convolution import convolve
from deepseek_backend_npu.lowering.elementwise import aligned, to_output, working_order
from deepseek_backend_npu.lowering.emitter import Emitter
from deepseek_backend_npu.lowering.numbers import constant, qparams_for
from deepseek_backend_npu.lowering.windows import Window
from deepseek_backend_npu.tosa import Tensor
from deepseek_core import Role, Unit
from deepseek_core.lowering import canonical, shape_of

__all__ = ["LOWERINGS"]

_FEW = 16
_POINT = Window((1, 1), (1, 1), (1, 1), ((0, 0), (0, 0)))


def _reshape(unit: Unit, emitter: Emitter) -> None:
    (x,), y = unit.operands(Role.DATA), unit.outputs[0]
    shape = shape_of(y)
    codes = emitter.codes(x, canonical(len(shape_of(x))))
    emitter.define(y.value, emitter.reshape(codes, shape), canonical(len(shape)))


def _identity(unit: Unit, emitter: Emitter) -> None:
    (x,), y = unit.operands(Role.DATA), unit.outputs[0]
    codes = emitter.codes(x)
    emitter.define(y.value, codes, emitter.order(x.value) or canonical(len(codes.shape)))


def _transpose(unit: Unit, emitter: Emitter) -> None:
    """Only the names of the axes change; whoever asks for another order has it made."""
    (x,), y = unit.operands(Role.DATA), unit.outputs[0]
    rank = len(shape_of(x))
    axes = tuple(unit.node.attributes.get_ints("perm", ())) or tuple(reversed(range(rank)))
    codes = emitter.codes(x)
    order = emitter.order(x.value) or canonical(rank)
    emitter.define(y.value, codes, tuple(axes.index(axis) for axis in order))


def _concat(unit: Unit, emitter: Emitter) -> None:
    y, order = unit.outputs[0], working_order(emitter, unit)
    axis = unit.node.attributes.get_int("axis", 0) % len(order)
    parts = [to_output(emitter, o, aligned(emitter, o, order), y) for o in unit.operands(Role.DATA)]
    emitter.define(y.value, emitter.concat(parts, order.index(axis)), order)


def _split(unit: Unit, emitter: Emitter) -> None:
    (x,) = unit.operands(Role.DATA)
    shape = shape_of(x)
    codes = emitter.codes(x)
    order = emitter.order(x.value) or canonical(len(shape))
    place = order.index(unit.node.attributes.get_int("axis", 0) % len(shape))
    start = 0
    for y in unit.outputs:
        size = [shape_of(y)[axis] for axis in order]
        emitter.define(y.value, emitter.slice(codes, _at(len(size), place, start), size), order)
        start += size[place]


def _slice(unit: Unit, emitter: Emitter) -> None:
    (x,), y = unit.operands(Role.DATA), unit.outputs[0]
    shape = shape_of(x)
    codes = emitter.codes(x)
    order = emitter.order(x.value) or canonical(len(shape))
    for axis, picked in _ranges(unit, shape).items():
        codes = _pick(emitter, codes, order.index(axis), np.arange(shape[axis])[picked])
    emitter.define(y.value, codes, order)


def _ranges(unit: Unit, shape: Sequence[int]) -> dict[int, slice]:
    starts, ends, axes, steps = (constant(unit, position) for position in (1, 2, 3, 4))
    if starts is None or ends is None:
        return {}
    axes = np.arange(len(starts)) if axes is None else axes
    steps = np.ones(len(starts), np.int64) if steps is None else steps
    found = {}
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        size = shape[int(axis)]
        stop = None if step < 0 and end < -size else int(end)
        found[int(axis) % len(shape)] = slice(int(start), stop, int(step))
    return found


def _gather(unit: Unit, emitter: Emitter) -> None:
    """Constant indices along one axis; their own shape takes its place."""
    (x,), y = unit.operands(Role.DATA), unit.outputs[0]
    shape, indices = shape_of(x), constant(unit, 1)
    axis = unit.node.attributes.get_int("axis", 0) % len(shape)
    if indices is None:
        indices = np.zeros(0, np.int64)
    codes = emitter.codes(x, canonical(len(shape)))
    picked = _pick(emitter, codes, axis, indices.reshape(-1) % shape[axis])
    emitter.define(y.value, emitter.reshape(picked, shape_of(y)), canonical(len(shape_of(y))))


def _pick(emitter: Emitter, x: Tensor, axis: int, indices: NDArray[Any]) -> Tensor:
    """`numpy.take`: slices of consecutive indices where there are few, else a selection."""
    runs = np.split(indices, np.flatnonzero(np.diff(indices) != 1) + 1)
    if len(runs) <= _FEW:
        return emitter.concat([_cut(emitter, x, axis, int(run[0]), len(run)) for run in runs], axis)
    rank = len(x.shape)
    last = [place for place in range(rank) if place != axis] + [axis]
    rows = emitter.transpose(x, last)
    shape = (*rows.shape[:-1], len(indices))
    image = emitter.reshape(rows, (1, int(np.prod(rows.shape[:-1])), 1, rows.shape[-1]))
    chosen = emitter.reshape(_select(emitter, image, indices), shape)
    return emitter.transpose(chosen, [last.index(place) for place in range(rank)])


def _cut(emitter: Emitter, x: Tensor, axis: int, start: int, length: int) -> Tensor:
    size = [length if place == axis else n for place, n in enumerate(x.shape)]
    return emitter.slice(x, _at(len(size), axis, start), size)


def _select(emitter: Emitter, image: Tensor, indices: NDArray[Any]) -> Tensor:
    """Channels by index: a point convolution with ones and zeros, since the hardware has no gather."""
    weights = np.zeros((len(indices), 1, 1, image.shape[3]), np.int8)
    weights[np.arange(len(indices)), 0, 0, indices] = 1
    total = convolve(emitter, image, weights, np.zeros(len(indices), np.int64), _POINT, zero=0)
    return emitter.rescale(total, image.dtype, [1.0], 0, 0)


def _pad(unit: Unit, emitter: Emitter) -> None:
    (x,), y = unit.operands(Role.DATA), unit.outputs[0]
    shape, pads = shape_of(x), constant(unit, 1)
    fill = constant(unit, 2)
    axes = constant(unit, 3)
    rank = len(shape)
    places = range(rank) if axes is None else [int(axis) % rank for axis in axes]
    amounts = [(0, 0)] * rank
    for place, front, behind in zip(places, *np.split(pads if pads is not None else np.zeros(0), 2), strict=True):
        amounts[place] = (int(front), int(behind))
    codes = emitter.codes(x)
    order = emitter.order(x.value) or canonical(rank)
    start = [max(-amounts[axis][0], 0) for axis in order]
    size = [shape[axis] + min(amounts[axis][0], 0) + min(amounts[axis][1], 0) for axis in order]
    codes = to_output(emitter, x, emitter.slice(codes, start, size), y)
    code = int(qparams_for(y).quantize(np.array(0.0 if fill is None else float(fill.reshape(-1)[0]), np.float32)))
    grown = [(max(amounts[axis][0], 0), max(amounts[axis][1], 0)) for axis in order]
    emitter.define(y.value, emitter.pad(codes, grown, code), order)


def _at(rank: int, axis: int, start: int) -> list[int]:
    return [start if place == axis else 0 for place in range(rank)]


LOWERINGS = {
    **dict.fromkeys(("Flatten", "Reshape", "Squeeze", "Unsqueeze"), _reshape),
    "Concat": _concat,
    "Gather": _gather,
    "Identity": _identity,
    "Pad": _pad,
    "Slice": _slice,
    "Split": _split,
    "Transpose": _transpose,
}
