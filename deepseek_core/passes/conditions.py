"""Control flow whose course is known: a constant condition, a loop that makes no trip."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from deepseek_core.ir.canonical.edit import Editor
from deepseek_core.ir.model import QuantizedModel
from deepseek_core.ir.query import at, constant, static_shape
from deepseek_core.passes.base import Pass
from deepseek_core.passes.bodies import body_of, control_nodes, move_out, substitute

__all__ = ["FoldConditions"]


class FoldConditions(Pass):
    """An `If` with a constant condition becomes its branch, a `Loop` that makes no trip what it starts from.

    Outputs of a loop without trips are the initial carried values and, for what each trip would give, empty tensors
    (Loop-21). A loop whose empty results have no known shape stays.
    """

    ensures = frozenset({"conditions folded"})

    def run(self, model: QuantizedModel) -> bool:
        editor, changed = Editor(model.model), False
        for node in control_nodes(model.model, "If", "Loop"):
            if node.op_type == "If" and (taken := _branch(node)) is not None:
                substitute(editor, node, move_out(node, taken, {}))
            elif node.op_type == "Loop" and (results := _without_trips(editor, node)) is not None:
                substitute(editor, node, results)
            else:
                continue
            changed = True
        return changed

    def check(self, model: QuantizedModel) -> str | None:
        left = next((n for n in control_nodes(model.model, "If") if _branch(n) is not None), None)
        return None if left is None else f"If '{left.name}' still has a constant condition"


def _branch(node: ir.Node) -> ir.Graph | None:
    condition = constant(at(node, 0))
    return None if condition is None else body_of(node, "then_branch" if condition.item() else "else_branch")


def _without_trips(editor: Editor, node: ir.Node) -> list[ir.Value] | None:
    """What the outputs of a loop that makes no trip hold; None when it makes one, or nobody knows."""
    trips, condition = constant(at(node, 0)), constant(at(node, 1))
    if not ((trips is not None and trips.item() <= 0) or (condition is not None and not condition.item())):
        return None
    carried = list(node.inputs[2:])
    given = body_of(node).outputs[1 + len(carried) :]
    shapes = [static_shape(value) for value in given]
    outputs = node.outputs[len(carried) :]
    unknown = any(s is None or v.dtype is None for s, v in zip(shapes, given, strict=True))
    if unknown or any(value is None for value in carried):
        return None
    empty = [
        editor.initializer(
            editor.model.graph, f"{output.name}_empty", np.zeros((0, *(shape or ())), _numpy(value.dtype))
        )
        for output, value, shape in zip(outputs, given, shapes, strict=True)
    ]
    return [*(value for value in carried if value is not None), *empty]


def _numpy(dtype: ir.DataType | None) -> np.dtype[np.generic]:
    assert dtype is not None
    return np.dtype(dtype.numpy())
