"""Claims: what the capability table accepts, less what only a look at the unit's constants can tell."""

from __future__ import annotations

from collections.abc import Callable

from deepseek_backend_rocm.capabilities import capabilities
from deepseek_backend_rocm.lowering.paths import objection
from deepseek_core import Claim, QuantizedModel, Target, Unit
from deepseek_core.partition import claim_each

__all__ = ["claim"]


def claim(model: QuantizedModel, target: Target, refuse: Callable[[Unit, str], None]) -> list[Claim]:
    """A claim on each unit that the compiler takes, a reason for each that it does not."""
    table = capabilities(target)
    return claim_each(model, target, refuse, lambda unit: objection(unit, table))
