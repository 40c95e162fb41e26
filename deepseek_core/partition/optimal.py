"""The default solver: a model's offers as an optimisation problem, and its solution as claims."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from deepseek_core.errors import GateError, PlacementError
from deepseek_core.partition.optimize import (
    Group,
    Method,
    Objective,
    Outcome,
    PartitionProblem,
    Plan,
    Tensors,
    broken_rule,
    evaluate,
    optimise,
)
from deepseek_core.partition.roofline import constant_bytes, value_bytes
from deepseek_core.partition.solver import PreferenceSolver, Problem, Solution
from deepseek_core.placement import Claim, Optimality
from deepseek_core.target import Target

__all__ = ["OptimalSolver", "as_problem", "memory_limits"]

_NAMED = 3
_NOTHING: Mapping[Target, int] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class OptimalSolver:
    """The placement that costs least; of equals, the one that prefers earlier targets.

    A part is taken to cost one launch and the sum of its units, each as its backend (or the roofline) prices it
    alone; what a compiler gains across units is not foreseen.

    Attributes:
        objective: what to minimise.
        method: which solver.
        max_parts: most parts, None for any number.
        memory: most bytes of constants on a target; no entry, no limit.
        seconds: most time for the mixed-integer program.
    """

    objective: Objective = Objective.LATENCY
    method: Method = Method.AUTO
    max_parts: int | None = None
    memory: Mapping[Target, int] = field(default_factory=dict)
    seconds: float = 5.0

    def solve(self, problem: Problem) -> Solution:
        """Optimise where there is a choice.

        Raises:
            PlacementError: a pin or a limit cannot be kept, or energy is asked for and not known.
        """
        preferred = PreferenceSolver().solve(problem)
        claimed = {name for offer in problem.offers for name in offer.claim_of}
        constrained = self.max_parts is not None or memory_limits(problem, self.memory)
        if len(claimed) < len(problem.graph.units) or (len(problem.offers) < 2 and not constrained):
            return preferred  # nothing to choose, or an error to tell
        pure = as_problem(problem, self.max_parts, self.memory)
        try:
            outcome = optimise(pure, self.objective, self.method, seconds=self.seconds)
        except PlacementError as error:
            raise (self._too_few(problem, error) if self.max_parts is not None else error) from None
        plan = self._preferred(problem, pure, preferred, outcome) or outcome.plan
        value = evaluate(pure, plan, self.objective)
        found = Optimality(str(self.objective), value, outcome.bound, str(outcome.method), outcome.proof)
        return Solution(_claims(problem, plan), found.gap, plan.parts, found)

    def _too_few(self, problem: Problem, error: PlacementError) -> PlacementError:
        """The error for a number of parts that cannot be kept, with what forces more of them."""
        try:
            parts = len(optimise(as_problem(problem, None, self.memory), self.objective, Method.FAST).plan.parts)
        except PlacementError:
            return error  # it is not the number of parts
        reasons = [
            f"{r.target} refuses '{r.unit}' ({r.reason})"
            for offer in problem.offers
            for r in offer.refusals
            if r.unit in problem.graph.index
        ]
        if problem.pins:
            reasons.insert(0, f"{len(problem.pins)} units are pinned" if len(problem.pins) > 1 else "a unit is pinned")
        more = f"; and {len(reasons) - _NAMED} more reasons" if len(reasons) > _NAMED else ""
        because = f": {'; '.join(reasons[:_NAMED])}{more}" if reasons else ""
        return GateError(f"{error.message}; without that limit it has {parts} parts{because}", fix="allow more parts")

    def _preferred(self, problem: Problem, pure: PartitionProblem, solution: Solution, outcome: Outcome) -> Plan | None:
        """The plan of the user's order, if it is as good."""
        device = {name: _device(problem, c.target) for c in solution.claims for name in c.units}
        if len(device) < pure.size:
            return None
        devices = np.array([device[unit.name] for unit in problem.graph.units], np.int64)
        plan = Plan(devices, tuple(solution.merged(problem.graph)))
        good = broken_rule(pure, plan) is None and evaluate(pure, plan, self.objective) <= outcome.value * (1 + 1e-9)
        return plan if good else None


