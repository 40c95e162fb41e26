"""Ops that move values: factors move along."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from deepseek.quantization.scaling.sweep import Sweep
from deepseek.quantization.scaling.variables import FIXED, Ids
from deepseek_core.ir.query import at, constant, rank

__all__ = ["MOVEMENT_RULES", "full"]


def full(sweep: Sweep, value: ir.Value | None) -> Ids | None:
    """Variables with an entry for every axis of the value; None where all are fixed or the rank is unknown."""
    ids, ranks = sweep.of(value), rank(value)
    if not ids.ndim or ranks is None:
        return None
    return ids.reshape((1,) * (ranks - ids.ndim) + ids.shape)


def _transpose(sweep: Sweep, node: ir.Node) -> None:
    ids = full(sweep, node.inputs[0])
    if ids is not None:
        sweep.put(node.outputs[0], ids.transpose(node.attributes.get_ints("perm", range(ids.ndim)[::-1])))


def _reshape(sweep: Sweep, node: ir.Node) -> None:
    """Elements keep their order, so where trailing axes hold equally many, they hold the same ones.

    Leading axes without factors may have any size; from the first that has some, sizes must be known.
    """
    source, (result,) = node.inputs[0], node.outputs
    ids = full(sweep, source)
    if ids is None:
        return
    assert source is not None
    first = next((axis for axis, size in enumerate(ids.shape) if size > 1), ids.ndim)
    for start in range(first, -1, -1):
        tail, target = _tail(source, start), result.shape
        if tail is None or target is None:
            break
        for begin in range(len(target) + 1):
            goal = _tail(result, begin)
            if goal is not None and np.prod(goal) == np.prod(tail) > 0:
                sweep.put(result, _compact(np.broadcast_to(ids[(0,) * start], tail).reshape(goal)))
                return
    sweep.stop(node, f"{node.op_type} mixes channels with axes of unknown size")


def _tail(value: ir.Value, start: int) -> tuple[int, ...] | None:
    """Sizes of the axes from `start` on, where all are known."""
    assert value.shape is not None
    sizes = [d if isinstance(d, int) else None for d in value.shape][start:]
    return None if None in sizes else tuple(s for s in sizes if s is not None)


def _compact(ids: Ids) -> Ids:
    """`ids` with size 1 along every axis on which it does not vary."""
    for axis in range(ids.ndim):
        first = ids.take([0], axis=axis) if ids.shape[axis] else ids
        if ids.shape[axis] > 1 and (ids == first).all():
            ids = first
    return ids


def _pass_other_axes(axes_of: Callable[[ir.Node, int], list[int] | None]) -> Callable[[Sweep, ir.Node], None]:
    """A rule for ops that leave the order along all axes but the given ones."""

    def rule(sweep: Sweep, node: ir.Node) -> None:
        ids = full(sweep, node.inputs[0])
        if ids is None:
            return
        axes = axes_of(node, ids.ndim)
        if axes is None or any(ids.shape[axis] > 1 for axis in axes):
            sweep.stop(node, f"{node.op_type} changes its channels")
            return
        for output in node.outputs:
            sweep.put(output, ids)

    return rule


def _reduced(sweep: Sweep, node: ir.Node) -> None:
    """Mean, sum, maximum over axes without factors."""
    ids = full(sweep, node.inputs[0])
    if ids is None:
        return
    axes = _constant_axes(at(node, 1), ids.ndim)
    if not axes or any(ids.shape[axis] > 1 for axis in axes):
        sweep.stop(node, f"{node.op_type} sums over channels")
        return
    keep = node.attributes.get_int("keepdims", 1)
    sweep.put(node.outputs[0], ids if keep else ids.squeeze(tuple(axes)))


def _constant_axes(value: ir.Value | None, ranks: int) -> list[int] | None:
    array = constant(value)
    return None if array is None else [int(axis) % ranks for axis in array.reshape(-1)]


def _sliced(node: ir.Node, ranks: int) -> list[int] | None:
    starts = constant(at(node, 1))
    if at(node, 3) is None:
        return None if starts is None else list(range(starts.size))
    return _constant_axes(at(node, 3), ranks)


def _padded(node: ir.Node, ranks: int) -> list[int] | None:
    """A padding value other than 0 is no multiple of a factor."""
    pads, fill = constant(at(node, 1)), constant(at(node, 2))
    zero = at(node, 2) is None or (fill is not None and not np.any(fill))
    if (
        pads is None
        or at(node, 3) is not None
        or (node.attributes.get_string("mode", "constant") == "constant" and not zero)
    ):
        return None
    halves = pads.reshape(2, -1)
    return [axis for axis in range(ranks) if halves[:, axis].any()]


def _resized(node: ir.Node, ranks: int) -> list[int] | None:
    """Interpolation is linear in the values; axes whose size stays are left alone."""
    source, result = node.inputs[0], node.outputs[0]
    if source is None or source.shape is None or result.shape is None:
        return None
    sizes = zip(source.shape, result.shape, strict=True)
    return [axis for axis, (a, b) in enumerate(sizes) if not (isinstance(a, int) and a == b)]


def _concat(sweep: Sweep, node: ir.Node) -> None:
    """Along the channels, pieces keep their own factors; a constant piece takes fresh ones in."""
    pieces = [(value, full(sweep, value)) for value in node.inputs]
    ranks = next((ids.ndim for _, ids in pieces if ids is not None), None)
    if ranks is None:
        return
    axis = node.attributes.get_int("axis", 0) % ranks
    sizes = [_size(value, axis) for value, _ in pieces]
    if None in sizes:
        sweep.stop(node, "Concat of pieces of unknown size")
        return
    arrays = [_stretched(ids, axis, size or 0, ranks) for (_, ids), size in zip(pieces, sizes, strict=True)]
    shape = np.broadcast_shapes(*(tuple(1 if i == axis else n for i, n in enumerate(a.shape)) for a in arrays))
    even = [np.broadcast_to(a, tuple(a.shape[i] if i == axis else n for i, n in enumerate(shape))) for a in arrays]
    sweep.put(node.outputs[0], np.concatenate(even, axis=axis))


def _stretched(ids: Ids | None, axis: int, size: int, ranks: int) -> Ids:
    if ids is None:
        ids = FIXED.reshape((1,) * ranks)
    return np.broadcast_to(ids, tuple(size if i == axis else n for i, n in enumerate(ids.shape)))


def _size(value: ir.Value | None, axis: int) -> int | None:
    if value is None or value.shape is None or axis >= len(value.shape):
        return None
    size = value.shape[axis]
    return size if isinstance(size, int) else None


def _split(sweep: Sweep, node: ir.Node) -> None:
    """Pieces take the factors of their part."""
    ids = full(sweep, node.inputs[0])
    if ids is None:
        return
    axis = node.attributes.get_int("axis", 0) % ids.ndim
    if ids.shape[axis] == 1:
        for output in node.outputs:
            sweep.put(output, ids)
        return
    sizes = [_size(output, axis) for output in node.outputs]
    if None in sizes or sum(size or 0 for size in sizes) != ids.shape[axis]:
        sweep.stop(node, "Split into pieces of unknown size")
        return
    ends = np.cumsum([size or 0 for size in sizes])[:-1]
    for output, piece in zip(node.outputs, np.split(ids, ends, axis=axis), strict=True):
        sweep.put(output, piece)


def _gather(sweep: Sweep, node: ir.Node) -> None:
    """Picking along an axis without factors; the indices' axes take its place."""
    ids, indices = full(sweep, node.inputs[0]), rank(at(node, 1))
    if ids is None:
        return
    axis = node.attributes.get_int("axis", 0) % ids.ndim
    if indices is None or ids.shape[axis] > 1:
        sweep.stop(node, "Gather picks channels")
        return
    sweep.put(node.outputs[0], ids.reshape(ids.shape[:axis] + (1,) * indices + ids.shape[axis + 1 :]))


def _expand(sweep: Sweep, node: ir.Node) -> None:
    """Only axes of size 1 grow, and along those there is one factor."""
    sweep.put(node.outputs[0], sweep.of(node.inputs[0]))


MOVEMENT_RULES: dict[str, Callable[[Sweep, ir.Node], None]] = {
    "Transpose": _transpose,
    **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze"), _reshape),
    **dict.fromkeys(("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin"), _reduced),
    "Slice": _pass_other_axes(_sliced),
    "Pad": _pass_other_axes(_padded),
    "Resize": _pass_other_axes(_resized),
    "Concat": _concat,
    "Split": _split,
    "Gather": _gather,
    "Expand": _expand,
}
