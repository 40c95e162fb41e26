"""MatMul and the bias behind it become Gemm, so that the bias is quantized with the product's own scale."""

from __future__ import annotations

import onnx_ir as ir

from deepseek_core.ir.canonical.edit import Editor
from deepseek_core.ir.model import QuantizedModel
from deepseek_core.passes.base import Pass
from deepseek_core.passes.bodies import all_nodes

__all__ = ["FuseMatMulBias"]


class FuseMatMulBias(Pass):
    """Add(MatMul(x, W), b) → Gemm(x, W, b) for x of rank 2, constant W [K, N] and constant b [N] or [1, N]."""

    requires = frozenset({"constants folded"})
    ensures = frozenset({"matmul bias fused"})

    def run(self, model: QuantizedModel) -> bool:
        editor = Editor(model.model)
        pairs = [(node, add) for node in all_nodes(model.graph) if (add := _bias_of(node)) is not None]
        for matmul, add in pairs:
            _fuse(editor, matmul, add)
        return bool(pairs)


def _bias_of(node: ir.Node) -> ir.Node | None:
    """The Add that only adds a constant bias to a MatMul with a constant weight."""
    if node.op_type != "MatMul" or _rank(node.inputs[0]) != 2 or _constant_shape(node.inputs[1]) is None:
        return None
    product = node.outputs[0]
    uses = list(product.uses())
    if (
        product.is_graph_output()
        or len(uses) != 1
        or uses[0].node.op_type != "Add"
        or uses[0].node.graph is not node.graph
    ):
        return None
    shape = _constant_shape(uses[0].node.inputs[1 - uses[0].idx])
    weight = _constant_shape(node.inputs[1]) or ()
    fits = len(weight) == 2 and shape in ((weight[1],), (1, weight[1]))
    return uses[0].node if fits else None


def _fuse(editor: Editor, matmul: ir.Node, add: ir.Node) -> None:
    graph = add.graph
    assert isinstance(graph, ir.Graph)
    x, weight = matmul.inputs
    bias = next(v for v in add.inputs if v is not None and v.producer() is not matmul)
    out = add.outputs[0]
    gemm = ir.node("Gemm", [x, weight, _flat(editor, bias)], name=matmul.name)
    graph.insert_before(add, gemm)
    ir.convenience.replace_all_uses_with(out, gemm.outputs[0], replace_graph_outputs=True)
    graph.remove([add, matmul], safe=True)
    new = gemm.outputs[0]
    new.name, new.shape, new.type = out.name, out.shape, out.type


def _flat(editor: Editor, bias: ir.Value) -> ir.Value:
    """A bias of shape [N]: per-channel parameters lie along its only axis."""
    assert bias.const_value is not None
    array = bias.const_value.numpy()
    if array.ndim == 1:
        return bias
    return editor.initializer(editor.model.graph, f"{bias.name}_flat", array.reshape(-1))


def _rank(value: ir.Value | None) -> int | None:
    return len(value.shape) if value is not None and value.shape is not None else None


def _constant_shape(value: ir.Value | None) -> tuple[int, ...] | None:
    return None if value is None or value.const_value is None else tuple(value.const_value.numpy().shape)
