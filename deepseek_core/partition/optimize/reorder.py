"""Another order for the parts of a small plan, where a device had better wait for what is urgent.

List scheduling never lets a device idle while something is ready, and so may start a long part just before an urgent
one arrives. Moving single parts to other places in the order mends that.
"""

from __future__ import annotations

from collections.abc import Sequence

from deepseek_core.partition.optimize.evaluate import Plan, timing
from deepseek_core.partition.optimize.problem import PartitionProblem

__all__ = ["reordered"]


def reordered(problem: PartitionProblem, plan: Plan) -> Plan:
    """The same parts in an order that ends no later: one part after another moves while that helps."""
    work, before = timing(problem, plan)
    homes = [int(plan.devices[part[0]]) for part in plan.parts]
    after: list[list[int]] = [[] for _ in work]
    for number, sources in enumerate(before):
        for source, _ in sources:
            after[source].append(number)
    order = list(range(len(work)))
    best = _end(order, work, before, homes)
    improved = True
    while improved:
        improved = False
        for part in range(len(work)):
            at = order.index(part)
            rest = order[:at] + order[at + 1 :]
            place = {other: i for i, other in enumerate(rest)}
            first = max((place[source] + 1 for source, _ in before[part]), default=0)
            last = min((place[follower] for follower in after[part]), default=len(rest))
            for position in range(first, last + 1):
                candidate = [*rest[:position], part, *rest[position:]]
                end = _end(candidate, work, before, homes)
                if end < best * (1 - 1e-12):
                    best, order, improved = end, candidate, True
    return Plan(plan.devices, tuple(plan.parts[number] for number in order))


def _end(
    order: Sequence[int], work: Sequence[float], before: Sequence[Sequence[tuple[int, float]]], homes: Sequence[int]
) -> float:
    free, end = [0.0] * (max(homes, default=0) + 1), [0.0] * len(work)
    for number in order:
        start = free[homes[number]]
        for source, delay in before[number]:
            start = max(start, end[source] + delay)
        end[number] = free[homes[number]] = start + work[number]
    return max(end, default=0.0)
