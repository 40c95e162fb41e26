"""Claims, refusals and the placement made of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from deepseek_core.cost import Cost
from deepseek_core.target import Target

__all__ = ["Claim", "Optimality", "Placement", "Refusal"]


@dataclass(frozen=True, slots=True)
class Claim:
    """Units a target would run, by unit name; more than one means they must stay together."""

    target: Target
    units: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A unit a target will not run.

    Attributes:
        reason: why, in a sentence a person can act on.
        change: what would make the target take it, in the imperative; empty when nothing is known.
    """

    target: Target
    unit: str
    reason: str
    change: str = ""


@dataclass(frozen=True, slots=True)
class Optimality:
    """How good a placement is under the cost model, and how that is known.

    Attributes:
        objective: what was minimised: `latency`, `additive`, `throughput` or `energy`.
        value: of the placement, in seconds (joules for energy).
        bound: no valid placement has a smaller value.
        method: the solver that found the placement.
        proof: what the bound rests on.
    """

    objective: str
    value: float
    bound: float
    method: str
    proof: str

    @property
    def gap(self) -> float | None:
        """How far the value is above the bound, at most (0.01 = 1 %); None when nothing is proven."""
        if self.value <= self.bound:
            return 0.0
        return (self.value - self.bound) / self.bound if self.bound > 0 else None


@dataclass(frozen=True, slots=True)
class Placement:
    """unit → target.

    Attributes:
        units: target of every unit of the main graph, by unit name, in topological order.
        parts: unit names of each part in execution order; each part is convex and on one target.
        refusals: every reason given on the way.
        cost: predicted total of all parts and transfers, as if nothing overlapped.
        gap: how far the total is from the proven optimum (0.01 = 1 %), None when unknown.
        optimality: what `gap` is about and rests on, None when nothing was optimised.
    """

    units: Mapping[str, Target]
    parts: tuple[tuple[str, ...], ...]
    refusals: tuple[Refusal, ...] = ()
    cost: Cost = field(default_factory=lambda: Cost(0.0))
    gap: float | None = None
    optimality: Optimality | None = None
