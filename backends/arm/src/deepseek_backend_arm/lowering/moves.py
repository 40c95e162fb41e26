"""Ops that move elements of any type: views where they stay where they are, strided copies and look-ups where not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek_backend_arm.lowering.elementwise import laid_out
from deepseek_backend_arm.lowering.emitter import Emitter
from deepseek_backend_arm.lowering.piece import Lowering, Piece
from deepseek_backend_arm.lowering.tensor import SIZES, Tensor
from deepseek_core import Role, Unit
from deepseek_core.lowering import canonical, constant_of, shape_of, stretched, strides_of

__all__ = ["LOWERINGS", "filled", "move_problem", "taken"]

_END = 2**31
_CONSTANT: dict[str, tuple[int, ...]] = {
    "Slice": (1, 2, 3, 4),
    "Pad": (1, 2, 3),
    **dict.fromkeys(("GatherElements", "GatherND", "ReverseSequence", "Tile", "Trilu"), (1,)),
}
"""Inputs that must be constants, by op."""
_MODES = ("constant", "edge", "reflect", "wrap")


def move_problem(unit: Unit) -> str | None:
    """Why a move is not built; None when it is."""
    node, inputs = unit.node, unit.node.inputs
    wanted = (inputs[place] for place in _CONSTANT.get(unit.op, ()) if place < len(inputs))
    if any(value is not None and value.const_value is None for value in wanted):
        return "it moves by numbers that are computed at run time"
    if unit.op == "Tile":
        repeats = constant_of(inputs[1]).reshape(-1)
        if sum(n > 1 for n in repeats) + len(shape_of(unit.operands(Role.DATA)[0])) > 8:
            return "it repeats too many axes"
    mode = node.attributes.get_string("mode", "constant")
    return f"mode {mode}" if unit.op == "Pad" and mode not in _MODES else None


def _identity(piece: Piece) -> Sequence[Tensor]:
    return [piece.x]


def _reshape(piece: Piece) -> Sequence[Tensor]:
    """The same elements in C order under another shape."""
    return [Tensor(piece.x.dtype, piece.shapes[0], canonical(len(piece.shapes[0])), piece.plain(0).memory)]


def _transpose(piece: Piece) -> Sequence[Tensor]:
    """Only the names of the axes change; whoever needs another order has it made."""
    source = piece.x
    permutation = tuple(piece.node.attributes.get_ints("perm", ())) or tuple(reversed(range(len(source.shape))))
    order = tuple(permutation.index(axis) for axis in source.order)
    shape = tuple(source.shape[axis] for axis in permutation)
    return [replace(source, shape=shape, order=order)]


def _concat(piece: Piece) -> Sequence[Tensor]:
    shape, pieces = piece.shapes[0], [piece.input(i) for i in range(len(piece.inputs))]
    axis, start = piece.axis(0, len(shape)), 0
    result = piece.emitter.new(pieces[0].dtype, shape, max(pieces, key=lambda part: part.count).order)
    for part in pieces:
        offset = start * result.strides[axis]
        if part.count:
            piece.emitter.move(part, result, part.shape, part.strides, result.strides, target_offset=offset)
        start += part.shape[axis]
    return [result]


def _part(emitter: Emitter, source: Tensor, shape: tuple[int, ...], starts: list[int], steps: list[int]) -> Tensor:
    """Elements of each axis from a start on, in steps."""
    result = emitter.new(source.dtype, shape, source.order)
    offset = sum(start * stride for start, stride in zip(starts, source.strides, strict=True))
    strides = [step * stride for step, stride in zip(steps, source.strides, strict=True)]
    if result.count:
        emitter.move(source, result, shape, strides, result.strides, source_offset=offset)
    return result


def _slice(piece: Piece) -> Sequence[Tensor]:
    source, rank = piece.x, len(piece.x.shape)
    first, last = piece.integers(1) or [], piece.integers(2) or []
    axes, strides = piece.integers(3), piece.integers(4)
    axes, strides = axes or list(range(len(first))), strides or [1] * len(first)
    starts, steps = [0] * rank, [1] * rank
    for begin, end, axis, step in zip(first, last, axes, strides, strict=True):
        bounded = slice(begin, None if step < 0 and end < -_END + 1 else end, step)
        starts[axis], _, steps[axis] = bounded.indices(source.shape[axis])
    return [_part(piece.emitter, source, piece.shapes[0], starts, steps)]


def _split(piece: Piece) -> Sequence[Tensor]:
    rank, axis, start, results = len(piece.x.shape), piece.axis(0), 0, []
    for shape in piece.shapes:
        starts = [start if i == axis else 0 for i in range(rank)]
        results.append(_part(piece.emitter, piece.x, shape, starts, [1] * rank))
        start += shape[axis]
    return results


def _gather(piece: Piece) -> Sequence[Tensor]:
    return [taken(piece.emitter, piece.x, piece.axis(0), piece.input(1), piece.shapes[0])]


def taken(emitter: Emitter, source: Tensor, axis: int, indices: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Elements by their index along an axis, all in C order."""
    result = emitter.new(source.dtype, shape)
    flat = emitter.ordered(source, canonical(len(source.shape)))
    which = emitter.ordered(indices, canonical(len(indices.shape)))
    emitter.emit(
        "gather",
        {"x": flat, "indices": which, "y": result},
        {
            "size": SIZES[source.dtype],
            "outer": prod(source.shape[:axis]),
            "axis": source.shape[axis],
            "inner": prod(source.shape[axis + 1 :]),
            "count": which.count,
            "wide": int(which.dtype == "int64"),
        },
    )
    return result


