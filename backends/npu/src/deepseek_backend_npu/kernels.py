"""Kernel candidates of a unit: what the compiler may optimise it for, by its own estimate."""

from __future__ import annotations

from deepseek_backend_npu.capabilities import capabilities
from deepseek_backend_npu.single import estimate
from deepseek_backend_npu.versions import compiler_version
from deepseek_core import Basis, Cost, KernelCandidate, Role, Target, Unit
from deepseek_core.partition import roofline

__all__ = ["candidates"]


def candidates(unit: Unit, target: Target) -> list[KernelCandidate]:
    """`performance`, which is the default, and for units with weights `size`, which needs less fast memory."""
    names = ("performance", "size") if unit.operands(Role.WEIGHT) else ("performance",)
    return [_candidate(unit, target, name, chosen=len(names) > 1) for name in names]


def _candidate(unit: Unit, target: Target, name: str, *, chosen: bool) -> KernelCandidate:
    options = {"optimize": name} if chosen else {}
    found = None if compiler_version() is None else estimate(unit, target.device, name)
    if found is None:
        return KernelCandidate(name, roofline([unit], capabilities(target)), options=options)
    cost = Cost.of(found.seconds, Basis.COMPILER_ESTIMATE, bytes=sum(found.traffic.values()))
    return KernelCandidate(name, cost, found.sram, options)
