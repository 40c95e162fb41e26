"""Units that stay together as one unit: the form that fast solvers work on."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from deepseek_core.partition.optimize.evaluate import Plan
from deepseek_core.partition.optimize.problem import Group, PartitionProblem, Tensors

__all__ = ["Contracted", "contractions"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Contracted:
    """A problem without groups whose every valid plan is one of the original's.

    Attributes:
        problem: with one unit for each set of the original's.
        home: int64 [original units], where each of them is.
    """

    problem: PartitionProblem
    home: NDArray[np.int64]

    def expand(self, plan: Plan) -> Plan:
        """A plan of the original."""
        members: list[list[int]] = [[] for _ in range(self.problem.size)]
        for unit, atom in enumerate(self.home.tolist()):
            members[atom].append(unit)
        parts = (tuple(sorted(unit for atom in part for unit in members[atom])) for part in plan.parts)
        return Plan(plan.devices[self.home], tuple(parts))


def contractions(problem: PartitionProblem) -> Iterator[Contracted]:
    """Ways to settle the groups: those of a device that help most are taken, or as few as can be.

    A taken group is one unit on every device; a group that is not taken is refused. Groups that some unit cannot
    do without are taken first.
    """
    tied = [group for group in problem.groups if group.device is None and len(group.units) > 1]
    offered = [group for group in problem.groups if group.device is not None and len(group.units) > 1]
    if not (tied or offered):
        yield Contracted(problem, np.arange(problem.size))
        return
    ranked = sorted(offered, key=lambda group: -_saving(problem, group))
    for wanted in (ranked, []) if ranked else ([],):
        found = _settle(problem, tied, wanted, offered)
        if found is not None:
            yield found


def _saving(problem: PartitionProblem, group: Group) -> float:
    """Seconds saved against each unit's best other device; inf where one has none."""
    others = problem.allowed[list(group.units)].copy()
    others[:, group.device] = np.inf
    own = problem.allowed[list(group.units), group.device].sum()
    return float(others.min(axis=1).sum() - own) if np.isfinite(own) else -np.inf


def _settle(
    problem: PartitionProblem, tied: Sequence[Group], wanted: Sequence[Group], offered: Sequence[Group]
) -> Contracted | None:
    sets = _united(tied)
    if _order(problem, sets) is None:
        return None
    needed = [group for group in offered if _saving(problem, group) == np.inf]
    for group in dict.fromkeys((*needed, *wanted)):
        grown = [s for s in sets if not s & set(group.units)]
        absorbed = frozenset(group.units).union(*(s for s in sets if s & set(group.units)))
        apart = all(not s & set(group.units) or any(s <= set(t.units) for t in tied) for s in sets)
        if apart and _order(problem, [*grown, absorbed]) is not None:
            sets = [*grown, absorbed]
    cost = problem.allowed.copy()
    for group in offered:
        if not any(set(group.units) <= s for s in sets):
            cost[list(group.units), group.device] = np.inf
    order = _order(problem, sets)
    return None if order is None else _contracted(problem, cost, order)


def _united(groups: Sequence[Group]) -> list[frozenset[int]]:
    sets: list[frozenset[int]] = []
    for group in groups:
        joined = frozenset(group.units).union(*(s for s in sets if s & set(group.units)))
        sets = [s for s in sets if not s & joined]
        sets.append(joined)
    return sets


def _order(problem: PartitionProblem, sets: Sequence[frozenset[int]]) -> list[tuple[int, ...]] | None:
    """The sets and the other units in topological order; None when a cycle runs through them."""
    inside = frozenset[int]().union(*sets)
    clusters = sorted([*(tuple(sorted(s)) for s in sets), *((u,) for u in range(problem.size) if u not in inside)])
    home = {unit: number for number, cluster in enumerate(clusters) for unit in cluster}
    after = [{home[s] for u in cluster for s in problem.successors[u]} - {i} for i, cluster in enumerate(clusters)]
    waiting = [0] * len(clusters)
    for followers in after:
        for follower in followers:
            waiting[follower] += 1
    ready = [number for number, count in enumerate(waiting) if not count]
    order = []
    while ready:
        number = heapq.heappop(ready)
        order.append(clusters[number])
        for follower in after[number]:
            waiting[follower] -= 1
            if not waiting[follower]:
                heapq.heappush(ready, follower)
    return order if len(order) == len(clusters) else None


def _contracted(problem: PartitionProblem, cost: Floats, order: Sequence[Sequence[int]]) -> Contracted | None:
    home = np.empty(problem.size, np.int64)
    for number, cluster in enumerate(order):
        home[list(cluster)] = number

    def total(values: Floats | None) -> Floats | None:
        if values is None:
            return None
        result = np.zeros((len(order), *values.shape[1:]))
        np.add.at(result, home, values)
        return result

    summed = total(cost)
    if summed is None or not np.isfinite(summed).any(axis=1).all():
        return None
    tensors = problem.tensors
    readers = np.split(home[tensors.reader], tensors.start[1:-1])
    entries = zip(home[tensors.producer].tolist(), readers, tensors.bytes.tolist(), strict=True)
    smaller = replace(
        problem,
        cost=summed,
        tensors=Tensors.of([(p, r.tolist(), size) for p, r, size in entries] if len(tensors) else []),
        groups=(),
        pins={},
        footprint=total(problem.footprint),
        joules=total(problem.joules),
        names=tuple(problem.names[cluster[0]] for cluster in order),
    )
    return Contracted(smaller, home)
