"""Biases in float: TensorRT adds them to the rescaled sums and refuses int32 codes with a scale."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from deepseek_backend_tensorrt.lowering.edit import constant, drop, is_dq, number

__all__ = ["float_biases"]


def float_biases(graph: ir.Graph) -> None:
    """Replace each DQ of constant int32 codes by the float constant that it stands for."""
    for node in list(graph):
        codes = number(node.inputs[0]) if is_dq(node) else None
        if codes is None or codes.dtype != np.int32:
            continue
        scale = number(node.inputs[1])
        if scale is None:
            continue
        real = (codes.astype(np.float64) * scale.astype(np.float64)).astype(np.float32)
        out = node.outputs[0]
        ir.convenience.replace_all_uses_with(out, constant(graph, out.name or "bias", real))
        drop(graph, node)
