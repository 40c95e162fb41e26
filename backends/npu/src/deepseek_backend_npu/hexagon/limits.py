"""Limits of QNN's placement that a capability table has no words for, as its refusals show them."""

from __future__ import annotations

from deepseek_backend_npu.lowering.windows import window_of
from deepseek_core import Role, Unit
from deepseek_core.lowering import shape_of

__all__ = ["problem"]

_MOST_AXES = 4
_WINDOWED = ("AveragePool", "Conv", "MaxPool")


def problem(unit: Unit) -> str | None:
    """Why QNN would not place a unit that the table accepts; None when it would."""
    if any(len(operand.shape or ()) > _MOST_AXES for operand in (*filter(None, unit.inputs), *unit.outputs)):
        return f"a tensor has more than {_MOST_AXES} axes"
    if unit.op == "Gather" and unit.node.inputs[1] is not None and unit.node.inputs[1].const_value is None:
        return "its indices are not constant"
    if unit.op in _WINDOWED and not _fits(unit):
        return "its window is larger than its padded input"
    return None


def _fits(unit: Unit) -> bool:
    sizes = shape_of(unit.operands(Role.DATA)[0])[2:]
    weights = unit.operands(Role.WEIGHT)
    kernel = shape_of(weights[0])[2:] if weights else tuple(unit.node.attributes.get_ints("kernel_shape", ()))
    window = window_of(unit, kernel, sizes)
    image = (1, *sizes) if len(sizes) == 1 else sizes
    return all(window.output(axis, image[axis]) > 0 for axis in (0, 1))
