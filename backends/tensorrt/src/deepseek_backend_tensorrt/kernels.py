"""Kernel candidates of a unit: on codes, or in float between its DQ and Q."""

from __future__ import annotations

from deepseek_backend_tensorrt.capabilities import capabilities
from deepseek_backend_tensorrt.tuning import FLOAT, INT8, is_choice, known_latencies
from deepseek_core import Basis, Cost, KernelCandidate, Target, Unit
from deepseek_core.partition import roofline

__all__ = ["candidates"]

_SLOWER = 2.0
"""Float16 matrix units do half of what int8 ones do."""


def candidates(unit: Unit, target: Target) -> list[KernelCandidate]:
    """Candidates, the expected fastest first; measured where a device has run such a unit."""
    measured, base = known_latencies(unit, target), roofline([unit], capabilities(target))
    names = (INT8, FLOAT) if is_choice(unit) else (INT8 if unit.is_quantized else FLOAT,)
    costs = {
        name: Cost.of(measured[name], Basis.MEASURED)
        if name in measured
        else Cost.of(base.seconds * (_SLOWER if name == FLOAT else 1.0), Basis.ANALYTIC, bytes=base.bytes)
        for name in names
    }
    found = [KernelCandidate(name, cost, options={"kernels": name}) for name, cost in costs.items()]
    return sorted(found, key=lambda candidate: candidate.estimate.seconds)
