"""The last step of a fast solution: moves judged by the true objective, parts and limits included."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import combinations, pairwise

import numpy as np
from numpy.typing import NDArray

from deepseek_core.partition.optimize.evaluate import Plan, evaluate
from deepseek_core.partition.optimize.parts import form_parts
from deepseek_core.partition.optimize.problem import Objective, PartitionProblem
from deepseek_core.partition.optimize.reorder import reordered
from deepseek_core.partition.optimize.schedule import urgent_first

__all__ = ["Judge", "polish", "polish_again", "polish_patiently"]

Labels = NDArray[np.int64]

_WORK = 400_000
"""Units looked at in evaluations: the polish of a large graph tries fewer moves."""
_PIECES = 24
_SMALL = 64
_HOPE = 1.15
"""Patience is spent on plans that are at most this much longer without it."""


@dataclass(eq=False)
class Judge:
    """Turns devices into the best plan known for them.

    Attributes:
        work: units it may still look at.
    """

    problem: PartitionProblem
    objective: Objective
    work: int = field(init=False)
    _seen: dict[bytes, tuple[float, float, Plan]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.work = _WORK if self.problem.size > _SMALL else 10 * _WORK

    def __call__(self, devices: Labels) -> tuple[float, float, Plan]:
        """How far limits are exceeded (0: valid), the value, and the plan; smaller is better."""
        key = devices.astype(np.uint8).tobytes() if self.problem.size <= 64 else b""
        if key and key in self._seen:
            return self._seen[key]
        self.work -= self.problem.size + 20
        plan = Plan(devices.copy(), form_parts(self.problem, devices))
        value = evaluate(self.problem, plan, self.objective)
        if self.objective is Objective.LATENCY:
            value, plan = self._finer(value, plan)
        found = self._excess(plan), value, plan
        if key:
            self._seen[key] = found
        return found

    def _excess(self, plan: Plan) -> float:
        problem = self.problem
        over = 0.0 if problem.max_parts is None else max(len(plan.parts) - problem.max_parts, 0)
        if problem.memory is not None and problem.footprint is not None:
            held = np.bincount(plan.devices, problem.footprint, len(problem.launch))
            extra = np.maximum(held - problem.memory, 0.0)[np.isfinite(problem.memory)].sum()
            over += float(extra / max(problem.footprint.sum(), 1.0))
        return over

    def _finer(self, value: float, plan: Plan) -> tuple[float, Plan]:
        """Other parts of the same devices, if they end sooner: cut where results are awaited, or all apart."""
        self.work -= 3 * self.problem.size
        cuts = [_cut(self.problem, plan)]
        if self.problem.size <= _PIECES:
            cuts.append(tuple((unit,) for unit in range(self.problem.size)))
        for pieces in cuts:
            found = self._joined(*urgent_first(self.problem, Plan(plan.devices, pieces)))
            limit = self.problem.max_parts
            if found[0] < value and (limit is None or len(found[1].parts) <= limit):
                value, plan = found
        return value, plan

    def patient(self, devices: Labels) -> tuple[float, float, Plan]:
        """Like a call, with devices that may wait for what is urgent; slow, and for small LATENCY plans only."""
        excess, value, plan = self(devices)
        for pieces in (plan.parts, tuple((unit,) for part in plan.parts for unit in part)):
            other = reordered(self.problem, Plan(plan.devices, pieces))
            other = self._joined(evaluate(self.problem, other, Objective.LATENCY), other)[1]
            other = reordered(self.problem, other)
            found = self._excess(other), evaluate(self.problem, other, Objective.LATENCY)
            if found < (excess, value):
                (excess, value), plan = found, other
        return excess, value, plan

    def _joined(self, best: float, plan: Plan) -> tuple[float, Plan]:
        """Parts that follow each other on a device joined where that ends no later, best first; small plans only."""
        while len(plan.parts) <= _PIECES:
            joined = list(_pairs_joined(self.problem, plan))
            self.work -= self.problem.size * len(joined)
            values = [evaluate(self.problem, candidate, Objective.LATENCY) for candidate in joined]
            if not values or min(values) > best:
                break
            best = min(values)
            plan = joined[values.index(best)]
        return best, plan


def polish_again(judge: Judge, best: tuple[float, float, Plan], kicks: int) -> tuple[float, float, Plan]:
    """Iterated local search: disturb the best plan a little and polish it (seeded, so results repeat)."""
    rng = np.random.default_rng(judge.problem.size)
    allowed = np.isfinite(judge.problem.allowed)
    for _ in range(kicks):
        candidate = best[2].devices.copy()
        for unit in rng.integers(judge.problem.size, size=max(2, judge.problem.size // 8)).tolist():
            candidate[unit] = rng.choice(np.flatnonzero(allowed[unit]))
        found = polish(judge, candidate)
        if found[:2] < (best[0], best[1] * (1 - 1e-12)):
            best = found
    return best


def polish_patiently(judge: Judge, best: tuple[float, float, Plan]) -> tuple[float, float, Plan]:
    """Move single units of a small LATENCY plan while `Judge.patient` finds that better."""
    if judge.objective is not Objective.LATENCY or judge.problem.size > _PIECES:
        return best
    allowed = np.isfinite(judge.problem.allowed)
    best, start = min(best, judge.patient(best[2].devices), key=lambda entry: entry[:2]), None
    while start is not best:
        start = best
        for unit, device in np.argwhere(allowed).tolist():
            candidate = start[2].devices.copy()
            candidate[unit] = device
            if judge(candidate)[1] > best[1] * _HOPE:
                continue
            found = judge.patient(candidate)
            if found[:2] < (best[0], best[1] * (1 - 1e-12)):
                best = found
    return best


def polish(judge: Judge, start: Labels | tuple[float, float, Plan]) -> tuple[float, float, Plan]:
    """Move parts, units and pairs of neighbours to other devices while that helps and work is left.

    Args:
        start: devices, or what `judge` made of them.
    """
    best = start if isinstance(start, tuple) else judge(start)
    improved = True
    while improved:
        improved = False
        for members, device in _moves(judge.problem, best[2]):
            if judge.work <= 0:
                return best
            candidate = best[2].devices.copy()
            if (candidate[members] == device).all():
                continue
            candidate[members] = device
            found = judge(candidate)
            if found[:2] < (best[0], best[1] * (1 - 1e-12)):
                best, improved = found, True
    return best


def _moves(problem: PartitionProblem, plan: Plan) -> Iterator[tuple[Labels, Labels]]:
    """Units and their new devices: parts, two parts, units and edges to one device; units exchanged."""
    allowed = np.isfinite(problem.allowed)
    edges = [[unit, after] for unit, followers in enumerate(problem.successors) for after in followers]
    sets = [list(part) for part in plan.parts]
    pairs = [a + b for a, b in pairwise(sets)]
    for members in [*sets, *pairs, *([unit] for unit in range(problem.size)), *edges]:
        for device in np.flatnonzero(allowed[members].all(axis=0)).tolist():
            yield np.array(members), np.array(device)
    if problem.size <= _SMALL:  # units change places
        for one, other in combinations(range(problem.size), 2):
            here, there = plan.devices[[one, other]]
            if here != there and allowed[one, there] and allowed[other, here]:
                yield np.array([one, other]), np.array([there, here])


def _cut(problem: PartitionProblem, plan: Plan) -> tuple[tuple[int, ...], ...]:
    homes = plan.devices.tolist()
    pieces: list[tuple[int, ...]] = []
    for part in plan.parts:
        inside, current = set(part), list[int]()
        for unit in part:
            if current and any(before not in inside for before in problem.predecessors[unit]):
                pieces.append(tuple(current))
                current = []
            current.append(unit)
            if any(homes[after] != homes[unit] for after in problem.successors[unit]):
                pieces.append(tuple(current))
                current = []
        if current:
            pieces.append(tuple(current))
    return tuple(pieces)


def _pairs_joined(problem: PartitionProblem, plan: Plan) -> Iterator[Plan]:
    """Two parts that a device runs one after the other as one: in the earlier's place, or in the later's."""
    parts, last = plan.parts, dict[int, int]()
    for late, part in enumerate(parts):
        device = int(plan.devices[part[0]])
        early = last.get(device)
        last[device] = late
        if early is None:
            continue
        between = frozenset(unit for other in parts[early + 1 : late] for unit in other)
        joined = tuple(sorted(parts[early] + part))
        if not any(between.intersection(problem.predecessors[unit]) for unit in part):
            yield Plan(plan.devices, (*parts[:early], joined, *parts[early + 1 : late], *parts[late + 1 :]))
        if between and not any(between.intersection(problem.successors[unit]) for unit in parts[early]):
            yield Plan(plan.devices, (*parts[:early], *parts[early + 1 : late], joined, *parts[late + 1 :]))
