"""Sum, which older exporters write for residual connections, becomes the Add that targets have kernels for."""

from __future__ import annotations

import onnx_ir as ir

from deepseek_core.ir.canonical.edit import Editor, remove
from deepseek_core.ir.model import QuantizedModel
from deepseek_core.passes.base import Pass
from deepseek_core.passes.bodies import all_nodes

__all__ = ["SumsToAdds"]


class SumsToAdds(Pass):
    """Sum(a, b, c) → Add(Add(a, b), c); a Sum of one value stays."""

    ensures = frozenset({"sums of several written out"})

    def run(self, model: QuantizedModel) -> bool:
        editor = Editor(model.model)
        sums = [node for node in all_nodes(model.graph) if node.op_type == "Sum" and node.domain == ""]
        found = [node for node in sums if len(node.inputs) > 1]
        for node in found:
            _write_out(editor, node)
        return bool(found)


def _write_out(editor: Editor, node: ir.Node) -> None:
    graph, result = node.graph, node.outputs[0]
    assert isinstance(graph, ir.Graph)
    total, *rest = node.inputs
    for number, value in enumerate(rest):
        is_last = number == len(rest) - 1
        add = ir.node("Add", [total, value], name=node.name if is_last else editor.name(f"{node.name}_{number}"))
        total = add.outputs[0]
        total.type, total.name = result.type, editor.name(f"{result.name}_{number}")
        graph.insert_before(node, add)
    assert total is not None
    name, total.shape = result.name, result.shape
    ir.convenience.replace_all_uses_with(result, total, replace_graph_outputs=True)
    remove(node)
    total.name = name
