"""Pooling and ReduceMean."""

from __future__ import annotations

from math import prod

import numpy as np

from deepseek_backend_rocm.lowering.codes import scale_and_zero, translated
from deepseek_backend_rocm.lowering.emitter import Emitter, qparams_for
from deepseek_backend_rocm.lowering.tensor import Tensor
from deepseek_backend_rocm.lowering.windows import Window, window_of
from deepseek_core import Operand, Role, Unit
from deepseek_core.lowering import canonical, channels_last, reduced_axes, shape_of

__all__ = ["LOWERINGS", "pool_problem", "pool_window"]


def pool_window(unit: Unit) -> Window:
    """The window of a pooling unit."""
    (x,), y = unit.operands(Role.DATA), unit.outputs[0]
    kernel = unit.node.attributes.get_ints("kernel_shape", ()) or shape_of(x)[2:]
    return window_of(unit.node, shape_of(x)[2:], shape_of(y)[2:], tuple(kernel))


def pool_problem(unit: Unit) -> str | None:
    """Why a pooling unit that the table accepts is not built; None when it is."""
    if len(unit.outputs) > 1:
        return "it has an output of indices"
    return None if pool_window(unit).fits else "its window is larger than its padded input"


def _pool(unit: Unit, emitter: Emitter) -> None:
    (x,), y = unit.operands(Role.DATA), unit.outputs[0]
    order = channels_last(len(shape_of(x)))
    mean = "Average" in unit.op
    result = _pooled(
        emitter,
        emitter.ordered(emitter.tensor(x.value), order),
        x,
        y,
        pool_window(unit),
        mean=mean,
        include_pad=bool(unit.node.attributes.get_int("count_include_pad", 0)),
    )
    if not mean:
        result = translated(emitter, result, qparams_for(x), qparams_for(y))
    emitter.define(y.value, result)


def _pooled(
    emitter: Emitter, source: Tensor, x: Operand, y: Operand, window: Window, *, mean: bool, include_pad: bool
) -> Tensor:
    n, c = source.shape[:2]
    (x_scale, x_zero), (scale, zero) = scale_and_zero(x), scale_and_zero(y)
    spatial = window.positions[3 - len(source.shape) + 1 :] if len(source.shape) == 3 else window.positions
    result = emitter.new("int8", (n, c, *spatial), source.order)
    values = {
        **window.values(),
        **dict(zip(("bottom", "right"), window.end, strict=True)),
        **dict(zip(("rows", "c", "include_pad"), (n * prod(window.positions), c, int(include_pad)), strict=True)),
        **dict(zip(("x_zero", "zero", "x_scale", "y_scale"), (x_zero, zero, x_scale, scale), strict=True)),
    }
    emitter.emit("pool", {"x": source, "y": result}, values, constants={"MEAN": mean})
    return result


def _reduce_mean(unit: Unit, emitter: Emitter) -> None:
    (x,), y = unit.operands(Role.DATA), unit.outputs[0]
    shape = shape_of(x)
    axes = reduced_axes(unit.node, len(shape))
    source = emitter.tensor(x.value)
    spatial = tuple(range(2, len(shape)))
    if axes == spatial and len(shape) in (3, 4) and source.lies_as(channels_last(len(shape))):
        window = window_of(unit.node, shape[2:], (1,) * len(spatial), shape[2:])
        source = emitter.ordered(source, channels_last(len(shape)))
        result = _pooled(emitter, source, x, y, window, mean=True, include_pad=False)
    else:
        kept = tuple(axis for axis in range(len(shape)) if axis not in axes)
        source = emitter.ordered(source, (*kept, *axes))
        result = emitter.new("int8", tuple(1 if axis in axes else size for axis, size in enumerate(shape)))
        (x_scale, x_zero), (scale, zero) = scale_and_zero(x), scale_and_zero(y)
        count = int(np.prod([shape[axis] for axis in axes]))
        values = {"rows": result.count, "count": count, "x_zero": x_zero, "zero": zero}
        emitter.emit("mean", {"x": source, "y": result}, {**values, "x_scale": x_scale, "y_scale": scale})
    flat = emitter.ordered(result, canonical(len(shape)))
    emitter.define(y.value, Tensor("int8", shape_of(y), canonical(len(shape_of(y))), flat.memory))


LOWERINGS = {
    **dict.fromkeys(("AveragePool", "GlobalAveragePool", "GlobalMaxPool", "MaxPool"), _pool),
    "ReduceMean": _reduce_mean,
}
