"""Gates: what a placement must reach for a build to go on, and the reasons where it does not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from deepseek_core.errors import ConfigError
from deepseek_core.partition.graph import UnitGraph
from deepseek_core.partition.roofline import unit_macs
from deepseek_core.placement import Placement
from deepseek_core.target import Target

__all__ = ["Gates", "coverage", "unmet", "work_shares"]

_NAMED = 5


@dataclass(frozen=True, slots=True)
class Gates:
    """What is asked of a placement.

    Attributes:
        max_parts: most parts, None for any number.
        min_coverage: least share of the work (see `coverage`) by target, from 0 to 1.

    Raises:
        ConfigError: a figure is out of range.
    """

    max_parts: int | None = None
    min_coverage: Mapping[Target, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.max_parts is not None and self.max_parts < 1:
            raise ConfigError(f"at most {self.max_parts} parts hold no model", fix="allow one part or more")
        for target, share in self.min_coverage.items():
            if not 0 <= share <= 1:
                raise ConfigError(f"a coverage of {share:g} is asked of {target}", fix="give a share from 0 to 1")


def coverage(graph: UnitGraph, placement: Placement) -> dict[Target, float]:
    """Share of the model's multiply-accumulates that each target runs, from 0 to 1.

    Bodies of control flow count once. A model without any is measured by its number of units.
    """
    work = work_shares(graph)
    shares: dict[Target, float] = {}
    for name, target in placement.units.items():
        shares[target] = shares.get(target, 0.0) + work[name]
    return shares


def unmet(graph: UnitGraph, placement: Placement, gates: Gates) -> list[str]:
    """A sentence with the reasons for each gate that the placement does not pass."""
    found = []
    count = len(placement.parts)
    if gates.max_parts is not None and count > gates.max_parts:
        found.append(f"the placement has {count} parts, and {gates.max_parts} are allowed{_because(placement)}")
    shares = coverage(graph, placement)
    for target, wanted in gates.min_coverage.items():
        share = shares.get(target, 0.0)
        if share < wanted * (1 - 1e-9):
            reasons = "; ".join(_uncovered(graph, placement, target))
            found.append(f"{target} runs {share:.1%} of the work, and {wanted:.1%} is asked: {reasons}")
    return found


def _digest(placement: Placement) -> str:
    """The first refusals of units, in words; empty when there are none."""
    seen: dict[str, list[str]] = {}
    for refusal in placement.refusals:
        if refusal.unit in placement.units:
            seen.setdefault(f"{refusal.target} refuses %s: {refusal.reason}", []).append(f"'{refusal.unit}'")
    parts = [text.replace("%s", _listed(units), 1) for text, units in seen.items()]
    more = f"; and {len(parts) - _NAMED} more reasons" if len(parts) > _NAMED else ""
    return "; ".join(parts[:_NAMED]) + more


def _because(placement: Placement) -> str:
    digest = _digest(placement)
    return f": {digest}" if digest else ""


def _uncovered(graph: UnitGraph, placement: Placement, target: Target) -> Iterator[str]:
    """Why work is not on `target`, the largest shares first."""
    work = work_shares(graph)
    reasons = {r.unit: r.reason for r in placement.refusals if r.target == target}
    groups: dict[str, list[str]] = {}
    for name, home in placement.units.items():
        if home != target and work[name] > 0:
            why = f"refused, {reasons[name]}" if name in reasons else f"on {home}, where the whole costs less"
            groups.setdefault(why, []).append(name)
    ranked = sorted(groups.items(), key=lambda entry: -sum(work[name] for name in entry[1]))
    for why, names in ranked[:_NAMED]:
        quoted = [f"'{name}'" for name in names]
        yield f"{sum(work[name] for name in names):.1%} ({_listed(quoted)}) {why}"
    if len(ranked) > _NAMED:
        yield f"and {len(ranked) - _NAMED} more reasons"


def work_shares(graph: UnitGraph) -> dict[str, float]:
    """Share of the model's multiply-accumulates by unit, from 0 to 1; of its units where there are none."""
    macs = {unit.name: float(unit_macs(unit)) for unit in graph.units}
    total = sum(macs.values())
    if not total:
        return {name: 1.0 / len(macs) for name in macs}
    return {name: own / total for name, own in macs.items()}


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
