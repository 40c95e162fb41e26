"""What a plan costs under each objective, and whether it keeps within the limits."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from deepseek_core.partition.optimize.problem import Objective, PartitionProblem

__all__ = ["Plan", "broken_rule", "evaluate", "timing"]


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """A device for every unit, and the parts.

    Attributes:
        devices: int64 [units].
        parts: units of each part in ascending order; parts in execution order.
    """

    devices: NDArray[np.int64]
    parts: tuple[tuple[int, ...], ...]


def evaluate(problem: PartitionProblem, plan: Plan, objective: Objective) -> float:
    """Value of a plan, in seconds (joules for energy); inf where a unit is on a device that refuses it."""
    match objective:
        case Objective.ADDITIVE:
            return _additive(problem, plan)
        case Objective.LATENCY:
            return _makespan(problem, plan)
        case Objective.THROUGHPUT:
            return _bottleneck(problem, plan)
        case Objective.ENERGY:
            return _additive(problem.as_energy(), plan)


def broken_rule(problem: PartitionProblem, plan: Plan) -> str | None:
    """What a plan does that it must not, in words; None for a valid plan."""
    order = sorted(unit for part in plan.parts for unit in part)
    if order != list(range(problem.size)):
        return "its parts do not hold each unit once"
    home = np.empty(problem.size, np.int64)
    for number, part in enumerate(plan.parts):
        home[list(part)] = number
        if len(set(plan.devices[list(part)].tolist())) != 1:
            return f"part {number} has several devices"
    if not np.isfinite(problem.allowed[np.arange(problem.size), plan.devices]).all():
        return "a unit is on a device that refuses it, or away from its pin"
    if (home[problem.tensors.source] > home[problem.tensors.reader]).any():
        return "a part reads what a later part gives"
    for group in problem.groups:
        members = list(group.units)
        active = group.device is None or (plan.devices[members] == group.device).any()
        if active and len(set(home[members].tolist())) != 1:
            return "units that must stay together are apart"
    return _broken_limit(problem, plan)


def _broken_limit(problem: PartitionProblem, plan: Plan) -> str | None:
    if problem.max_parts is not None and len(plan.parts) > problem.max_parts:
        return f"it has {len(plan.parts)} parts, and {problem.max_parts} are allowed"
    if problem.memory is not None and problem.footprint is not None:
        held = np.bincount(plan.devices, problem.footprint, len(problem.launch))
        full = np.flatnonzero(held > problem.memory * (1 + 1e-12))
        if full.size:
            return f"{problem.devices[full[0]]} would hold {held[full[0]]:.0f} bytes"
    return None


def _moves(problem: PartitionProblem, devices: NDArray[np.int64]) -> tuple[NDArray[np.int64], ...]:
    """Tensor, from-device and to-device of each transfer, each once."""
    tensors, count = problem.tensors, len(problem.launch)
    crossing = devices[tensors.source] != devices[tensors.reader]
    keys = np.unique(tensors.tensor[crossing] * count + devices[tensors.reader[crossing]])
    return keys // count, devices[tensors.producer[keys // count]], keys % count


def _additive(problem: PartitionProblem, plan: Plan) -> float:
    units = problem.cost[np.arange(problem.size), plan.devices].sum()
    launches = sum(problem.launch[plan.devices[part[0]]] for part in plan.parts)
    return float(units + launches + problem.transfer[_moves(problem, plan.devices)].sum())


def _bottleneck(problem: PartitionProblem, plan: Plan) -> float:
    count = len(problem.launch)
    busy = np.bincount(plan.devices, problem.cost[np.arange(problem.size), plan.devices], count)
    for part in plan.parts:
        device = plan.devices[part[0]]
        busy[device] += problem.launch[device]
    tensor, source, to = _moves(problem, plan.devices)
    links = np.bincount(source * count + to, problem.transfer[tensor, source, to], count * count)
    return float(max(busy.max(initial=0.0), links.max(initial=0.0)))


def _makespan(problem: PartitionProblem, plan: Plan) -> float:
    work, before = timing(problem, plan)
    free, end = [0.0] * len(problem.launch), [0.0] * len(plan.parts)
    for number, (part, seconds) in enumerate(zip(plan.parts, work, strict=True)):
        device = int(plan.devices[part[0]])
        start = free[device]
        for other, delay in before[number]:
            start = max(start, end[other] + delay)
        end[number] = free[device] = start + seconds
    return max(end, default=0.0)


def timing(problem: PartitionProblem, plan: Plan) -> tuple[list[float], list[list[tuple[int, float]]]]:
    """Seconds of each part, and for each the parts it reads from with the seconds until their results arrive."""
    devices, tensors, count = plan.devices, problem.tensors, len(plan.parts)
    home = np.empty(problem.size, np.int64)
    sizes = np.array([len(part) for part in plan.parts], np.int64)
    members = np.fromiter(chain.from_iterable(plan.parts), np.int64, problem.size)
    home[members] = np.repeat(np.arange(count), sizes)
    work = np.bincount(home, problem.cost[np.arange(problem.size), devices], count)
    work += problem.launch[devices[members[np.cumsum(sizes) - sizes]]]
    crossing = np.flatnonzero(home[tensors.source] != home[tensors.reader])
    source, reader = tensors.source[crossing], tensors.reader[crossing]
    delay = problem.transfer[tensors.tensor[crossing], devices[source], devices[reader]]
    before: list[list[tuple[int, float]]] = [[] for _ in plan.parts]
    for one, other, seconds in zip(home[source].tolist(), home[reader].tolist(), delay.tolist(), strict=True):
        before[other].append((one, seconds))
    return work.tolist(), before
