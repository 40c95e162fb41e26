"""Layers whose constants take factors in: convolutions, matrix products, normalisations."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from deepseek.quantization.scaling.sweep import Sweep
from deepseek.quantization.scaling.variables import FIXED, Ids
from deepseek_core.ir.query import at, rank

__all__ = ["LINEAR_RULES"]


def _own(node: ir.Node, position: int) -> tuple[int, ...] | None:
    """Shape of a float32 constant that only `node` reads; None for anything else."""
    value = at(node, position)
    if value is None or value.const_value is None or len(value.uses()) != 1:
        return None
    return tuple(value.const_value.shape.numpy()) if value.const_value.dtype is ir.DataType.FLOAT else None


def _bias_fits(node: ir.Node, position: int) -> bool:
    value = at(node, position)
    return value is None or value.const_value is not None


def _read(sweep: Sweep, node: ir.Node, axis: int, size: int) -> Ids | None:
    """Variables [size] along the one axis that `node` can undo factors on; None where there is nothing to undo."""
    value = node.inputs[0]
    ids, ranks = sweep.of(value), rank(value)
    if not ids.ndim or ranks is None:
        return None
    full = ids.reshape((1,) * (ranks - ids.ndim) + ids.shape)
    axis %= ranks
    if any(n > 1 for i, n in enumerate(full.shape) if i != axis):
        sweep.variables.fix(ids, f"{node.op_type} sums over more than its channels")
        return None
    return np.broadcast_to(full.reshape(-1), (size,))


def _conv(sweep: Sweep, node: ir.Node) -> None:
    """Weights [M, C/g, k…]; a row of group j reads the channels of that group only."""
    shape = _own(node, 1)
    if shape is None or not _bias_fits(node, 2) or not all(shape):
        sweep.stop(node, f"the weight of {node.op_type} is computed or shared")
        return
    outputs, width = shape[:2]
    groups = node.attributes.get_int("group", 1)
    tail = (1,) * (len(shape) - 2)
    read = _read(sweep, node, 1, groups * width)
    if read is not None:
        rows = np.repeat(read.reshape(groups, width), outputs // groups, axis=0)
        sweep.touch(node, 1, rows.reshape(outputs, width, *tail), -1)
    made = sweep.variables.fresh((outputs,))
    sweep.touch(node, 1, made.reshape(outputs, 1, *tail), +1)
    _finish(sweep, node, 2, made, made.reshape(1, outputs, *tail))


def _transposed(sweep: Sweep, node: ir.Node) -> None:
    """Weights [C, M/g, k…]; a row belongs to the group of its input channel."""
    shape = _own(node, 1)
    if shape is None or not _bias_fits(node, 2) or not all(shape):
        sweep.stop(node, f"the weight of {node.op_type} is computed or shared")
        return
    channels, width = shape[:2]
    groups = node.attributes.get_int("group", 1)
    tail = (1,) * (len(shape) - 2)
    read = _read(sweep, node, 1, channels)
    if read is not None:
        sweep.touch(node, 1, read.reshape(channels, 1, *tail), -1)
    made = sweep.variables.fresh((groups * width,))
    rows = np.repeat(made.reshape(groups, width), channels // groups, axis=0)
    sweep.touch(node, 1, rows.reshape(channels, width, *tail), +1)
    _finish(sweep, node, 2, made, made.reshape(1, groups * width, *tail))


def _matrix(sweep: Sweep, node: ir.Node) -> None:
    """A constant W [K, N] (Gemm with transB: [N, K]); a product of two tensors hands on factors of columns."""
    shape = _own(node, 1)
    gemm = node.op_type == "Gemm"
    if not gemm and at(node, 1) is not None and at(node, 1).const_value is None:  # type: ignore[union-attr]
        _columns(sweep, node)
        return
    transposed = gemm and bool(node.attributes.get_int("transA", 0))
    if shape is None or len(shape) != 2 or not all(shape) or transposed or (gemm and not _bias_fits(node, 2)):
        sweep.stop(node, f"the weight of {node.op_type} is computed or shared")
        return
    flipped = gemm and bool(node.attributes.get_int("transB", 0))
    inner, outer = shape[::-1] if flipped else shape
    read = _read(sweep, node, -1, inner)
    if read is not None:
        sweep.touch(node, 1, read.reshape((1, inner) if flipped else (inner, 1)), -1)
    made = sweep.variables.fresh((outer,))
    sweep.touch(node, 1, made.reshape((outer, 1) if flipped else (1, outer)), +1)
    _finish(sweep, node, 2, made, made)


def _columns(sweep: Sweep, node: ir.Node) -> None:
    """A @ B: a factor of a column of B is one of the result's; rows of B are summed over."""
    sweep.variables.fix(sweep.of(node.inputs[0]), "it is multiplied with another tensor")
    ids = sweep.of(node.inputs[1])
    if rank(node.inputs[1]) == 1 or (ids.ndim >= 2 and ids.shape[-2] > 1):
        sweep.variables.fix(ids, "MatMul sums over it")
        ids = FIXED
    sweep.put(node.outputs[0], ids)


def _finish(sweep: Sweep, node: ir.Node, bias: int, made: Ids, output: Ids) -> None:
    if at(node, bias) is not None:
        sweep.touch(node, bias, made, +1)
    sweep.put(node.outputs[0], output)


def _norm(sweep: Sweep, node: ir.Node) -> None:
    """Normalisation over the last axis: its input is taken as it is, its output is scaled by the gain."""
    value = node.inputs[0]
    axis, ranks, shape = node.attributes.get_int("axis", -1), rank(value), _constant_shape(node, 1)
    last = axis == -1 or (ranks is not None and axis == ranks - 1)
    sweep.stop(node, f"{node.op_type} is not linear")
    if last and shape is not None and len(shape) == 1 and _bias_fits(node, 2) and shape[0]:
        made = sweep.variables.fresh(shape)
        sweep.touch(node, 1, made, +1)
        _finish(sweep, node, 2, made, made)


def _channel_norm(sweep: Sweep, node: ir.Node) -> None:
    """Batch or instance normalisation: gain and shift for each channel."""
    shape, ranks = _constant_shape(node, 1), rank(node.inputs[0])
    sweep.stop(node, f"{node.op_type} is not linear")
    if shape is not None and len(shape) == 1 and ranks is not None and ranks >= 2 and _bias_fits(node, 2) and shape[0]:
        made = sweep.variables.fresh(shape)
        sweep.touch(node, 1, made, +1)
        _finish(sweep, node, 2, made, made.reshape(1, -1, *(1,) * (ranks - 2)))


def _constant_shape(node: ir.Node, position: int) -> tuple[int, ...] | None:
    value = at(node, position)
    fits = value is not None and value.const_value is not None and value.const_value.dtype is ir.DataType.FLOAT
    return tuple(value.const_value.shape.numpy()) if fits else None  # type: ignore[union-attr]


LINEAR_RULES: dict[str, Callable[[Sweep, ir.Node], None]] = {
    "Conv": _conv,
    "ConvTranspose": _transposed,
    "Gemm": _matrix,
    "MatMul": _matrix,
    "LayerNormalization": _norm,
    "RMSNormalization": _norm,
    "SimplifiedLayerNormalization": _norm,
    "BatchNormalization": _channel_norm,
    "InstanceNormalization": _channel_norm,
}
