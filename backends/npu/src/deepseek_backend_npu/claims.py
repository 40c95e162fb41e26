"""Claims: what the capability table accepts, less what only a look at the unit's constants can tell."""

from __future__ import annotations

from collections.abc import Callable

from deepseek_backend_npu.capabilities import capabilities
from deepseek_backend_npu.lowering.limits import problem
from deepseek_core import Capabilities, Claim, QuantizedModel, Target, Unit
from deepseek_core.partition import refusal_reason

__all__ = ["Refuse", "accepted", "claim"]

Refuse = Callable[[Unit, str], None]


def claim(model: QuantizedModel, target: Target, refuse: Refuse) -> list[Claim]:
    """A claim on each unit that the compiler takes, a reason for each that it does not."""
    return accepted(model, target, refuse, capabilities(target), problem)


def accepted(
    model: QuantizedModel, target: Target, refuse: Refuse, table: Capabilities, problem: Callable[[Unit], str | None]
) -> list[Claim]:
    """A claim on each unit that the table accepts and `problem` has no reason against."""
    claimed = []
    for unit in model.units():
        reason = refusal_reason(unit, table) or problem(unit)
        if reason is None:
            claimed.append(Claim(target, (unit.name,)))
        else:
            refuse(unit, reason)
    return claimed
