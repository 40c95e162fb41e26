"""Constants as TensorRT before 10 wants them: real numbers with Q and DQ behind.

Its parser takes int8 constants in front of DQ, and convolutions fuse them; where its graph compiler fuses products with
layer norms or softmax, it stops at int8 constants ("params.weights.type() != DataType::kINT8").
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from deepseek_backend_tensorrt.lowering.edit import constant, is_dq, number
from deepseek_core import QuantizedModel, Role

__all__ = ["real_weights"]


def real_weights(model: QuantizedModel) -> None:
    """Put the real numbers that int8 weights stand for, and a Q, in front of the DQ of every weight."""
    for unit in model.units():
        for operand in (*unit.operands(Role.WEIGHT), *unit.operands(Role.DATA)):
            dequantize = operand.real.producer()
            if operand.qparams is None or not operand.is_constant or not is_dq(dequantize):
                continue
            assert dequantize is not None
            codes = number(dequantize.inputs[0])
            if codes is not None:
                _quantize(model.graph, dequantize, operand.qparams.dequantize(codes))


def _quantize(graph: ir.Graph, dequantize: ir.Node, real: NDArray[np.float32]) -> None:
    codes = dequantize.inputs[0]
    assert codes is not None
    source = constant(graph, f"{codes.name}_real", real)
    name = dequantize.outputs[0].name  # codes may be shared, what is read of them is not
    node = ir.Node(
        "",
        "QuantizeLinear",
        inputs=[source, *dequantize.inputs[1:]],
        attributes=[attribute for attribute in dequantize.attributes.values() if attribute.name == "axis"],
        outputs=[ir.Value(name=f"{name}_codes", type=codes.type, shape=codes.shape)],
        name=f"{name}_quantize",
    )
    graph.insert_before(dequantize, node)
    dequantize.replace_input_with(0, node.outputs[0])
