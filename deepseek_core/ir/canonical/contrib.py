"""Q and DQ of vendor domains become Q and DQ of the default domain where its opset has the types.

Sources: ONNX Runtime `ContribOperators.md` (com.microsoft), AMD Quark's custom operators (com.amd.quark, formerly
com.vai.quantize), TensorRT's plugin names that NVIDIA ModelOpt writes (domain trt).
"""

from __future__ import annotations

import onnx_ir as ir

from deepseek_core.ir.qdq import DQ, Q
from deepseek_core.ir.query import at
from deepseek_core.ir.schemas import signature

__all__ = ["adopt_contrib"]

_NAMES = {
    ("com.microsoft", Q): Q,
    ("com.microsoft", DQ): DQ,
    ("com.amd.quark", "ExtendedQuantizeLinear"): Q,
    ("com.amd.quark", "ExtendedDequantizeLinear"): DQ,
    ("com.vai.quantize", "VitisQuantizeLinear"): Q,
    ("com.vai.quantize", "VitisDequantizeLinear"): DQ,
    ("trt", "TRT_FP8QuantizeLinear"): Q,
    ("trt", "TRT_FP8DequantizeLinear"): DQ,
    ("trt", "TRT_INT4QuantizeLinear"): Q,
    ("trt", "TRT_INT4DequantizeLinear"): DQ,
}
_CODES = {"TRT_FP8QuantizeLinear": ir.DataType.FLOAT8E4M3FN, "TRT_INT4QuantizeLinear": ir.DataType.INT4}
"""Code types that an operator's name says instead of a zero point."""

_ATTRIBUTES = frozenset(("axis", "block_size", "saturate"))


def adopt_contrib(model: ir.Model) -> None:
    """Rename vendor Q/DQ nodes that mean exactly what the default domain's mean; in place."""
    opset = model.opset_imports.setdefault("", 21)
    for node in model.graph.all_nodes():
        op = _NAMES.get((node.domain, node.op_type))
        if op is not None and _fits(node, op, opset):
            _adopt(node, op)


def _adopt(node: ir.Node, op: str) -> None:
    codes = _CODES.get(node.op_type)
    node.domain, node.op_type = "", op
    for name in [name for name in node.attributes if name not in _ATTRIBUTES]:
        node.attributes.pop(name)
    if codes is not None:
        node.outputs[0].type = ir.TensorType(codes)
        if at(node, 2) is None:
            node.attributes["output_dtype"] = ir.AttrInt64("output_dtype", codes)


def _fits(node: ir.Node, op: str, opset: int) -> bool:
    """Whether the default domain's operator takes the node's types and attributes."""
    if not node.inputs or len(node.outputs) != 1:
        return False
    spec = signature("", op, opset)
    if node.op_type in _CODES and (spec is None or "output_dtype" not in spec.attributes):
        return False
    given = [a for a in node.attributes.values() if a.name in _ATTRIBUTES]
    if spec is None or any(spec.attributes.get(a.name, (None,))[0] != a.type for a in given):
        return False
    used = [*zip(node.inputs, spec.inputs, strict=False), *zip(node.outputs, spec.outputs, strict=False)]
    return all(value is None or value.type is None or formal.accepts(value.type) for value, formal in used)
