"""Limits of units that a capability table has no words for: they lie in constants, or join several attributes."""

from __future__ import annotations

from deepseek_backend_npu.lowering.emitter import shape_of
from deepseek_backend_npu.lowering.pooling import pool_problem
from deepseek_backend_npu.lowering.resize import resize_problem
from deepseek_backend_npu.lowering.windows import window_of
from deepseek_core import Role, Unit

__all__ = ["problem"]

_WINDOWED = ("AveragePool", "Conv", "MaxPool")
_CONVERSIONS = ("QuantizeLinear", "DequantizeLinear")


def problem(unit: Unit) -> str | None:
    """Why the compiler would not take a unit that the table accepts; None when it would."""
    tensors = (*unit.operands(Role.DATA), *unit.outputs)
    if unit.op not in _CONVERSIONS and any(0 in (operand.shape or ()) for operand in tensors):
        return "a tensor without elements has nothing to compute"
    if unit.op == "MatMul" and any(len(operand.shape or ()) < 2 for operand in unit.operands(Role.DATA)):
        return "vectors are multiplied as matrices of one row or column only"
    if unit.op in _WINDOWED and not _fits(unit):
        return "its window is larger than its padded input"
    if unit.op == "Resize":
        return resize_problem(unit)
    return pool_problem(unit) if unit.op in ("AveragePool", "MaxPool") else None


def _fits(unit: Unit) -> bool:
    sizes = shape_of(unit.operands(Role.DATA)[0])[2:]
    weights = unit.operands(Role.WEIGHT)
    kernel = shape_of(weights[0])[2:] if weights else tuple(unit.node.attributes.get_ints("kernel_shape", ()))
    window = window_of(unit, kernel, sizes)
    image = (1, *sizes) if len(sizes) == 1 else sizes
    return all(window.output(axis, image[axis]) > 0 for axis in (0, 1))
