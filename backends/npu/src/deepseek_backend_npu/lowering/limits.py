"""Limits of units that a capability table has no words for: they lie in constants, or join several attributes."""

from __future__ import annotations

from deepseek_backend_npu.devices import device_of
from deepseek_backend_npu.lowering.resize import resize_problem
from deepseek_core import Role, Target, Unit

__all__ = ["problem"]

_CONVERSIONS = ("QuantizeLinear", "DequantizeLinear")


def problem(unit: Unit, target: Target) -> str | None:
    """Why the compiler would not take a unit that the table accepts; None when it would."""
    device_of(target)
    tensors = (*unit.operands(Role.DATA), *unit.outputs)
    if unit.op not in _CONVERSIONS and any(0 in (operand.shape or ()) for operand in tensors):
        return "a tensor without elements has nothing to compute"
    if unit.op == "MatMul" and any(len(operand.shape or ()) < 2 for operand in unit.operands(Role.DATA)):
        return "vectors are multiplied as matrices of one row or column only"
    if unit.op == "Resize":
        return resize_problem(unit)
    return None
