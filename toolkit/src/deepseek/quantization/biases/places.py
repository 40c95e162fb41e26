"""A place for a bias behind matrix products that have none."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import numpy as np
import onnx_ir as ir

from deepseek.quantization.grams import Site
from deepseek_core import QuantizedModel
from deepseek_core.ir.canonical.edit import Editor, remove, replace
from deepseek_core.ir.query import constant

__all__ = ["drop_idle_adds", "give_adds"]


def give_adds(model: QuantizedModel, sites: Iterable[Site]) -> list[str]:
    """Put an Add of zeros behind each MatMul that has no bias; in place.

    The sum takes over the name of the product, which readers and statistics know; the product gets a new one.

    Returns:
        Names of the new nodes.
    """
    editor = Editor(model.model)
    nodes = {node.name or "": node for node in model.graph}
    lacking = [s for s in sites if s.unit.op == "MatMul" and s.bias is None and s.weight.shape[0] == 1]
    return [_give(editor, nodes[site.key[0]], site.weight.shape[1]) for site in lacking]


def _give(editor: Editor, product: ir.Node, outputs: int) -> str:
    (old,), graph = product.outputs, product.graph
    assert isinstance(graph, ir.Graph)
    zeros = editor.initializer(graph, f"{product.name}_bias", np.zeros(outputs, np.float32))
    add = ir.node("Add", [None, zeros], name=editor.name(f"{product.name}/bias"))
    graph.insert_after(product, add)
    name = old.name
    replace(old, add.outputs[0])
    old.name = editor.name(f"{name}_product")
    add.replace_input_with(0, old)
    return add.name or ""


def drop_idle_adds(model: QuantizedModel, names: Collection[str]) -> None:
    """Take out those of the named Adds that still add zeros; in place."""
    for node in [node for node in model.graph if node.name in names]:
        added, product = constant(node.inputs[1]), node.inputs[0]
        assert product is not None
        if added is not None and not added.any():
            replace(node.outputs[0], product)
            remove(node)
