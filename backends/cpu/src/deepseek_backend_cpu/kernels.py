"""Kernel candidates of a unit: ONNX Runtime's integer operator where there is one, and DQ → float → Q always."""

from __future__ import annotations

from deepseek_backend_cpu.capabilities import capabilities
from deepseek_backend_cpu.lowering import float_differs, integer_problem
from deepseek_backend_cpu.tuning.memory import known_latencies
from deepseek_core import Basis, Cost, KernelCandidate, Role, Target, Unit
from deepseek_core.partition import roofline

__all__ = ["FLOAT32", "INT4", "INT8", "candidates", "estimate", "kernel_names", "rounds_otherwise"]

INT8, INT4, FLOAT32 = "int8", "int4", "float32"

_ROUNDING = ("Add", "Mul")
"""Ops whose integer operator scales each input by itself: where two codes are almost equally near, it may take the
other one than the IR. The float kernel is what the IR says, operation by operation."""

_SLOW_INT8 = {"AveragePool": 3.0, "Softmax": 8.0, "Where": 4.0}
"""op → how much slower its integer kernel is than the float one, conversions included, where nothing is measured."""

_FLOAT_FACTOR = 3.0
"""How much slower a float unit is than its integer kernel, conversions included, where nothing is measured."""


def kernel_names(unit: Unit, *, normalized: bool = False) -> tuple[str, ...]:
    """The kernels that give a unit's defined result, the integer one first; `normalized` as for `integer_problem`."""
    if not unit.is_quantized or integer_problem(unit, normalized=normalized) is not None:
        return (FLOAT32,)
    integer = INT8 if any(operand.qparams is not None for operand in unit.operands(Role.DATA)) else INT4
    return (integer,) if float_differs(unit) else (integer, FLOAT32)


def rounds_otherwise(unit: Unit) -> bool:
    """Whether the integer kernel may be a code away from the IR where the float kernel is not."""
    return unit.op in _ROUNDING and FLOAT32 in kernel_names(unit, normalized=True)


def candidates(unit: Unit, target: Target) -> list[KernelCandidate]:
    """Candidates, the expected fastest first; measured where this machine has run such a unit before."""
    measured = known_latencies(unit, target)
    names = kernel_names(unit)
    costs = {n: Cost.of(measured[n], Basis.MEASURED) if n in measured else estimate(unit, n, target) for n in names}
    found = [
        KernelCandidate(name, cost, options={"kernels": name if name == FLOAT32 else INT8})
        for name, cost in costs.items()
    ]
    return sorted(found, key=lambda candidate: candidate.estimate.seconds)


def estimate(unit: Unit, kernel: str, target: Target) -> Cost:
    """Analytic cost of one kernel of a unit."""
    base = roofline([unit], capabilities(target))
    factor = _SLOW_INT8.get(unit.op, 1.0) if kernel != FLOAT32 else (_FLOAT_FACTOR if unit.is_quantized else 1.0)
    return Cost.of(base.seconds * factor, Basis.ANALYTIC, bytes=base.bytes)
