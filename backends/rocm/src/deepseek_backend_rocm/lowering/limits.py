"""Limits of units that a capability table has no words for: they lie in constants, or join several attributes."""

from __future__ import annotations

from collections.abc import Callable

from deepseek_backend_rocm.lowering.conversion import conversion_problem
from deepseek_backend_rocm.lowering.convolution import conv_problem
from deepseek_backend_rocm.lowering.matrix import matrix_problem
from deepseek_backend_rocm.lowering.moves import move_problem
from deepseek_backend_rocm.lowering.normalization import normalization_problem
from deepseek_backend_rocm.lowering.pooling import pool_problem
from deepseek_backend_rocm.lowering.weight_only import is_weight_only, weight_only_problem
from deepseek_core import Operand, Role, Unit

__all__ = ["problem"]


def problem(unit: Unit) -> str | None:
    """Why a unit that the table accepts is not built; None when it is."""
    if any(_is_negative(operand) for operand in (*unit.operands(Role.DATA), *unit.outputs)):
        return "a tensor has a size below 0"
    if unit.op in ("Gemm", "MatMul") and is_weight_only(unit):
        return weight_only_problem(unit)
    if unit.op in _CONSTANTS and any(value is not None and value.const_value is None for value in unit.node.inputs[1:]):
        return "it depends on numbers that are computed at run time"
    check = _CHECKS.get(unit.op)
    return None if check is None else check(unit)


def _is_negative(operand: Operand) -> bool:
    """Where pads cut off more than there is, shape inference counts below 0."""
    return any(isinstance(size, int) and size < 0 for size in operand.shape or ())


_CONSTANTS = ("Clip", "ReduceL2", "ReduceMean", "ReduceSum")
"""Ops whose inputs behind the first must be constant."""

_CHECKS: dict[str, Callable[[Unit], str | None]] = {
    **dict.fromkeys(("AveragePool", "GlobalAveragePool", "GlobalMaxPool", "MaxPool"), pool_problem),
    **dict.fromkeys(("DequantizeLinear", "QuantizeLinear"), conversion_problem),
    **dict.fromkeys(("Gemm", "MatMul"), matrix_problem),
    **dict.fromkeys(("LayerNormalization", "Softmax"), normalization_problem),
    **dict.fromkeys(("Pad", "Slice", "Tile"), move_problem),
    "Conv": conv_problem,
}