def memory_limits(problem: Problem, asked: Mapping[Target, int]) -> dict[Target, int]:
    """Bytes of constants by target: what was asked, and what the capability tables have, whichever is less."""
    tables = {o.target: o.capabilities.memory for o in problem.offers if o.capabilities.memory is not None}
    both = tables.keys() & asked.keys()
    return {**tables, **asked, **{target: min(tables[target], asked[target]) for target in both}}


def as_problem(
    problem: Problem, max_parts: int | None = None, memory: Mapping[Target, int] = _NOTHING
) -> PartitionProblem:
    """Costs of every unit on every target, and of every transfer: devices are offers, in order."""
    graph, offers = problem.graph, problem.offers
    tables = [offer.capabilities for offer in offers]
    cost, joules = _unit_costs(problem)
    limits = memory_limits(problem, memory)
    links = [[problem.transfers.link(a, b) for b in tables] for a in tables]
    return PartitionProblem(
        cost=cost,
        launch=np.array([offer.prices.launch for offer in offers]),
        tensors=_tensors(problem),
        latency=np.array([[link.latency for link in row] for row in links]),
        second_per_byte=np.array([[1.0 / link.bandwidth for link in row] for row in links]),
        groups=tuple(
            Group(tuple(sorted(graph.index[name] for name in claim.units)), device)
            for device, offer in enumerate(offers)
            for claim in offer.claims
            if len(claim.units) > 1
        ),
        pins={graph.index[name]: _device(problem, target) for name, target in problem.pins.items()},
        max_parts=max_parts,
        footprint=np.array([constant_bytes(unit) for unit in graph.units], float),
        memory=np.array([float(limits.get(offer.target, np.inf)) for offer in offers]) if limits else None,
        joules=joules,
        joule_per_byte=np.array([[link.joule_per_byte for link in row] for row in links]),
        names=tuple(unit.name for unit in graph.units),
        devices=tuple(str(offer.target) for offer in offers),
    )


def _unit_costs(problem: Problem) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """Seconds without the launch, and joules where every offer tells them; inf where an offer has no claim.

    Units of one claim run together or not at all, so they share what they cost together.
    """
    shape = len(problem.graph.units), len(problem.offers)
    seconds, joules = np.full(shape, np.inf), np.full(shape, np.inf)
    known = True
    for device, offer in enumerate(problem.offers):
        launch = offer.prices.launch
        for claim in offer.claims:
            units = sorted(problem.graph.index[name] for name in claim.units)
            costs = [offer.prices.within(problem.graph.units[unit]) for unit in units]
            own = np.array([cost.seconds for cost in costs])
            if len(units) > 1 and own.sum() > 0:
                own *= max(problem.part_cost(offer.target, units).seconds - launch, 0.0) / own.sum()
            seconds[units, device] = own
            known = known and all(cost.joules is not None for cost in costs)
            joules[units, device] = [cost.joules or 0.0 for cost in costs]
    return seconds, joules if known else None


def _tensors(problem: Problem) -> Tensors:
    graph = problem.graph
    readers: dict[object, tuple[int, list[int], float]] = {}
    for unit, values in enumerate(graph.reads):
        for value in values:
            producer = value.producer()
            if producer is not None and producer in graph.owner:
                entry = readers.setdefault(value, (graph.owner[producer], [], float(value_bytes(value))))
                entry[1].append(unit)
    return Tensors.of(list(readers.values()))


def _claims(problem: Problem, plan: Plan) -> tuple[Claim, ...]:
    taken: list[Claim] = []
    for device, offer in enumerate(problem.offers):
        for claim in offer.claims:
            if all(plan.devices[problem.graph.index[name]] == device for name in claim.units):
                taken.append(claim)
    if sum(len(claim.units) for claim in taken) < plan.devices.size:
        raise PlacementError("a solution tears units that must stay together", fix="choose another solver")
    return tuple(taken)


def _device(problem: Problem, target: Target) -> int:
    return next(number for number, offer in enumerate(problem.offers) if offer.target == target)
