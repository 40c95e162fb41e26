"""Explain a placement: costs, schedule, alternatives, refusals, and why each unit is where it is."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from deepseek_core.errors import PlacementError
from deepseek_core.options import CompileOptions, Progress
from deepseek_core.partition import Gates, OptimalSolver, PreferenceSolver, Problem, coverage, settle, unmet
from deepseek_core.partition.gates import work_shares
from deepseek_core.partition.optimal import as_problem, memory_limits
from deepseek_core.partition.optimize import PartitionProblem, broken_rule, evaluate
from deepseek_core.partition.optimize import Plan as Arrays
from deepseek_core.partition.optimize.evaluate import timing
from deepseek_core.partition.roofline import constant_bytes, value_bytes
from deepseek_core.placement import Placement, Refusal
from deepseek_core.plan.report import (
    Alternative,
    PartPlan,
    Plan,
    RefusalGroup,
    TargetPlan,
    TransferPlan,
    UnitPlan,
)
from deepseek_core.plan.why import Moves
from deepseek_core.target import Target

__all__ = ["explain"]

_VARIABLE = re.compile(r"'[^']*'|\d+")
"""Names and numbers in the text of a refusal."""


def explain(
    name: str,
    problem: Problem,
    placement: Placement,
    solver: OptimalSolver | None = None,
    *,
    gates: Gates | None = None,
    progress: Progress | None = None,
) -> Plan:
    """Everything there is to say about a placement of `problem`.

    Args:
        name: of the model.
        solver: objective and limits that the placement was found under; it is also asked where the placement comes
            from another solver and has no bound of its own.
        gates: what the placement should reach.

    Raises:
        PlacementError: energy is the objective and not known.
    """
    solver = solver or OptimalSolver()
    tell = progress or CompileOptions().progress
    pure = as_problem(problem, solver.max_parts, solver.memory)
    arrays = _arrays(problem, placement)
    ends = _Schedule(pure, arrays)
    value = evaluate(pure, arrays, solver.objective)
    tell("explain", 0.1)
    bound, proof, method = _bound(problem, placement, solver)
    tell("explain", 0.5)
    moves = Moves(problem, pure, arrays, solver.objective, lambda fraction: tell("explain", 0.5 + fraction / 2))
    return Plan(
        model=name,
        objective=str(solver.objective),
        value=value,
        bound=bound,
        proof=proof,
        method=method,
        basis=placement.cost.basis,
        latency=max(ends.end, default=0.0),
        placement=placement,
        units=tuple(_units(problem, placement, pure, arrays, moves)),
        parts=tuple(_parts(placement, pure, arrays, ends)),
        transfers=tuple(_transfers(problem, placement, arrays, ends)),
        targets=tuple(_targets(problem, placement, pure, arrays, solver)),
        refusals=tuple(_refusals(problem, placement)),
        alternatives=tuple(_alternatives(problem, placement, pure, value, solver)),
        edges=tuple(_edges(problem)),
        unmet=tuple(unmet(problem.graph, placement, gates)) if gates is not None else (),
    )


def _arrays(problem: Problem, placement: Placement) -> Arrays:
    number = {offer.target: device for device, offer in enumerate(problem.offers)}
    devices = np.array([number[placement.units[unit.name]] for unit in problem.graph.units], np.int64)
    index = problem.graph.index
    return Arrays(devices, tuple(tuple(sorted(index[name] for name in part)) for part in placement.parts))


class _Schedule:
    """When each part starts and ends under the machine model of `Objective.LATENCY`."""

    def __init__(self, pure: PartitionProblem, arrays: Arrays) -> None:
        work, self.before = timing(pure, arrays)
        free = [0.0] * len(pure.launch)
        self.start: list[float] = []
        self.end: list[float] = []
        for number, part in enumerate(arrays.parts):
            device = int(arrays.devices[part[0]])
            start = max([free[device], *(self.end[other] + delay for other, delay in self.before[number])])
            self.start.append(start)
            self.end.append(start + work[number])
            free[device] = self.end[-1]


def _bound(problem: Problem, placement: Placement, solver: OptimalSolver) -> tuple[float | None, str, str]:
    """Bound, proof and method of a placement; another solver's placement is held against the optimal solver's bound."""
    own = placement.optimality
    if own is not None and own.objective == solver.objective:
        return own.bound, own.proof, own.method
    if len(problem.offers) < 2:
        return None, "", "the only target"
    try:
        found = settle(problem, solver).optimality
    except PlacementError:
        found = None
    return (None, "", "priority") if found is None else (found.bound, found.proof, "priority")


def _units(
    problem: Problem, placement: Placement, pure: PartitionProblem, arrays: Arrays, moves: Moves
) -> Iterator[UnitPlan]:
    part_of = {name: number for number, names in enumerate(placement.parts) for name in names}
    work = work_shares(problem.graph)
    for position, unit in enumerate(problem.graph.units):
        home = int(arrays.devices[position])
        options = tuple(moves.option(position, device) for device in range(len(problem.offers)) if device != home)
        yield UnitPlan(
            name=unit.name,
            op=unit.op,
            target=placement.units[unit.name],
            part=part_of[unit.name],
            cost=moves.cost(position, home),
            share=work[unit.name],
            why=moves.why(position, options),
            options=options,
        )


def _parts(placement: Placement, pure: PartitionProblem, arrays: Arrays, when: _Schedule) -> Iterator[PartPlan]:
    for number, names in enumerate(placement.parts):
        launch = float(pure.launch[arrays.devices[arrays.parts[number][0]]])
        yield PartPlan(number, placement.units[names[0]], names, when.start[number], when.end[number], launch)


def _transfers(problem: Problem, placement: Placement, arrays: Arrays, when: _Schedule) -> Iterator[TransferPlan]:
    home = {unit: number for number, part in enumerate(arrays.parts) for unit in part}
    tables = [offer.capabilities for offer in problem.offers]
    readers: dict[tuple[object, int], tuple[str, int, int, list[int]]] = {}
    for unit, values in enumerate(problem.graph.reads):
        for value in values:
            producer = value.producer()
            source = None if producer is None else problem.graph.owner.get(producer)
            if source is not None and arrays.devices[source] != arrays.devices[unit]:
                key = (value, int(arrays.devices[unit]))
                entry = readers.setdefault(key, (value.name or "", value_bytes(value), source, []))
                entry[3].append(home[unit])
    for (_, device), (name, size, source, parts) in readers.items():
        link = problem.transfers.link(tables[arrays.devices[source]], tables[device])
        yield TransferPlan(name, size, home[source], min(parts), link.cost(size), when.end[home[source]])


def _targets(
    problem: Problem, placement: Placement, pure: PartitionProblem, arrays: Arrays, solver: OptimalSolver
) -> Iterator[TargetPlan]:
    shares, limits = coverage(problem.graph, placement), memory_limits(problem, solver.memory)
    rows = np.arange(pure.size)
    for device, offer in enumerate(problem.offers):
        mine = arrays.devices == device
        parts = sum(placement.units[names[0]] == offer.target for names in placement.parts)
        yield TargetPlan(
            target=offer.target,
            here=offer.backend.probe(offer.target),
            units=int(mine.sum()),
            parts=parts,
            share=shares.get(offer.target, 0.0),
            work=float(pure.cost[rows, arrays.devices][mine].sum()),
            launches=parts * float(pure.launch[device]),
            constants=sum(constant_bytes(unit) for unit, own in zip(problem.graph.units, mine, strict=True) if own),
            memory=limits.get(offer.target),
        )


def _refusals(problem: Problem, placement: Placement) -> Iterator[RefusalGroup]:
    """Refusals that differ in names and sizes only, together."""
    groups: dict[tuple[Target, str, str], list[Refusal]] = {}
    for refusal in placement.refusals:
        key = (refusal.target, _VARIABLE.sub("…", refusal.reason), _VARIABLE.sub("…", refusal.change))
        groups.setdefault(key, []).append(refusal)
    for (target, *_), alike in groups.items():
        homes = dict.fromkeys(placement.units[r.unit] for r in alike if r.unit in placement.units)
        yield RefusalGroup(target, alike[0].reason, alike[0].change, tuple(r.unit for r in alike), tuple(homes))


def _alternatives(
    problem: Problem, placement: Placement, pure: PartitionProblem, value: float, solver: OptimalSolver
) -> Iterator[Alternative]:
    yield Alternative("this plan", value, len(placement.parts))
    if len(problem.offers) > 1:
        try:
            greedy = settle(problem, PreferenceSolver())
            worth = evaluate(pure, _arrays(problem, greedy), solver.objective)
            broken = broken_rule(pure, _arrays(problem, greedy)) or ""
            yield Alternative("by priority: the first target that takes each unit", worth, len(greedy.parts), broken)
        except PlacementError as error:
            yield Alternative("by priority: the first target that takes each unit", None, 0, error.message)
    everything = (tuple(range(pure.size)),) if pure.size else ()
    for device, offer in enumerate(problem.offers):
        refused = int(np.isinf(pure.cost[:, device]).sum())
        name = f"everything on {offer.target}"
        if refused:
            yield Alternative(name, None, 0, f"it refuses {refused} of {pure.size} units")
        else:
            arrays = Arrays(np.full(pure.size, device, np.int64), everything)
            yield Alternative(name, evaluate(pure, arrays, solver.objective), 1, broken_rule(pure, arrays) or "")


def _edges(problem: Problem) -> Iterator[tuple[int, tuple[int, ...], int, str]]:
    readers: dict[ir.Value, list[int]] = {}
    for unit, values in enumerate(problem.graph.reads):
        for value in values:
            readers.setdefault(value, []).append(unit)
    for value, units in readers.items():
        producer = value.producer()
        if producer is not None and producer in problem.graph.owner:
            yield problem.graph.owner[producer], tuple(units), value_bytes(value), value.name or ""