def _by_place(piece: Piece, places: NDArray[np.int64]) -> Sequence[Tensor]:
    """Elements by their place in C order, known when compiling."""
    flat = Tensor(piece.x.dtype, (piece.x.count,), (0,), piece.plain(0).memory)
    return [taken(piece.emitter, flat, 0, piece.constant(places.astype(np.int32)), piece.shapes[0])]


def _places(piece: Piece) -> NDArray[np.int64]:
    return np.arange(piece.x.count).reshape(piece.x.shape)


def _gather_elements(piece: Piece) -> Sequence[Tensor]:
    axis, indices, places = piece.axis(0), np.asarray(piece.array(1)), _places(piece)
    own = places[tuple(slice(None) if i == axis else slice(n) for i, n in enumerate(indices.shape))]
    return _by_place(piece, np.take_along_axis(own, indices.astype(np.int64), axis))


def _gather_nd(piece: Piece) -> Sequence[Tensor]:
    batch, indices = piece.node.attributes.get_int("batch_dims", 0), np.asarray(piece.array(1))
    places, lead = _places(piece), indices.shape[:batch]
    rows = [places[at][tuple(np.moveaxis(indices[at], -1, 0).astype(np.int64))] for at in np.ndindex(*lead)]
    return _by_place(piece, np.stack(rows).reshape(piece.shapes[0]) if rows else np.zeros(piece.shapes[0], np.int64))


def _reverse(piece: Piece) -> Sequence[Tensor]:
    attributes, lengths = piece.node.attributes, piece.integers(1) or []
    along, batch = attributes.get_int("time_axis", 0), attributes.get_int("batch_axis", 1)
    places = np.moveaxis(_places(piece), (batch, along), (0, 1)).copy()
    for row, length in enumerate(lengths):
        places[row, :length] = places[row, :length][::-1]
    return _by_place(piece, np.moveaxis(places, (0, 1), (batch, along)))


def _trilu(piece: Piece) -> Sequence[Tensor]:
    """Elements of the other triangle become 0."""
    offset = (piece.integers(1) or [0])[0]
    upper = bool(piece.node.attributes.get_int("upper", 1))
    ones = np.ones(piece.x.shape[-2:], bool)
    kept = piece.constant(np.triu(ones, offset) if upper else np.tril(ones, offset))
    zero = piece.constant(np.zeros((), piece.x.dtype))
    places, layout, order = laid_out(piece.emitter, {"c": kept, "a": piece.x, "b": zero}, piece.shapes[0])
    result = piece.emitter.new(piece.x.dtype, piece.shapes[0], order)
    piece.emitter.emit("where", {**places, "y": result}, {"size": SIZES[result.dtype], **layout})
    return [result]


def _expand(piece: Piece) -> Sequence[Tensor]:
    source, shape = piece.x, piece.shapes[0]
    result = piece.emitter.new(source.dtype, shape)
    if result.count:
        strides = stretched(source.shape, source.strides, len(shape))
        piece.emitter.move(source, result, shape, strides, result.strides)
    return [result]


def _tile(piece: Piece) -> Sequence[Tensor]:
    source, repeats = piece.x, piece.integers(1) or []
    result = piece.emitter.new(source.dtype, piece.shapes[0])
    rows = list(zip(source.shape, source.strides, result.strides, strict=True))
    rows += [(n, 0, size * stride) for n, (size, _, stride) in zip(repeats, list(rows), strict=True) if n > 1]
    dims, own, strides = (list(column) for column in zip(*rows, strict=True)) if rows else ([], [], [])
    piece.emitter.move(source, result, dims, own, strides)
    return [result]


