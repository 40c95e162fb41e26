"""Pooling and ReduceMean."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from deepseek_backend_arm.lowering.codes import scale_and_zero, translated
from deepseek_backend_arm.lowering.emitter import Emitter, qparams_for
from deepseek_backend_arm.lowering.piece import Lowering, Piece
from deepseek_backend_arm.lowering.tensor import Tensor
from deepseek_backend_arm.lowering.windows import fits, flat, spatial, window_values
from deepseek_backend_arm.plan.abi import Value
from deepseek_core import Operand, Role, Unit
from deepseek_core.lowering import Axis, canonical, channels_last, reduced_axes, shape_of, window_axes

__all__ = ["LOWERINGS", "REAL_LOWERINGS", "pool_problem"]


def _axes_of_pool(unit: Unit) -> tuple[Axis, ...]:
    (x,), y = unit.operands(Role.DATA), unit.outputs[0]
    return _window(unit.node, shape_of(x), shape_of(y))


def _window(node: ir.Node, shape: tuple[int, ...], output: tuple[int, ...]) -> tuple[Axis, ...]:
    kernel = node.attributes.get_ints("kernel_shape", ()) or shape[2:]
    return window_axes(node, shape[2:], output[2:], tuple(kernel))


def pool_problem(unit: Unit) -> str | None:
    """Why a pooling unit is not built; None when it is."""
    if len(unit.node.outputs) > 1 and any(value.uses() or value.is_graph_output() for value in unit.node.outputs[1:]):
        return "it has an output of indices"
    if not 3 <= len(shape_of(unit.operands(Role.DATA)[0])) <= 5:
        return "it has no spatial axis, or more than three"
    return None if fits(_axes_of_pool(unit)) else "its window is larger than its padded input"


def _real_pool(piece: Piece) -> Sequence[Tensor]:
    axes = _window(piece.node, piece.x.shape, piece.shapes[0])
    mean = "Average" in piece.node.op_type
    include_pad = bool(piece.node.attributes.get_int("count_include_pad", 0))
    return [_real_pooled(piece.emitter, piece.x, axes, mean=mean, include_pad=include_pad)]


def _real_pooled(emitter: Emitter, x: Tensor, axes: tuple[Axis, ...], *, mean: bool, include_pad: bool) -> Tensor:
    """Of three axes, the last two and then the first: maxima and means of whole windows are those of their rows."""
    rank = len(x.shape)
    source = emitter.ordered(x, channels_last(rank))
    n, c = x.shape[:2]
    if rank == 5:
        rows = _real_pooled(emitter, flat(source), axes[1:], mean=mean, include_pad=include_pad)
        area = rows.shape[2] * rows.shape[3]
        images = Tensor("float32", (n, c, x.shape[2], area), channels_last(4), rows.memory)
        made = _real_pooled(emitter, images, (axes[0], Axis(area, area)), mean=mean, include_pad=include_pad)
        return Tensor("float32", (n, c, *spatial(axes)), channels_last(5), made.memory)
    result = emitter.new("float32", (n, c, *spatial(axes)), source.order)
    values: dict[str, Value] = {**window_values(axes), "n": n, "c": c, **_ends(axes)}
    emitter.emit("rpool", {"x": source, "y": result}, {**values, "mean": int(mean), "include_pad": int(include_pad)})
    return result


def _ends(axes: tuple[Axis, ...]) -> dict[str, Value]:
    bottom, right = (0, *(axis.end for axis in axes))[-2:]
    return {"bottom": bottom, "right": right}


def _pool(unit: Unit, emitter: Emitter) -> None:
    (x,), y = unit.operands(Role.DATA), unit.outputs[0]
    order = channels_last(len(shape_of(x)))
    mean = "Average" in unit.op
    result = _pooled(
        emitter,
        emitter.ordered(emitter.codes(x), order),
        x,
        y,
        _axes_of_pool(unit),
        mean=mean,
        include_pad=bool(unit.node.attributes.get_int("count_include_pad", 0)),
    )
    if not mean:
        result = translated(emitter, result, qparams_for(x), qparams_for(y))
    emitter.define(y.value, result)


def _pooled(
    emitter: Emitter, source: Tensor, x: Operand, y: Operand, axes: tuple[Axis, ...], *, mean: bool, include_pad: bool
) -> Tensor:
    n, c = source.shape[:2]
    (x_scale, x_zero), (scale, zero) = scale_and_zero(x), scale_and_zero(y)
    result = emitter.new("int8", (n, c, *spatial(axes)), source.order)
    values: dict[str, Value] = {
        **window_values(axes),
        **_ends(axes),
        **dict(zip(("n", "c", "mean", "include_pad"), (n, c, int(mean), int(include_pad)), strict=True)),
        **dict(zip(("x_zero", "zero", "x_scale", "y_scale"), (x_zero, zero, x_scale, scale), strict=True)),
    }
    emitter.emit("pool2d", {"x": source, "y": result}, values)
    return result


def _reduce_mean(unit: Unit, emitter: Emitter) -> None:
    (x,), y = unit.operands(Role.DATA), unit.outputs[0]
    shape = shape_of(x)
    axes = reduced_axes(unit.node, len(shape))
    source = emitter.codes(x)
    if axes == tuple(range(2, len(shape))) and len(shape) in (3, 4) and source.lies_as(channels_last(len(shape))):
        window = window_axes(unit.node, shape[2:], (1,) * len(axes), shape[2:])
        source = emitter.ordered(source, channels_last(len(shape)))
        result = _pooled(emitter, source, x, y, window, mean=True, include_pad=False)
    else:
        kept = tuple(axis for axis in range(len(shape)) if axis not in axes)
        source = emitter.ordered(source, (*kept, *axes))
        result = emitter.new("int8", tuple(1 if axis in axes else size for axis, size in enumerate(shape)))
        (x_scale, x_zero), (scale, zero) = scale_and_zero(x), scale_and_zero(y)
        count = int(np.prod([shape[axis] for axis in axes]))
        values: dict[str, Value] = {"op": 0, "outer": result.count, "count": count, "x_zero": x_zero, "zero": zero}
        emitter.emit("reduce", {"x": source, "y": result}, {**values, "x_scale": x_scale, "y_scale": scale})
    flat = emitter.ordered(result, canonical(len(shape)))
    emitter.define(y.value, Tensor("int8", shape_of(y), canonical(len(shape_of(y))), flat.memory))


LOWERINGS = {
    **dict.fromkeys(("AveragePool", "GlobalAveragePool", "GlobalMaxPool", "MaxPool"), _pool),
    "ReduceMean": _reduce_mean,
}
REAL_LOWERINGS: dict[str, Lowering] = dict.fromkeys(
    ("AveragePool", "GlobalAveragePool", "GlobalMaxPool", "MaxPool"), _real_pool
)
"""Node → its tensors, on real numbers."""
