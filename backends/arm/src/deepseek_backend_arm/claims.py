"""Claims: what the capability table accepts, less what only a look at the unit's constants can tell."""

from __future__ import annotations

from collections.abc import Callable

from deepseek_backend_arm.capabilities import capabilities
from deepseek_backend_arm.lowering.limits import problem
from deepseek_backend_arm.settle import settled
from deepseek_core import Claim, QuantizedModel, Target, Unit
from deepseek_core.partition import claim_each, refusal_reason

__all__ = ["claim"]


def claim(model: QuantizedModel, target: Target, refuse: Callable[[Unit, str], None]) -> list[Claim]:
    """A claim on each unit that the compiler takes, a reason for each that it does not.

    Units are judged as they are when everything known is settled; those that are gone then are taken.
    """
    table = capabilities(target)
    found = settled(model)
    own = {unit.name for unit in model.units()}
    units = {unit.name: unit for unit in found.units()}

    def judged(unit: Unit) -> str | None:
        return refusal_reason(unit, table) or problem(unit)

    def reason(unit: Unit) -> str | None:
        if unit.name in units:
            return judged(units[unit.name])
        return next(inside, None) if unit.op == "If" else None

    moved = (unit for unit in units.values() if unit.name not in own)
    inside = (f"its body holds '{unit.name}': {why}" for unit in moved if (why := judged(unit)) is not None)
    return claim_each(model, target, refuse, reason)
