"""Limits of units that a capability table has no words for: they lie in constants, or join several attributes."""

from __future__ import annotations

from collections.abc import Callable

from deepseek_backend_npu.lowering.pooling import pool_problem
from deepseek_backend_npu.lowering.resize import resize_problem
from deepseek_backend_npu.lowering.softmax import softmax_problem
from deepseek_backend_npu.lowering.tables import LOWERINGS as FUNCTIONS
from deepseek_backend_npu.lowering.wide import wide_problem
from deepseek_backend_npu.lowering.windows import window_of
from deepseek_core import DType, Operand, Role, Unit
from deepseek_core.lowering import shape_of

__all__ = ["problem"]

_WINDOWED = ("AveragePool", "Conv", "MaxPool")
_CONVERSIONS = ("QuantizeLinear", "DequantizeLinear")
_CHECKS: dict[str, Callable[[Unit], str | None]] = {
    "AveragePool": pool_problem,
    "MaxPool": pool_problem,
    "Resize": resize_problem,
    "Softmax": softmax_problem,
    **dict.fromkeys(FUNCTIONS, wide_problem),
}


def problem(unit: Unit) -> str | None:
    """Why the compiler would not take a unit that the table accepts; None when it would."""
    tensors = (*unit.operands(Role.DATA), *unit.outputs)
    if unit.op not in _CONVERSIONS and any(_is_empty(operand) for operand in tensors):
        return "a tensor without elements has nothing to compute"
    if unit.op == "MatMul" and any(len(operand.shape or ()) < 2 for operand in unit.operands(Role.DATA)):
        return "vectors are multiplied as matrices of one row or column only"
    if unit.op in _WINDOWED:
        reason = _window_problem(unit)
        if reason is not None:
            return reason
    check = _CHECKS.get(unit.op)
    return check(unit) if check is not None else None


def _is_empty(operand: Operand) -> bool:
    """Also where pads cut off more than there is, and shape inference counts below 0."""
    return any(isinstance(size, int) and size < 1 for size in operand.shape or ())


def _window_problem(unit: Unit) -> str | None:
    x = unit.operands(Role.DATA)[0]
    sizes, weights = shape_of(x)[2:], unit.operands(Role.WEIGHT)
    kernel = shape_of(weights[0])[2:] if weights else tuple(unit.node.attributes.get_ints("kernel_shape", ()))
    window = window_of(unit, kernel, sizes)
    image = (1, sizes[0]) if len(sizes) == 1 else (sizes[0], sizes[1])
    if any(window.output(axis, image[axis]) < 1 for axis in (0, 1)):
        return "its window is larger than its padded input"
    padded = any(max(pads) > 0 for pads in window.exact(image)[0].pads)
    if padded and window.is_coarse and unit.op != "MaxPool" and x.dtype is DType.INT16:
        return "strides above 3 and pads of int16 do not go together"
    return None
