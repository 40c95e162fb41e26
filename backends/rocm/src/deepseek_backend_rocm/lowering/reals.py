"""Units in float32: tensors that are quantized at their border become real numbers, and codes again behind."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, prod

import numpy as np

from deepseek_backend_rocm.capabilities import REAL_BINARY, REAL_UNARY
from deepseek_backend_rocm.lowering import moves
from deepseek_backend_rocm.lowering.codes import activation_bounds
from deepseek_backend_rocm.lowering.conversion import dequantized, quantized
from deepseek_backend_rocm.lowering.elementwise import broadcast_real
from deepseek_backend_rocm.lowering.emitter import Emitter
from deepseek_backend_rocm.lowering.moves import concatenated
from deepseek_backend_rocm.lowering.normalization import gains
from deepseek_backend_rocm.lowering.tensor import Tensor
from deepseek_core import Operand, Role, Unit
from deepseek_core.lowering import canonical, clip_bounds, constant_of, reduced_axes, shape_of

__all__ = ["LOWERINGS", "lower_mixed_move"]

_CAST = {"bool": "i8", "float32": "fp32", "int32": "i32", "int64": "i64", "int8": "i8", "uint8": "u8"}


def _real(emitter: Emitter, operand: Operand) -> Tensor:
    """The operand's real numbers."""
    tensor = emitter.tensor(operand.value) if operand.qparams is None or not operand.is_constant else None
    if operand.qparams is None:
        assert tensor is not None
        return tensor
    if tensor is None:
        return emitter.constant(operand.qparams.dequantize(constant_of(operand.value)))
    return dequantized(emitter, tensor, operand.qparams)


def _finish(emitter: Emitter, unit: Unit, tensor: Tensor) -> None:
    """Define everything that leaves the unit."""
    for output in unit.outputs:
        qparams = output.qparams
        emitter.define(output.value, tensor if qparams is None else quantized(emitter, tensor, qparams))


def _binary(unit: Unit, emitter: Emitter) -> None:
    low, high = activation_bounds(unit).values()
    bounds, free = {"low": low, "high": high}, {"low": -inf, "high": inf}
    first, *rest = (_real(emitter, operand) for operand in unit.operands(Role.DATA))
    for number, piece in enumerate(rest):
        shape = np.broadcast_shapes(first.shape, piece.shape)
        first = broadcast_real(emitter, unit.op, (first, piece), shape, bounds if number == len(rest) - 1 else free)
    _finish(emitter, unit, first)


def _unary(unit: Unit, emitter: Emitter) -> None:
    source = _real(emitter, unit.operands(Role.DATA)[0])
    low, high = clip_bounds(unit.node) if unit.op == "Clip" else (0.0, inf)
    result = emitter.new("float32", source.shape, source.order)
    values = {"count": source.count, "low": low, "high": high}
    emitter.emit("unary_real", {"x": source, "y": result}, values, constants={"OP": unit.op})
    _finish(emitter, unit, result)


def _softmax(unit: Unit, emitter: Emitter) -> None:
    source = _real(emitter, unit.operands(Role.DATA)[0])
    rank = len(source.shape)
    axis = unit.node.attributes.get_int("axis", -1) % rank
    order = (*(i for i in range(rank) if i != axis), axis)
    source = emitter.ordered(source, order)
    result = emitter.new("float32", source.shape, order)
    count = source.shape[axis]
    values = {"rows": source.count // max(count, 1), "count": count}
    emitter.emit("softmax_real", {"x": source, "y": result}, values)
    _finish(emitter, unit, result)


def _layer_norm(unit: Unit, emitter: Emitter) -> None:
    source = _real(emitter, unit.operands(Role.DATA)[0])
    shape = source.shape
    axis = unit.node.attributes.get_int("axis", -1) % len(shape)
    gain, shift = (emitter.constants.add(row) for row in gains(unit, shape[axis:]))
    source = emitter.ordered(source, canonical(len(shape)))
    result = emitter.new("float32", shape)
    values: dict[str, int | float] = {"rows": prod(shape[:axis]), "count": prod(shape[axis:])}
    values["epsilon"] = float(unit.node.attributes.get_float("epsilon", 1e-5) or 0.0)
    emitter.emit("layer_norm_real", {"x": source, "gain": gain, "shift": shift, "y": result}, values)
    _finish(emitter, unit, result)


def _reduce(unit: Unit, emitter: Emitter) -> None:
    source = _real(emitter, unit.operands(Role.DATA)[0])
    axes = reduced_axes(unit.node, len(source.shape))
    kept = tuple(axis for axis in range(len(source.shape)) if axis not in axes)
    source = emitter.ordered(source, (*kept, *axes))
    result = emitter.new("float32", shape_of(unit.outputs[0]))
    count = prod(source.shape[axis] for axis in axes)
    constants: dict[str, int | bool | str] = {"OP": unit.op}
    emitter.emit("reduce_real", {"x": source, "y": result}, {"rows": result.count, "count": count}, constants=constants)
    _finish(emitter, unit, result)


def _concat(unit: Unit, emitter: Emitter) -> None:
    pieces = [_real(emitter, operand) for operand in unit.operands(Role.DATA)]
    axis = unit.node.attributes.get_int("axis", 0) % len(pieces[0].shape)
    _finish(emitter, unit, concatenated(emitter, pieces, shape_of(unit.outputs[0]), axis))


def _cast(unit: Unit, emitter: Emitter) -> None:
    source = emitter.tensor(unit.operands(Role.DATA)[0].value)
    result = emitter.new("float32", source.shape, source.order)
    types = {"x": _CAST[source.dtype], "y": "fp32"}
    emitter.emit("cast", {"x": source, "y": result}, {"count": source.count}, types=types)
    _finish(emitter, unit, result)


def lower_mixed_move(unit: Unit, emitter: Emitter) -> None:
    """Move what comes in, and convert it for those outputs that have another type."""
    moves.LOWERINGS[unit.op](unit, emitter)
    source = unit.operands(Role.DATA)[0]
    for output in unit.outputs:
        result = moved = emitter.tensor(output.value)
        if source.qparams is None and output.qparams is not None:
            result = quantized(emitter, moved, output.qparams)
        elif source.qparams is not None and output.qparams is None:
            result = dequantized(emitter, moved, source.qparams)
        emitter.define(output.value, result)


LOWERINGS: dict[str, Callable[[Unit, Emitter], None]] = {
    **dict.fromkeys(REAL_BINARY, _binary),
    **dict.fromkeys(REAL_UNARY, _unary),
    **dict.fromkeys(("ReduceL2", "ReduceMean", "ReduceSum"), _reduce),
    "Cast": _cast,
    "Concat": _concat,
    "LayerNormalization": _layer_norm,
    "Softmax": _softmax,
}
"""Op → how it becomes kernels on real numbers; ops that only move elements do that to any type."""
