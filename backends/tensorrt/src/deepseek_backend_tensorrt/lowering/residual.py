"""Sums that end in a convolution's own kernel.

TensorRT adds a residual inside the kernel of the convolution before the sum if nothing stands between the two
(TensorRT Developer Guide, "Q/DQ Placement Recommendations": quantize the residual input only). A Q → DQ pair there is
left out where that moves the sum by one code at most: its rounding error is half of its scale, so its scale may not
exceed the sum's.
"""

from __future__ import annotations

import onnx_ir as ir

from deepseek_backend_tensorrt.lowering.edit import drop, is_dq, is_q
from deepseek_core import QuantizedModel, Role, Unit

__all__ = ["fuse_residuals"]


def fuse_residuals(model: QuantizedModel) -> list[str]:
    """Leave out the pairs, one for each sum; gives the names of the sums."""
    fused = []
    for unit in model.units():
        pair = _pair(unit) if unit.op == "Add" else None
        if pair is not None:
            quantize, dequantize = pair
            ir.convenience.replace_all_uses_with(dequantize.outputs[0], quantize.inputs[0])  # type: ignore[arg-type]
            drop(model.graph, dequantize)
            drop(model.graph, quantize)
            fused.append(unit.name)
    return fused


def _pair(unit: Unit) -> tuple[ir.Node, ir.Node] | None:
    """The Q and DQ between a convolution or matrix product and this sum, the later one first."""
    scale = unit.outputs[0].qparams.scale if unit.outputs[0].qparams is not None else None
    if scale is None or len(unit.operands(Role.DATA)) != 2:
        return None
    found = []
    for operand in unit.operands(Role.DATA):
        dequantize, quantize = operand.real.producer(), operand.value.producer()
        if not (is_dq(dequantize) and is_q(quantize)) or operand.qparams is None:
            continue
        assert quantize is not None
        assert dequantize is not None
        source = quantize.inputs[0]
        is_own = source is not None and len(source.uses()) == 1 and len(operand.value.uses()) == 1
        if is_own and _is_sum(source) and operand.qparams.scale.max() <= scale.max():
            found.append((quantize, dequantize))
    return found[-1] if found and not _has_constant(unit) else None


def _has_constant(unit: Unit) -> bool:
    return any(operand.is_constant for operand in unit.operands(Role.DATA))


def _is_sum(value: ir.Value | None) -> bool:
    producer = None if value is None or value.is_graph_output() else value.producer()
    return producer is not None and producer.op_type in ("Conv", "ConvTranspose", "Gemm", "MatMul")
