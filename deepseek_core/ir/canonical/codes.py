"""Ops that move integer codes become DQ → op → Q, so that every quantized tensor says what its codes mean."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from deepseek_core.ir.canonical.edit import Editor
from deepseek_core.ir.canonical.sharing import is_lossless
from deepseek_core.ir.ops import PASSTHROUGH
from deepseek_core.ir.qdq import Q, qparams_of
from deepseek_core.ir.qparams import QParams
from deepseek_core.ir.query import constant, is_node
from deepseek_core.scheme import Granularity

__all__ = ["lift_codes"]


def lift_codes(editor: Editor) -> None:
    """Wrap every data-moving op that reads the codes of a per-tensor Q in DQ and Q with the same parameters.

    Models in QOperator form run MaxPool, Reshape, Transpose, Pad and their like directly on codes. Moving and
    comparing codes commutes with dequantizing them, so no output changes; in place.
    """
    for node in list(editor.model.graph.all_nodes()):
        source = node.inputs[0] if node.inputs else None
        producer = source.producer() if source is not None else None
        if source is None or producer is None or not is_node(producer, Q) or node.domain:
            continue
        params = qparams_of(producer)
        if params is None or params.scheme.granularity is not Granularity.PER_TENSOR:
            continue
        if is_lossless(params, ir.DataType.FLOAT) and _moves_codes(node) and _realise_padding(editor, node, params):
            _wrap(editor, node, source, producer)


def _moves_codes(node: ir.Node) -> bool:
    return node.op_type in PASSTHROUGH or node.op_type == "Pad"


def _wrap(editor: Editor, node: ir.Node, codes: ir.Value, producer: ir.Node) -> None:
    scale, zero = producer.inputs[1], producer.inputs[2] if len(producer.inputs) > 2 else None
    if scale is None or scale.dtype is not ir.DataType.FLOAT:
        return
    node.replace_input_with(0, editor.dequantize(codes, scale, zero, before=node))
    moved = node.outputs[:1] if node.op_type == "MaxPool" else node.outputs
    for output in moved:
        editor.quantize(output, scale, zero, output)


def _realise_padding(editor: Editor, node: ir.Node, params: QParams) -> bool:
    """Turn the code that a Pad pads with into its real value; False where that is not a constant."""
    if node.op_type != "Pad" or node.attributes.get_string("mode", "constant") != "constant":
        return True
    padding = node.inputs[2] if len(node.inputs) > 2 else None
    code = np.zeros((), params.zero_point.dtype) if padding is None else constant(padding)
    if code is None or node.graph is None or "pads" in node.attributes:
        return False
    real = editor.initializer(node.graph, f"{node.name}_value", params.dequantize(code.reshape(())))
    node.resize_inputs(max(3, len(node.inputs)))
    node.replace_input_with(2, real)
    return True
