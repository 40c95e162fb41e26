"""An `If` whose branches are the same is no choice."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from deepseek_core.ir.canonical.edit import Editor
from deepseek_core.ir.model import QuantizedModel
from deepseek_core.ir.ops import op_key
from deepseek_core.passes.base import Pass
from deepseek_core.passes.bodies import body_of, control_nodes, move_out, substitute
from deepseek_core.passes.purity import is_random

__all__ = ["MergeBranches"]


class MergeBranches(Pass):
    """Replace an `If` by its branch where both compute the same from the same, node by node."""

    requires = frozenset({"conditions folded"})
    ensures = frozenset({"equal branches merged"})

    def run(self, model: QuantizedModel) -> bool:
        editor = Editor(model.model)
        equal = [node for node in control_nodes(model.model, "If") if _has_equal_branches(node)]
        for node in equal:
            substitute(editor, node, move_out(node, body_of(node, "then_branch"), {}))
        return bool(equal)

    def check(self, model: QuantizedModel) -> str | None:
        left = next((node for node in control_nodes(model.model, "If") if _has_equal_branches(node)), None)
        return None if left is None else f"both branches of If '{left.name}' are still the same"


def _has_equal_branches(node: ir.Node) -> bool:
    return _same_graph(body_of(node, "then_branch"), body_of(node, "else_branch"), {})


def _same_graph(one: ir.Graph, other: ir.Graph, twins: dict[ir.Value, ir.Value]) -> bool:
    """Whether two bodies compute the same; `twins` maps values of the first to those of the second."""
    if len(one) != len(other) or (len(one.inputs), len(one.outputs)) != (len(other.inputs), len(other.outputs)):
        return False
    twins.update(zip(one.inputs, other.inputs, strict=True))
    for mine, theirs in zip(one, other, strict=True):
        if not _same_node(mine, theirs, twins):
            return False
        twins.update(zip(mine.outputs, theirs.outputs, strict=True))
    return all(_same_value(a, b, twins) for a, b in zip(one.outputs, other.outputs, strict=True))


def _same_node(one: ir.Node, other: ir.Node, twins: dict[ir.Value, ir.Value]) -> bool:
    if op_key(one) != op_key(other) or is_random(one) or one.attributes.keys() != other.attributes.keys():
        return False
    if (len(one.inputs), len(one.outputs)) != (len(other.inputs), len(other.outputs)):
        return False
    inputs = zip(one.inputs, other.inputs, strict=True)
    attributes = ((a, other.attributes[name]) for name, a in one.attributes.items())
    return all(_same_value(a, b, twins) for a, b in inputs) and all(_same_attr(a, b, twins) for a, b in attributes)


def _same_value(one: ir.Value | None, other: ir.Value | None, twins: dict[ir.Value, ir.Value]) -> bool:
    if one is None or other is None:
        return one is other
    if one.const_value is not None and other.const_value is not None:
        return one is other or _same_tensor(one.const_value, other.const_value)
    return twins.get(one, one) is other


def _same_attr(one: ir.Attr, other: ir.Attr, twins: dict[ir.Value, ir.Value]) -> bool:
    if one.type != other.type or one.is_ref() or other.is_ref():
        return False
    if one.type == ir.AttributeType.GRAPH:
        return _same_graph(one.as_graph(), other.as_graph(), twins)
    if one.type == ir.AttributeType.TENSOR:
        return _same_tensor(one.value, other.value)
    plain = (ir.AttributeType.TENSORS, ir.AttributeType.GRAPHS, ir.AttributeType.SPARSE_TENSOR)
    return one.type not in plain and bool(one.value == other.value)


def _same_tensor(one: Any, other: Any) -> bool:
    if one is other:
        return True
    same = one.dtype == other.dtype and tuple(one.shape) == tuple(other.shape)
    return same and np.array_equal(one.numpy(), other.numpy())
