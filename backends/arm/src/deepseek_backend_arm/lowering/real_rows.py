"""Softmax, normalization, reductions and pooling of real numbers."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from deepseek_backend_arm.lowering.piece import Lowering, Piece
from deepseek_backend_arm.lowering.real_pairs import paired
from deepseek_backend_arm.lowering.tensor import Tensor
from deepseek_backend_arm.plan.abi import REDUCTIONS
from deepseek_core.lowering import canonical, reduced_axes

__all__ = ["LOWERINGS"]


def _softmax(piece: Piece) -> Sequence[Tensor]:
    shape, rank = piece.x.shape, len(piece.x.shape)
    axis = piece.axis(-1)
    order = (*(i for i in range(rank) if i != axis), axis)
    source = piece.emitter.ordered(piece.x, order)
    result = piece.emitter.new("float32", shape, order)
    outer = source.count // max(shape[axis], 1)
    values = {"outer": outer, "count": shape[axis], "log": int(piece.node.op_type == "LogSoftmax")}
    piece.emitter.emit("rsoftmax", {"x": source, "y": result}, values)
    return [result]


def _layer_norm(piece: Piece) -> Sequence[Tensor]:
    shape, axis = piece.x.shape, piece.axis(-1)
    gain, shift = (_row(piece, position, shape[axis:]) for position in (1, 2))
    return [_normalized(piece, gain, shift, outer=prod(shape[:axis]), count=prod(shape[axis:]))]


def _instance_norm(piece: Piece) -> Sequence[Tensor]:
    shape = piece.x.shape
    gain, shift = (piece.plain(position) for position in (1, 2))
    return [_normalized(piece, gain, shift, outer=shape[0] * shape[1], count=prod(shape[2:]), channels=shape[1])]


def _row(piece: Piece, position: int, shape: tuple[int, ...]) -> Tensor:
    """A gain or shift for each element that is normalized together."""
    if not piece.has(position):
        return piece.constant(np.zeros(prod(shape), np.float32))
    tensor = piece.plain(position)
    if tensor.shape == shape:
        return tensor
    value = piece.node.inputs[position]
    assert value is not None
    if value.const_value is not None:
        return piece.constant(np.broadcast_to(value.const_value.numpy(), shape).astype(np.float32))
    return paired(piece.emitter, "Add", tensor, piece.constant(np.zeros(shape, np.float32)), shape)


def _normalized(piece: Piece, gain: Tensor, shift: Tensor, *, outer: int, count: int, channels: int = 0) -> Tensor:
    result = piece.emitter.new("float32", piece.x.shape)
    places = {"x": piece.plain(0), "gain": gain, "shift": shift, "y": result}
    values = {"outer": outer, "count": count, "channels": channels, "epsilon": piece.number("epsilon", 1e-5)}
    piece.emitter.emit("rnormalize", places, values)
    return result


def _reduce(piece: Piece) -> Sequence[Tensor]:
    """Axes that follow each other in memory are reduced where they lie; others are moved behind all others."""
    shape = piece.x.shape
    axes = reduced_axes(piece.node, len(shape))
    if not axes:
        return [piece.x]
    source = piece.x if piece.x.lies_as(canonical(len(shape))) else piece.plain(0)
    inner = prod(shape[axes[-1] + 1 :])
    if axes != tuple(range(axes[0], axes[-1] + 1)):
        source = piece.emitter.ordered(source, (*(i for i in range(len(shape)) if i not in axes), *axes))
        inner = 1
    count = prod(shape[axis] for axis in axes)
    result = piece.emitter.new("float32", piece.shapes[0])
    op = REDUCTIONS.index(piece.node.op_type.removeprefix("Reduce"))
    values = {"op": op, "outer": prod(piece.shapes[0]) // max(inner, 1), "count": count, "inner": inner}
    piece.emitter.emit("rreduce", {"x": source, "y": result}, values)
    return [result]


LOWERINGS: dict[str, Lowering] = {
    **{f"Reduce{name}": _reduce for name in REDUCTIONS},
    **dict.fromkeys(("Softmax", "LogSoftmax"), _softmax),
    "InstanceNormalization": _instance_norm,
    "LayerNormalization": _layer_norm,
}
"""Node → its tensors."""
