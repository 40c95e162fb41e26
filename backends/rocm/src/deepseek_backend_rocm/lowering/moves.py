"""Ops that move values: views where the elements stay where they are, strided copies where not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod

import numpy as np

from deepseek_backend_rocm.lowering.codes import translated
from deepseek_backend_rocm.lowering.emitter import Emitter, qparams_for
from deepseek_backend_rocm.lowering.tensor import Tensor
from deepseek_backend_rocm.program import SIZES
from deepseek_core import Role, Unit
from deepseek_core.lowering import canonical, constant_of, scalar_of, shape_of, stretched, strides_of

__all__ = ["LOWERINGS", "concatenated", "move_problem"]

_END = 2**31
_INDEX = {"int32": "i32", "int64": "i64"}
_ELEMENT = {name: {1: "i8", 2: "i16", 4: "i32", 8: "i64"}[size] for name, size in SIZES.items()}


def move_problem(unit: Unit) -> str | None:
    """Why a move that the table accepts is not built; None when it is."""
    constant = {"Slice": (1, 2, 3, 4), "Pad": (1, 2, 3), "Tile": (1,)}.get(unit.op, ())
    inputs = unit.node.inputs
    if any(p < len(inputs) and inputs[p] is not None and inputs[p].const_value is None for p in constant):  # type: ignore[union-attr]
        return "it moves by numbers that are computed at run time"
    if unit.op == "Pad" and min(constant_of(inputs[1]).reshape(-1), default=0) < 0:
        return "it cuts off by pads below 0"
    if unit.op == "Tile" and sum(n > 1 for n in constant_of(inputs[1]).reshape(-1)) + len(inputs[0].shape or ()) > 8:  # type: ignore[union-attr]
        return "it repeats too many axes"
    return None


def _data(unit: Unit, emitter: Emitter) -> Tensor:
    return emitter.tensor(unit.operands(Role.DATA)[0].value)


def _identity(unit: Unit, emitter: Emitter) -> None:
    emitter.define(unit.outputs[0].value, _data(unit, emitter))


def _reshape(unit: Unit, emitter: Emitter) -> None:
    """The same elements in C order under another shape."""
    y, source = unit.outputs[0], _data(unit, emitter)
    flat = emitter.ordered(source, canonical(len(source.shape)))
    emitter.define(y.value, Tensor(flat.dtype, shape_of(y), canonical(len(shape_of(y))), flat.memory))


def _transpose(unit: Unit, emitter: Emitter) -> None:
    """Only the names of the axes change; whoever needs another order has it made."""
    source = _data(unit, emitter)
    rank = len(source.shape)
    permutation = tuple(unit.node.attributes.get_ints("perm", ())) or tuple(reversed(range(rank)))
    order = tuple(permutation.index(axis) for axis in source.order)
    shape = tuple(source.shape[axis] for axis in permutation)
    emitter.define(unit.outputs[0].value, replace(source, shape=shape, order=order))


def _concat(unit: Unit, emitter: Emitter) -> None:
    y, operands = unit.outputs[0], unit.operands(Role.DATA)
    shape = shape_of(y)
    axis = unit.node.attributes.get_int("axis", 0) % len(shape)
    pieces = [translated(emitter, emitter.tensor(o.value), qparams_for(o), qparams_for(y)) for o in operands]
    emitter.define(y.value, concatenated(emitter, pieces, shape, axis))


def concatenated(emitter: Emitter, pieces: Sequence[Tensor], shape: tuple[int, ...], axis: int) -> Tensor:
    """Tensors one behind the other along an axis."""
    result = emitter.new(pieces[0].dtype, shape, max(pieces, key=lambda piece: piece.count).order)
    start = 0
    for piece in pieces:
        offset = start * result.strides[axis]
        if piece.count:
            emitter.move(piece, result, piece.shape, piece.strides, result.strides, target_offset=offset)
        start += piece.shape[axis]
    return result


def _part(emitter: Emitter, source: Tensor, shape: tuple[int, ...], starts: list[int], steps: list[int]) -> Tensor:
    """Elements of each axis from a start on, in steps."""
    result = emitter.new(source.dtype, shape, source.order)
    offset = sum(start * stride for start, stride in zip(starts, source.strides, strict=True))
    strides = [step * stride for step, stride in zip(steps, source.strides, strict=True)]
    if result.count:
        emitter.move(source, result, shape, strides, result.strides, source_offset=offset)
    return result


def _slice(unit: Unit, emitter: Emitter) -> None:
    source, y, inputs = _data(unit, emitter), unit.outputs[0], unit.node.inputs
    rank = len(source.shape)
    first, last = ([int(v) for v in constant_of(inputs[p]).reshape(-1)] for p in (1, 2))
    axes, strides = (
        [int(v) for v in constant_of(inputs[p]).reshape(-1)] if p < len(inputs) and inputs[p] is not None else default
        for p, default in ((3, list(range(len(first)))), (4, [1] * len(first)))
    )
    starts, steps = [0] * rank, [1] * rank
    for begin, end, axis, step in zip(first, last, axes, strides, strict=True):
        bounded = slice(begin, None if step < 0 and end < -_END + 1 else end, step)
        starts[axis], _, steps[axis] = bounded.indices(source.shape[axis])
    emitter.define(y.value, _part(emitter, source, shape_of(y), starts, steps))


def _split(unit: Unit, emitter: Emitter) -> None:
    source = _data(unit, emitter)
    rank = len(source.shape)
    axis, start = unit.node.attributes.get_int("axis", 0) % rank, 0
    for output in unit.outputs:
        starts = [start if i == axis else 0 for i in range(rank)]
        emitter.define(output.value, _part(emitter, source, shape_of(output), starts, [1] * rank))
        start += shape_of(output)[axis]


def _gather(unit: Unit, emitter: Emitter) -> None:
    y, indices = unit.outputs[0], unit.node.inputs[1]
    assert indices is not None
    source = _data(unit, emitter)
    axis = unit.node.attributes.get_int("axis", 0) % len(source.shape)
    _taken(emitter, source, axis, emitter.tensor(indices), result := emitter.new(source.dtype, shape_of(y)))
    emitter.define(y.value, result)


def _taken(emitter: Emitter, source: Tensor, axis: int, indices: Tensor, result: Tensor) -> None:
    """Indices along an axis in memory order of C."""
    flat = emitter.ordered(source, canonical(len(source.shape)))
    which = emitter.ordered(indices, canonical(len(indices.shape)))
    emitter.emit(
        "gather",
        {"x": flat, "indices": which, "y": result},
        {
            "count": result.count,
            "axis": source.shape[axis],
            "inner": prod(source.shape[axis + 1 :]),
            "taken": which.count,
        },
        types={"x": _ELEMENT[source.dtype], "indices": _INDEX[which.dtype], "y": _ELEMENT[source.dtype]},
    )


def _expand(unit: Unit, emitter: Emitter) -> None:
    y, source = unit.outputs[0], _data(unit, emitter)
    shape = shape_of(y)
    result = emitter.new(source.dtype, shape)
    if result.count:
        emitter.move(source, result, shape, stretched(source.shape, source.strides, len(shape)), result.strides)
    emitter.define(y.value, result)


def _tile(unit: Unit, emitter: Emitter) -> None:
    y, source = unit.outputs[0], _data(unit, emitter)
    repeats = [int(n) for n in constant_of(unit.node.inputs[1]).reshape(-1)]
    result = emitter.new(source.dtype, shape_of(y))
    rows = list(zip(source.shape, source.strides, result.strides, strict=True))
    rows += [(n, 0, size * stride) for n, (size, _, stride) in zip(repeats, list(rows), strict=True) if n > 1]
    dims, own, strides = (list(column) for column in zip(*rows, strict=True))
    emitter.move(source, result, dims, own, strides)
    emitter.define(y.value, result)


def _blocks(unit: Unit, emitter: Emitter) -> None:
    """DepthToSpace and SpaceToDepth: a transposition of six axes."""
    y, source = unit.outputs[0], _data(unit, emitter)
    size = unit.node.attributes.get_int("blocksize", 1)
    n, c, h, w = source.shape
    if unit.op == "SpaceToDepth":
        split, permutation = (n, c, h // size, size, w // size, size), (0, 3, 5, 1, 2, 4)
    elif unit.node.attributes.get_string("mode", "DCR") == "CRD":
        split, permutation = (n, c // size**2, size, size, h, w), (0, 1, 4, 2, 5, 3)
    else:
        split, permutation = (n, size, size, c // size**2, h, w), (0, 3, 4, 1, 5, 2)
    flat = emitter.ordered(source, canonical(4))
    strides = strides_of(split, canonical(6))
    result = emitter.new(source.dtype, shape_of(y))
    moved = [split[axis] for axis in permutation]
    emitter.move(flat, result, moved, [strides[axis] for axis in permutation], strides_of(moved, canonical(6)))
    emitter.define(y.value, result)


def _pad(unit: Unit, emitter: Emitter) -> None:
    (x,), y, node = unit.operands(Role.DATA), unit.outputs[0], unit.node
    source = translated(emitter, emitter.tensor(x.value), qparams_for(x), qparams_for(y))
    rank = len(source.shape)
    pads = [int(n) for n in constant_of(node.inputs[1]).reshape(-1)]
    given = node.inputs[3] if len(node.inputs) > 3 else None
    axes = range(rank) if given is None else [int(axis) % rank for axis in constant_of(given).reshape(-1)]
    begins = dict(zip(axes, pads[: len(pads) // 2], strict=True))
    value = qparams_for(y).quantize(np.asarray(scalar_of(node, 2) or 0.0, np.float32))
    result = emitter.new("int8", shape_of(y), source.order)
    emitter.emit("fill", {"y": result}, {"count": result.count, "value": int(value)})
    offset = sum(begin * result.strides[axis] for axis, begin in begins.items())
    emitter.move(source, result, source.shape, source.strides, result.strides, target_offset=offset)
    emitter.define(y.value, result)


def _resize(unit: Unit, emitter: Emitter) -> None:
    """Nearest element below, one axis after the other: floor(i / scale)."""
    (x,), y, node = unit.operands(Role.DATA), unit.outputs[0], unit.node
    tensor = translated(emitter, emitter.tensor(x.value), qparams_for(x), qparams_for(y))
    scales = constant_of(node.inputs[2]).reshape(-1) if node.inputs[2] is not None else np.zeros(0)
    for axis, size in enumerate(shape_of(y)):
        if size == tensor.shape[axis]:
            continue
        factor = np.float32(scales[axis]) if len(scales) == len(tensor.shape) else np.float32(size / tensor.shape[axis])
        indices = np.minimum(np.arange(size) // factor, tensor.shape[axis] - 1).astype(np.int64)
        result = emitter.new("int8", (*tensor.shape[:axis], size, *tensor.shape[axis + 1 :]))
        _taken(emitter, tensor, axis, emitter.constant(indices), result)
        tensor = result
    emitter.define(y.value, tensor)


LOWERINGS: dict[str, Callable[[Unit, Emitter], None]] = {
    **dict.fromkeys(("Flatten", "Reshape", "Squeeze", "Unsqueeze"), _reshape),
    **dict.fromkeys(("DepthToSpace", "SpaceToDepth"), _blocks),
    "Concat": _concat,
    "Expand": _expand,
    "Gather": _gather,
    "Identity": _identity,
    "Pad": _pad,
    "Resize": _resize,
    "Slice": _slice,
    "Split": _split,
    "Tile": _tile,
    "Transpose": _transpose,
}
