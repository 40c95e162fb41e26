"""Constants are initializers, and a quantized constant is stored as its codes."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common

from deepseek_core.ir.canonical.edit import Editor, remove
from deepseek_core.ir.qdq import DQ, Q, qparams_of
from deepseek_core.ir.query import constant, is_node

__all__ = ["fold_quantized_constants", "lift_constants"]


def lift_constants(model: ir.Model) -> None:
    """Turn Constant nodes into initializers; initializers are no inputs, so nobody can override a constant."""
    common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    common.RemoveInitializersFromInputsPass()(model)


def fold_quantized_constants(editor: Editor) -> None:
    """Replace a Q over a constant by the codes it gives; the codes are what the Q computes, so no value changes."""
    for node in list(editor.model.graph.all_nodes()):
        if is_node(node, Q) and not node.outputs[0].is_graph_output():
            _fold(editor, node)


def _fold(editor: Editor, node: ir.Node) -> None:
    source, (codes,) = node.inputs[0], node.outputs
    params = qparams_of(node)
    if params is None or source is None or node.graph is None:
        return
    real = constant(source)
    if real is None:
        producer = source.producer()
        inner = qparams_of(producer) if producer is not None and is_node(producer, DQ) else None
        stored = constant(producer.inputs[0]) if producer is not None and inner is not None else None
        if inner is None or stored is None:
            return
        real = inner.dequantize(stored)
    folded = editor.initializer(node.graph, f"{source.name}_quantized", params.quantize(real.astype(np.float32)))
    codes.replace_all_uses_with(folded)
    remove(node)
