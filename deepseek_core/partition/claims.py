"""What a backend would run, what it refuses and why: asked or derived, and checked either way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from deepseek_core.errors import BackendError
from deepseek_core.ir.model import QuantizedModel
from deepseek_core.ir.units import Unit
from deepseek_core.partition.graph import UnitGraph
from deepseek_core.partition.rules import objection
from deepseek_core.placement import Claim, Refusal
from deepseek_core.registry import Backend
from deepseek_core.target import Capabilities, Target

__all__ = ["claim_each", "claims", "derive_claims"]


def claim_each(
    model: QuantizedModel,
    target: Target,
    refuse: Callable[[Unit, str], None],
    problem: Callable[[Unit], str | None],
) -> list[Claim]:
    """A claim on each unit of the main graph that has no problem; the others are refused. For `deepseek_claim`.

    Args:
        problem: why the target does not run a unit, in one sentence; None where it does.
    """
    claimed = []
    for unit in model.units():
        reason = problem(unit)
        if reason is None:
            claimed.append(Claim(target, (unit.name,)))
        else:
            refuse(unit, reason)
    return claimed


def derive_claims(
    model: QuantizedModel, target: Target, capabilities: Capabilities
) -> tuple[list[Claim], list[Refusal]]:
    """Claims and refusals that follow from a capability table: one claim for each unit it accepts."""
    claimed, refused = [], []
    for unit in model.units():
        found = objection(unit, capabilities)
        if found is None:
            claimed.append(Claim(target, (unit.name,)))
        else:
            refused.append(Refusal(target, unit.name, found.reason, found.change))
    return claimed, refused


def claims(model: QuantizedModel, backend: Backend, target: Target) -> tuple[list[Claim], list[Refusal]]:
    """What `backend` claims of the main graph; derived from its table where it has no claims of its own.

    Returns:
        Disjoint claims, and a refusal with a reason for each unit that no claim holds. Refusals of units inside
        control-flow bodies may come with them.

    Raises:
        BackendError: the backend's answer breaks the contract; the message names the unit.
    """
    refused: list[Refusal] = []

    units: dict[str, Unit] = {}

    def refuse(unit: Unit, reason: str, change: str = "") -> None:
        units[unit.name] = unit
        refused.append(Refusal(target, unit.name, reason, change))

    answer = backend.claim(model, target, refuse)
    if answer is None:
        return derive_claims(model, target, backend.capabilities(target))
    problem = _broken_contract(UnitGraph(model), list(answer), refused, target)
    if problem is not None:
        raise BackendError(
            f"backend '{backend.name}': deepseek_claim {problem}",
            fix=f"report it to the authors of {backend.distribution or backend.name}",
        )
    table = backend.capabilities(target)
    return list(answer), [_with_change(refusal, units[refusal.unit], table) for refusal in refused]


def _with_change(refusal: Refusal, unit: Unit, table: Capabilities) -> Refusal:
    """A refusal for the table's own reason has the table's own remedy."""
    found = None if refusal.change else objection(unit, table)
    return replace(refusal, change=found.change) if found is not None and found.reason == refusal.reason else refusal


def _broken_contract(
    graph: UnitGraph, claimed: Sequence[Claim], refused: Sequence[Refusal], target: Target
) -> str | None:
    holder: dict[str, Claim] = {}
    for claim in claimed:
        if not isinstance(claim, Claim) or not claim.units:
            return f"gave {claim!r}, which is not a claim on any unit"
        if claim.target != target:
            return f"claims '{claim.units[0]}' for {claim.target} when asked about {target}"
        for name in claim.units:
            if name not in graph.index:
                return f"claims '{name}', which is not a unit of the main graph"
            if name in holder:
                return f"claims '{name}' twice"
            holder[name] = claim
        if len(claim.units) > 1 and not graph.is_convex(graph.index[name] for name in claim.units):
            return f"claims {_quoted(claim.units)} together, but what lies between them is not claimed with them"
    return _broken_refusals(graph, holder, refused)


def _broken_refusals(graph: UnitGraph, holder: dict[str, Claim], refused: Sequence[Refusal]) -> str | None:
    inner = {unit.name for unit in graph.model.all_units()}
    reasons: dict[str, str] = {}
    for refusal in refused:
        if refusal.unit not in inner:
            return f"refuses '{refusal.unit}', which is not a unit of the model"
        if refusal.unit in holder:
            return f"both claims and refuses '{refusal.unit}'"
        if not isinstance(refusal.reason, str) or not refusal.reason.strip() or not isinstance(refusal.change, str):
            return f"refuses '{refusal.unit}' without a reason"
        reasons[refusal.unit] = refusal.reason
    silent = [name for name in graph.index if name not in holder and name not in reasons]
    return f"neither claims nor refuses {_quoted(silent)}" if silent else None


def _quoted(names: Sequence[str]) -> str:
    shown = ", ".join(f"'{name}'" for name in names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"
