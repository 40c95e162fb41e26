"""Cost of a part: the compiler's estimate of each unit, and the host's conversions."""

from __future__ import annotations

from collections.abc import Sequence

from deepseek_backend_npu.capabilities import capabilities
from deepseek_backend_npu.single import estimate
from deepseek_backend_npu.versions import compiler_version
from deepseek_core import Basis, Cost, Target, Unit
from deepseek_core.partition import roofline

__all__ = ["part_cost"]


def part_cost(units: Sequence[Unit], target: Target) -> Cost:
    """Sum over the units; the roofline for conversions, and for everything where there is no compiler.

    Compiled as a whole a part is cheaper: operations overlap, and feature maps stay in fast memory.
    """
    return Cost.total([_unit_cost(unit, target) for unit in units])


def _unit_cost(unit: Unit, target: Target) -> Cost:
    found = None if compiler_version() is None else estimate(unit, target.device, "performance")
    if found is None:
        return roofline([unit], capabilities(target))
    return Cost.of(found.seconds, Basis.COMPILER_ESTIMATE, bytes=sum(found.traffic.values()))