def _blocks(piece: Piece) -> Sequence[Tensor]:
    """DepthToSpace and SpaceToDepth: a transposition of six axes."""
    size = piece.node.attributes.get_int("blocksize", 1)
    n, c, h, w = piece.x.shape
    if piece.node.op_type == "SpaceToDepth":
        split, permutation = (n, c, h // size, size, w // size, size), (0, 3, 5, 1, 2, 4)
    elif piece.node.attributes.get_string("mode", "DCR") == "CRD":
        split, permutation = (n, c // size**2, size, size, h, w), (0, 1, 4, 2, 5, 3)
    else:
        split, permutation = (n, size, size, c // size**2, h, w), (0, 3, 4, 1, 5, 2)
    strides = strides_of(split, canonical(6))
    result = piece.emitter.new(piece.x.dtype, piece.shapes[0])
    moved = [split[axis] for axis in permutation]
    to = strides_of(moved, canonical(6))
    piece.emitter.move(piece.plain(0), result, moved, [strides[axis] for axis in permutation], to)
    return [result]


def filled(
    emitter: Emitter, dtype: str, shape: tuple[int, ...], value: Any, order: tuple[int, ...] | None = None
) -> Tensor:
    """A tensor of one value."""
    result = emitter.new(dtype, shape, order)
    size = SIZES[dtype]
    words = np.frombuffer(np.asarray(value).astype(dtype).tobytes().ljust(8, b"\0"), np.int32)
    numbers = {"size": size, "count": result.count, "value": int(words[0]), "high": int(words[1])}
    emitter.emit("fill", {"y": result}, numbers)
    return result


def _pads(piece: Piece) -> list[tuple[int, int]]:
    """Begin and end of each axis."""
    rank, pads = len(piece.x.shape), piece.integers(1) or []
    axes = [axis % rank for axis in piece.integers(3) or range(rank)]
    found, count = [(0, 0)] * rank, len(pads) // 2
    for axis, begin, end in zip(axes, pads[:count], pads[count:], strict=True):
        found[axis] = (begin, end)
    return found


def _pad(piece: Piece) -> Sequence[Tensor]:
    """Pads below 0 leave elements out."""
    pads, source = _pads(piece), piece.x
    mode = piece.node.attributes.get_string("mode", "constant")
    if mode != "constant":
        return [_repeating(piece, pads, mode)]
    given = piece.array(2)
    value: Any = 0 if given is None or not given.size else given.reshape(-1)[0]
    if piece.qparams is not None:
        value = piece.qparams.quantize(np.asarray(value, np.float32))
    result = filled(piece.emitter, source.dtype, piece.shapes[0], value, source.order)
    kept = tuple(size - max(-begin, 0) - max(-end, 0) for size, (begin, end) in zip(source.shape, pads, strict=True))
    offsets = (
        sum(max(sign * begin, 0) * stride for (begin, _), stride in zip(pads, side.strides, strict=True))
        for side, sign in ((source, -1), (result, 1))
    )
    first, to = offsets
    if min(kept, default=1) > 0:
        piece.emitter.move(source, result, kept, source.strides, result.strides, source_offset=first, target_offset=to)
    return [result]


def _repeating(piece: Piece, pads: list[tuple[int, int]], mode: str) -> Tensor:
    """Padding with elements of the tensor, one axis after the other."""
    tensor = piece.x
    for axis, (begin, end) in enumerate(pads):
        if (begin, end) == (0, 0):
            continue
        size = tensor.shape[axis]
        places = np.arange(size)[max(-begin, 0) : size - max(-end, 0)]
        places = np.pad(places, (max(begin, 0), max(end, 0)), mode=mode)  # type: ignore[call-overload]
        shape = (*tensor.shape[:axis], len(places), *tensor.shape[axis + 1 :])
        tensor = taken(piece.emitter, tensor, axis, piece.constant(places.astype(np.int32)), shape)
    return tensor


LOWERINGS: dict[str, Lowering] = {
    **dict.fromkeys(("Flatten", "Reshape", "Squeeze", "Unsqueeze"), _reshape),
    **dict.fromkeys(("DepthToSpace", "SpaceToDepth"), _blocks),
    **dict.fromkeys(("Identity", "Dropout"), _identity),
    "Concat": _concat,
    "Expand": _expand,
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "Pad": _pad,
    "ReverseSequence": _reverse,
    "Slice": _slice,
    "Split": _split,
    "Tile": _tile,
    "Transpose": _transpose,
    "Trilu": _trilu,
}
"""Node → its tensors."""
