"""Cost of a part: measured units where a device has run them, the roofline for the rest."""

from __future__ import annotations

from collections.abc import Sequence

from deepseek_backend_tensorrt.capabilities import capabilities
from deepseek_backend_tensorrt.tuning import known_latencies
from deepseek_core import Basis, Cost, Target, Unit
from deepseek_core.partition import roofline

__all__ = ["part_cost"]


def part_cost(units: Sequence[Unit], target: Target) -> Cost:
    """Sum over the units, each with the fastest kernel it has."""
    measured = {unit: known_latencies(unit, target) for unit in units}
    rest = [unit for unit, latencies in measured.items() if not latencies]
    known = [Cost.of(min(found.values()), Basis.MEASURED) for found in measured.values() if found]
    return Cost.total([roofline(rest, capabilities(target)), *known] if rest else known)
