"""Kernel candidates of a unit, as the core asks for them: the one that the compiler takes, at what it should cost."""

from __future__ import annotations

from deepseek_backend_rocm.capabilities import capabilities
from deepseek_core import KernelCandidate, Target, Unit
from deepseek_core.partition import roofline

__all__ = ["candidates"]


def candidates(unit: Unit, target: Target) -> list[KernelCandidate]:
    """One for each unit: tiles are chosen at compilation, from the kernels' machine code."""
    return [KernelCandidate(unit.op.lower(), roofline([unit], capabilities(target)))]
