"""Choose which target runs each unit. Solvers differ in what they favour and share one interface."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

from deepseek_core.cost import Cost
from deepseek_core.errors import PlacementError
from deepseek_core.partition.graph import UnitGraph
from deepseek_core.partition.merge import contract, merge
from deepseek_core.partition.prices import Prices
from deepseek_core.partition.profile import DeviceProfile
from deepseek_core.partition.roofline import value_bytes
from deepseek_core.partition.transfer import TransferModel
from deepseek_core.placement import Claim, Optimality, Refusal
from deepseek_core.registry import Backend
from deepseek_core.target import Capabilities, Target

__all__ = ["Offer", "PreferenceSolver", "Problem", "Solution", "Solver"]


@dataclass(frozen=True, eq=False)
class Offer:
    """What one target would run.

    Attributes:
        claims: disjoint sets of units it would run.
        refusals: a reason for every other unit.
        measured: what units took on it, None where nothing was measured.
    """

    backend: Backend
    target: Target
    claims: tuple[Claim, ...]
    refusals: tuple[Refusal, ...]
    measured: DeviceProfile | None = None

    @cached_property
    def capabilities(self) -> Capabilities:
        return self.backend.capabilities(self.target)

    @cached_property
    def prices(self) -> Prices:
        return Prices(self.backend, self.target, self.capabilities, self.measured)

    @cached_property
    def claim_of(self) -> Mapping[str, Claim]:
        """Unit name → the claim that holds it."""
        return {name: claim for claim in self.claims for name in claim.units}


@dataclass(frozen=True, slots=True)
class Problem:
    """A model, the offers in the user's order of preference, and what the user fixed."""

    graph: UnitGraph
    offers: tuple[Offer, ...]
    pins: Mapping[str, Target] = field(default_factory=dict)
    transfers: TransferModel = field(default_factory=TransferModel)

    def offer(self, target: Target) -> Offer:
        """The offer of a target."""
        return next(offer for offer in self.offers if offer.target == target)

    def part_cost(self, target: Target, units: Sequence[int]) -> Cost:
        """Cost of units as one part."""
        return self.offer(target).prices.part([self.graph.units[i] for i in units])

    def transfer_cost(self, parts: Sequence[tuple[Target, Sequence[int]]]) -> Cost:
        """Cost of moving values between targets; a value that a target needs goes there once."""
        home = {unit: target for target, units in parts for unit in units}
        moves = {
            (value, target): home[producer]
            for unit, target in home.items()
            for value in self.graph.reads[unit]
            if (producer := self.graph.owner.get(value.producer())) is not None  # type: ignore[arg-type]
        }
        tables = {offer.target: offer.capabilities for offer in self.offers}
        return Cost.total(
            self.transfers.link(tables[source], tables[target]).cost(value_bytes(value))
            for (value, target), source in moves.items()
            if source != target
        )


@dataclass(frozen=True, slots=True)
class Solution:
    """Claims that are taken: each unit that can be placed is in exactly one.

    Attributes:
        claims: disjoint; contracting them leaves the graph acyclic.
        gap: distance from the proven optimum, None when unknown.
        parts: unit positions of each part in execution order, None for as few parts as merging makes.
        optimality: what `gap` rests on.
    """

    claims: tuple[Claim, ...]
    gap: float | None = None
    parts: tuple[tuple[int, ...], ...] | None = None
    optimality: Optimality | None = None

    def merged(self, graph: UnitGraph) -> list[tuple[int, ...]]:
        """The parts; every unit must be claimed."""
        if self.parts is not None:
            return list(self.parts)
        target_of = {name: claim.target for claim in self.claims for name in claim.units}
        groups = [[graph.index[name] for name in claim.units] for claim in self.claims if len(claim.units) > 1]
        return merge(graph, [target_of[unit.name] for unit in graph.units], groups)


class Solver(Protocol):
    """Finds a solution. It leaves a unit out only when no claim on it can be taken."""

    def solve(self, problem: Problem) -> Solution: ...


class PreferenceSolver:
    """Every unit goes to the first target in the user's order that claims it."""

    def solve(self, problem: Problem) -> Solution:
        """Take pinned claims, then each target's claims in order.

        Raises:
            PlacementError: a pin cannot be kept.
        """
        taken = _Taken(problem.graph)
        for name, target in problem.pins.items():
            claim = problem.offer(target).claim_of[name]
            if claim not in taken.claims and not taken.take(claim):
                others = ", ".join(f"'{unit}'" for unit in claim.units if unit != name)
                raise PlacementError(
                    f"'{name}' is pinned to {target}, which runs it only together with {others}",
                    fix="pin those to the same target, or leave out the pin",
                )
        for offer in problem.offers:
            for claim in offer.claims:
                taken.take(claim)
        return Solution(tuple(taken.claims))


class _Taken:
    """Claims taken so far, kept disjoint and free of cycles."""

    def __init__(self, graph: UnitGraph) -> None:
        self._graph = graph
        self._units: set[str] = set()
        self._groups: list[list[int]] = []
        self.claims: list[Claim] = []

    def take(self, claim: Claim) -> bool:
        if not self._units.isdisjoint(claim.units):
            return False
        if len(claim.units) > 1:
            groups = [*self._groups, [self._graph.index[name] for name in claim.units]]
            if contract(self._graph, groups) is None:
                return False
            self._groups = groups
        self._units.update(claim.units)
        self.claims.append(claim)
        return True
