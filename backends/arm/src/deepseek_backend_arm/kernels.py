"""The ways a unit can run, with what each costs by its inner loop's instructions."""

from __future__ import annotations

from math import prod

import numpy as np

from deepseek_backend_arm.capabilities import capabilities
from deepseek_backend_arm.lowering.products import sums_codes
from deepseek_backend_arm.lowering.weights import WORTH_FOURS, rows_of, tight
from deepseek_backend_arm.targets import cpu_of
from deepseek_core import Basis, Cost, KernelCandidate, Role, Target, Unit
from deepseek_core.partition import roofline

__all__ = ["candidates"]

_LOOPS = {"pairs": 83 / 24, "fours": 99 / 32, "dotprod": 96 / 80, "i8mm": 60 / 64}
"""Instructions for 16 multiply-accumulates, counted in the compiled inner loops, loads and loop included."""
_PER_CYCLE = 1.5
"""Instructions that a core of this class retires in a cycle of such a loop, at most."""


def candidates(unit: Unit, target: Target) -> list[KernelCandidate]:
    """The kernel that the compiler takes by itself first; more than one where products may be summed in two ways."""
    level = cpu_of(target).level
    if (
        unit.op not in ("Conv", "Gemm", "MatMul")
        or not sums_codes(unit)
        or not _has_matrix(unit)
        or _is_depthwise(unit)
    ):
        name = "depthwise" if unit.op == "Conv" else unit.op.lower()
        return [KernelCandidate(name, roofline([unit], capabilities(target)))]
    if level != "neon":
        return [KernelCandidate(level, _cost(unit, target, _LOOPS[level]))]
    flags = np.concatenate([tight(rows) for rows in rows_of(unit)])
    share = float(flags.mean()) if flags.size else 0.0
    mixed = share * _LOOPS["fours"] + (1 - share) * _LOOPS["pairs"] * 1.1
    found = [_choice(unit, target, "pairs", _LOOPS["pairs"])]
    if share:
        found.append(_choice(unit, target, "fours", mixed))
    return found if share < WORTH_FOURS else found[::-1]


def _choice(unit: Unit, target: Target, name: str, loop: float) -> KernelCandidate:
    return KernelCandidate(name, _cost(unit, target, loop), options={"sums": name})


def _cost(unit: Unit, target: Target, loop: float) -> Cost:
    cpu = cpu_of(target)
    seconds = _macs(unit) / 16 * loop / _PER_CYCLE / cpu.clock / cpu.cores
    return Cost.of(seconds, Basis.ANALYTIC)


def _has_matrix(unit: Unit) -> bool:
    return any(operand.value.const_value is not None for operand in unit.operands(Role.WEIGHT))


def _is_depthwise(unit: Unit) -> bool:
    (w,) = unit.operands(Role.WEIGHT)
    shape = w.shape or ()
    return unit.op == "Conv" and unit.node.attributes.get_int("group", 1) == shape[0] and shape[1] == 1


def _macs(unit: Unit) -> int:
    """Multiply-accumulates: each element of the result sums the depth of one channel."""
    (rows, *_), sizes = rows_of(unit), unit.outputs[0].shape or ()
    return prod(size or 1 for size in sizes) * int(rows.shape[1])
