"""Every Q and DQ states its zero point and axis, in one spelling."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from deepseek_core.ir.canonical.edit import Editor
from deepseek_core.ir.qdq import Q, is_q_or_dq
from deepseek_core.ir.query import at, constant, rank, static_shape

__all__ = ["make_explicit"]

_LARGEST = 1 << 20
"""Elements of a zero point that may be written for a scale that is no constant."""


def make_explicit(editor: Editor) -> None:
    """Write zero points that are implied, shapes that agree and axes that count from the front; in place.

    What stays implied: the zero point of a scale whose shape nobody knows.
    """
    step = _Explicit(editor)
    for node in list(editor.model.graph.all_nodes()):
        if is_q_or_dq(node) and len(node.inputs) > 1:
            step.parameters(node)
            _axis(node)


class _Explicit:
    """Shares the initializers it makes: hundreds of nodes imply the same zero."""

    def __init__(self, editor: Editor) -> None:
        self._editor = editor
        self._made: dict[object, ir.Value] = {}

    def parameters(self, node: ir.Node) -> None:
        scale, zero = node.inputs[1], at(node, 2)
        values, zeros = constant(scale), constant(zero)
        if values is not None and values.ndim == 1 and values.size == 1 and not _one_index(node):
            node.replace_input_with(1, self._initializer(scale, values.reshape(())))
            values = values.reshape(())
        if zero is None:
            self._imply(node, static_shape(node.inputs[1]))
        elif zeros is not None and values is not None and zeros.shape != values.shape and zeros.size == 1:
            node.replace_input_with(2, self._initializer(zero, np.full(values.shape, zeros.reshape(()))))
        if at(node, 2) is not None:
            node.attributes.pop("output_dtype", None)

    def _imply(self, node: ir.Node, shape: tuple[int, ...] | None) -> None:
        dtype = _code_type(node)
        if dtype is None or shape is None or math.prod(shape) > _LARGEST:
            return
        key = (dtype, shape)
        if key not in self._made:
            array = np.zeros(shape, dtype.numpy())
            name = f"zero_{dtype.name.lower()}"
            self._made[key] = self._editor.initializer(self._editor.model.graph, name, array)
        node.resize_inputs(3)
        node.replace_input_with(2, self._made[key])

    def _initializer(self, source: ir.Value | None, array: NDArray[Any]) -> ir.Value:
        key = (source, array.shape)
        if key not in self._made:
            name = f"{source.name}_shaped" if source is not None else "shaped"
            self._made[key] = self._editor.initializer(self._editor.model.graph, name, array)
        return self._made[key]


def _axis(node: ir.Node) -> None:
    if node.attributes.get_int("block_size", 1) == 0:
        node.attributes.pop("block_size")
    size = rank(node.inputs[1])
    if size == 0:
        node.attributes.pop("axis", None)
        return
    whole, axis = rank(node.inputs[0]), node.attributes.get_int("axis", 1)
    if size is not None and whole is not None and -whole <= axis < whole:
        node.attributes["axis"] = ir.AttrInt64("axis", axis % whole)


def _code_type(node: ir.Node) -> ir.DataType | None:
    if node.op_type != Q:
        return node.inputs[0].dtype if node.inputs[0] is not None else None
    code = node.attributes.get_int("output_dtype", 0)
    return ir.DataType(code) if code else ir.DataType.UINT8


def _one_index(node: ir.Node) -> bool:
    """Whether the quantized axis is known to have one index, which makes (1,) a per-channel scale."""
    value, axis = node.inputs[0], node.attributes.get_int("axis", 1)
    if value is None or value.shape is None or not -len(value.shape) <= axis < len(value.shape):
        return False
    return value.shape[axis] == 1
