"""How a unit is computed: on codes, on real numbers, or on real numbers with conversions where its border has both."""

from __future__ import annotations

from deepseek_backend_rocm.capabilities import MOVES
from deepseek_backend_rocm.lowering import reals
from deepseek_backend_rocm.lowering.limits import problem
from deepseek_core import Capabilities, DType, Granularity, Operand, Role, Unit
from deepseek_core.partition import refusal_reason

__all__ = ["in_reals", "is_mixed_move", "objection"]

_CASTS = ("BOOL", "FLOAT", "INT32", "INT64", "INT8", "UINT8")
_AXES = 6


def objection(unit: Unit, table: Capabilities) -> str | None:
    """Why the target does not run a unit; None when it does.

    The table knows units of one type. A unit between codes and real numbers runs too, if its op has a kernel for real
    numbers and every tensor has a type that is converted.
    """
    reason = refusal_reason(unit, table)
    if reason is not None and not _is_mixed(unit):
        return reason
    return problem(unit)


def in_reals(unit: Unit) -> bool:
    """Whether a unit is computed on real numbers."""
    if unit.op not in reals.LOWERINGS:
        return False
    coded = all(operand.qparams is not None for operand in (*unit.operands(Role.DATA), *unit.outputs))
    return not coded and (unit.op not in MOVES or unit.op == "Concat")


def is_mixed_move(unit: Unit) -> bool:
    """Whether a unit moves elements and converts them."""
    quantized = {operand.qparams is not None for operand in (*unit.operands(Role.DATA), *unit.outputs)}
    return unit.op in MOVES and unit.op != "Concat" and len(quantized) > 1


def _is_mixed(unit: Unit) -> bool:
    known = unit.op in reals.LOWERINGS or unit.op in MOVES
    if not known or (unit.activation is not None and unit.op != "Add"):
        return False
    operands = (*unit.operands(Role.DATA), *unit.outputs)
    if any(operand.shape is None or None in operand.shape or len(operand.shape) > _AXES for operand in operands):
        return False
    if unit.op == "Cast":
        (source,), (result, *more) = unit.operands(Role.DATA), unit.outputs
        castable = source.value.dtype is not None and source.value.dtype.name in _CASTS
        return castable and _is_number(result) and not more
    if unit.op == "Gelu" and unit.node.attributes.get_string("approximate", "none") != "none":
        return False
    quantized = {operand.qparams is not None for operand in operands}
    return len(quantized) > 1 and all(map(_is_number, operands))


def _is_number(operand: Operand) -> bool:
    """Whether it is a real number in float32, or made one by a kernel."""
    if operand.qparams is None:
        return operand.value is operand.real and operand.dtype is DType.FLOAT32
    scheme = operand.qparams.scheme
    return scheme.dtype in (DType.INT8, DType.UINT8) and scheme.granularity is Granularity.PER_TENSOR
