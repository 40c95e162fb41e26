"""Claims, refusals and the placement made of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from deepseek_core.cost import Cost
from deepseek_core.target import Target

__all__ = ["Claim", "Placement", "Refusal"]


@dataclass(frozen=True, slots=True)
class Claim:
    """Units a target would run, by unit name; more than one means they must stay together."""

    target: Target
    units: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A unit a target will not run, with a reason a person can act on."""

    target: Target
    unit: str
    reason: str


@dataclass(frozen=True, slots=True)
class Placement:
    """unit → target.

    Attributes:
        units: target of every unit of the main graph, by unit name, in topological order.
        parts: unit names of each part in execution order; each part is convex and on one target.
        refusals: every reason given on the way.
        cost: predicted total.
        gap: how far the total is from the proven optimum (0.01 = 1 %), None when unknown.
    """

    units: Mapping[str, Target]
    parts: tuple[tuple[str, ...], ...]
    refusals: tuple[Refusal, ...] = ()
    cost: Cost = field(default_factory=lambda: Cost(0.0))
    gap: float | None = None
