"""float8 (e4m3fn): ONNX Runtime keeps it in Q and DQ nodes and computes in float32 on the real values."""

from __future__ import annotations

from deepseek_core import DType, QuantizedModel

__all__ = ["uses_float8"]


def uses_float8(model: QuantizedModel) -> bool:
    """Whether a unit of the model, bodies included, reads or makes float8 codes."""
    operands = (operand for unit in model.all_units() for operand in (*unit.inputs, *unit.outputs))
    params = (operand.qparams for operand in operands if operand is not None)
    return any(found is not None and found.scheme.dtype is DType.FLOAT8E4M3FN for found in params)
