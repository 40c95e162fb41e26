"""Weights that a file only describes: ConstantOfShape becomes the array that it fills."""

from __future__ import annotations

from math import prod

import numpy as np
import onnx_ir as ir

from deepseek_core.ir.canonical.edit import Editor, remove
from deepseek_core.ir.model import QuantizedModel
from deepseek_core.ir.ops import info, op_key
from deepseek_core.passes.base import Pass
from deepseek_core.passes.bodies import all_nodes

__all__ = ["FillWeights"]

_MOST, _SMALL = 2**28, 2**16
"""Elements of one weight, and of anything else: a file of a few bytes may ask for any number."""


class FillWeights(Pass):
    """ConstantOfShape with a constant shape, where it is small, or a weight, a bias or a statistic."""

    def run(self, model: QuantizedModel) -> bool:
        editor, changed = Editor(model.model), False
        for node in list(all_nodes(model.graph)):
            shape = _constant_shape(node)
            if shape is None or not _is_worth_it(node, shape):
                continue
            value = node.attributes.get_tensor("value", None)
            number = np.zeros(1, np.float32) if value is None else value.numpy()
            filled = editor.initializer(model.graph, f"{node.outputs[0].name}_filled", np.full(shape, number))
            node.outputs[0].replace_all_uses_with(filled)
            remove(node)
            changed = True
        return changed


def _constant_shape(node: ir.Node) -> tuple[int, ...] | None:
    if node.op_type != "ConstantOfShape" or node.domain != "" or node.outputs[0].is_graph_output():
        return None
    given = node.inputs[0]
    if given is None or given.const_value is None:
        return None
    return tuple(int(size) for size in given.const_value.numpy())


def _is_worth_it(node: ir.Node, shape: tuple[int, ...]) -> bool:
    if min(shape, default=0) < 0:
        return False  # for whoever runs the model to refuse
    count = prod(max(size, 1) for size in shape)  # NumPy's limit on sizes holds beside a 0 too
    return count <= _SMALL or (count <= _MOST and any(_is_weight(u.node, u.idx) for u in node.outputs[0].uses()))


def _is_weight(node: ir.Node, position: int) -> bool:
    if node.op_type in ("Reshape", "Transpose"):
        return position == 0 and any(_is_weight(use.node, use.idx) for use in node.outputs[0].uses())
    known = info(op_key(node))
    return position in (known.weight, known.bias) or (node.op_type == "BatchNormalization" and position > 0)
