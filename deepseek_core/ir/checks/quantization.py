"""Q and DQ nodes make sense: scales, zero points, axes and blocks (ONNX QuantizeLinear / DequantizeLinear)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from deepseek_core.ir.checks.report import Problem, where
from deepseek_core.ir.qdq import is_q_or_dq
from deepseek_core.ir.query import constant

__all__ = ["quantization_problems"]

_TOOL = "recalibrate, or correct the tool that quantized the model"


def quantization_problems(model: ir.Model) -> Iterator[Problem]:
    """Problems of every Q and DQ of the model, bodies included."""
    for node in model.graph.all_nodes():
        if is_q_or_dq(node) and len(node.inputs) > 1:
            yield from _value_problems(node)
            yield from _shape_problems(node)


def _value_problems(node: ir.Node) -> Iterator[Problem]:
    scale, zero = constant(node.inputs[1]), constant(node.inputs[2]) if len(node.inputs) > 2 else None
    if scale is not None:
        numbers = scale.astype(np.float64)
        if not (np.isfinite(numbers).all() and (numbers > 0).all()):
            yield Problem(where(node), "its scale is not positive and finite", _TOOL)
    if zero is None:
        return
    if scale is not None and zero.shape != scale.shape:
        yield Problem(where(node), f"its scale has shape {scale.shape}, its zero point {zero.shape}", _TOOL)
    # int32 codes are biases and float8 ones floats: both mean real 0 by 0.
    if (zero.dtype == np.int32 or zero.dtype.name.startswith("float")) and zero.astype(np.float32).any():
        yield Problem(where(node), f"its {zero.dtype} zero point is not 0", _TOOL)


def _shape_problems(node: ir.Node) -> Iterator[Problem]:
    scale, block = node.inputs[1], node.attributes.get_int("block_size", 0)
    if scale is None or scale.shape is None or len(scale.shape) == 0:
        if block:
            yield Problem(where(node), f"has block_size {block} but a single scale", _TOOL)
        return
    shape = _shape(node.inputs[0])
    if shape is None:
        return
    axis = node.attributes.get_int("axis", 1)
    if not -len(shape) <= axis < len(shape):
        yield Problem(where(node), f"axis {axis} of a tensor with {len(shape)} dimensions", _TOOL)
    elif block:
        yield from _block_problems(node, shape, axis % len(shape), block)
    elif len(scale.shape) != 1:
        yield Problem(where(node), f"has scales of shape {list(scale.shape)} for one axis", _TOOL)
    elif _differs(scale.shape[0], shape[axis]) and scale.shape[0] != 1:
        yield Problem(where(node), f"has {scale.shape[0]} scales for the {shape[axis]} indices of axis {axis}", _TOOL)


def _block_problems(node: ir.Node, shape: list[int | None], axis: int, block: int) -> Iterator[Problem]:
    scale = _shape(node.inputs[1])
    if block < 0:
        yield Problem(where(node), f"has block_size {block}", _TOOL)
        return
    wanted = [-(-d // block) if i == axis and d is not None else d for i, d in enumerate(shape)]
    if scale is not None and (len(scale) != len(wanted) or any(map(_differs, scale, wanted))):
        found = f"its scales have shape {scale}, but blocks of {block} along axis {axis} of {shape} need {wanted}"
        yield Problem(where(node), found, _TOOL)


def _shape(value: ir.Value | None) -> list[int | None] | None:
    if value is None or value.shape is None:
        return None
    return [d if isinstance(d, int) else None for d in value.shape]


def _differs(one: object, other: object) -> bool:
    return isinstance(one, int) and isinstance(other, int) and one != other
