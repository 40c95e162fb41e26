"""List scheduling, for the latency objective.

HEFT (Topcuoglu, Hariri and Wu, IEEE TPDS 13(3), 2002): what has the longest way to the end is served first, and
every unit goes to the device where it ends soonest.
"""

from __future__ import annotations

import heapq
import math

import numpy as np
from numpy.typing import NDArray

from deepseek_core.partition.optimize.evaluate import Plan, timing
from deepseek_core.partition.optimize.problem import PartitionProblem

__all__ = ["earliest_finish", "urgent_first"]


def urgent_first(problem: PartitionProblem, plan: Plan) -> tuple[float, Plan]:
    """The same parts in another order: a free device takes, of the parts whose inputs are there, the most urgent.

    Returns:
        When the last part ends, and the plan.
    """
    work, before = timing(problem, plan)
    rank = work.copy()
    after: list[list[tuple[int, float]]] = [[] for _ in work]
    for number in range(len(work) - 1, -1, -1):
        for other, delay in before[number]:
            rank[other] = max(rank[other], work[other] + delay + rank[number])
            after[other].append((number, delay))
    homes = [int(plan.devices[part[0]]) for part in plan.parts]
    waiting = [len(sources) for sources in before]
    arrival = [0.0] * len(work)
    queues = [_Queue() for _ in problem.launch]
    for number, count in enumerate(waiting):
        if not count:
            queues[homes[number]].add(0.0, rank[number], number)
    order: list[int] = []
    while len(order) < len(work):
        queue = min(queues, key=_Queue.start)
        number = queue.take(work)
        order.append(number)
        for follower, delay in after[number]:
            arrival[follower] = max(arrival[follower], queue.free + delay)
            waiting[follower] -= 1
            if not waiting[follower]:
                queues[homes[follower]].add(arrival[follower], rank[follower], follower)
    end = max(queue.free for queue in queues)
    return end, Plan(plan.devices, tuple(plan.parts[number] for number in order))


class _Queue:
    """What waits for one device: `pending` by when its inputs arrive, `ready` by urgency."""

    def __init__(self) -> None:
        self.free = 0.0
        self.pending: list[tuple[float, float, int]] = []
        self.ready: list[tuple[float, int]] = []

    def add(self, arrival: float, rank: float, number: int) -> None:
        heapq.heappush(self.pending, (arrival, -rank, number))

    def start(self) -> float:
        """When the device can start anything."""
        if self.ready:
            return self.free
        return max(self.free, self.pending[0][0]) if self.pending else math.inf

    def take(self, work: list[float]) -> int:
        """Start the most urgent part; `free` is when it ends."""
        start = self.start()
        while self.pending and self.pending[0][0] <= start:
            _, urgency, number = heapq.heappop(self.pending)
            heapq.heappush(self.ready, (urgency, number))
        _, number = heapq.heappop(self.ready)
        self.free = start + work[number]
        return number


def earliest_finish(problem: PartitionProblem) -> NDArray[np.int64]:
    """int64 [units]: devices as HEFT chooses them, each unit a part of its own but without launches."""
    cost, count = problem.allowed, len(problem.launch)
    mean = np.where(np.isfinite(cost), cost, 0.0).sum(axis=1) / np.isfinite(cost).sum(axis=1)
    between = problem.transfer.sum(axis=(1, 2)) / max(count * (count - 1), 1)
    incoming = _incoming(problem)
    rank = mean.tolist()
    for unit in range(problem.size - 1, -1, -1):
        for tensor, source in incoming[unit]:
            rank[source] = max(rank[source], float(mean[source] + between[tensor] + rank[unit]))
    devices, end = [0] * problem.size, [0.0] * problem.size
    free, rows, moves = [0.0] * count, cost.tolist(), problem.transfer.tolist()
    for unit in sorted(range(problem.size), key=lambda u: -rank[u]):
        ready = free.copy()
        for tensor, source in incoming[unit]:
            for device, delay in enumerate(moves[tensor][devices[source]]):
                ready[device] = max(ready[device], end[source] + delay)
        finish = [start + seconds for start, seconds in zip(ready, rows[unit], strict=True)]
        devices[unit] = finish.index(min(finish))
        end[unit] = free[devices[unit]] = min(finish)
    return np.array(devices, np.int64)


def _incoming(problem: PartitionProblem) -> list[list[tuple[int, int]]]:
    """Per unit, the tensors it reads and their producers."""
    tensors = problem.tensors
    found: list[list[tuple[int, int]]] = [[] for _ in range(problem.size)]
    for tensor, source, reader in zip(
        tensors.tensor.tolist(), tensors.source.tolist(), tensors.reader.tolist(), strict=True
    ):
        found[reader].append((tensor, source))
    return found
