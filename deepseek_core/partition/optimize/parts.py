"""Parts of an assignment: as few launches as possible, and no cycle between parts.

Any partition without cycles, put in execution order, is a topological order of the units cut into runs of one
device; so few parts are few runs. While a device runs, it may as well run every unit that is ready: that costs no
launch and only makes more units ready. What is left is the order of the devices, a shortest path over sets of
finished units, which is searched best first with a limited number of kept states.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from itertools import count

import numpy as np
from numpy.typing import NDArray

from deepseek_core.partition.optimize.problem import PartitionProblem

__all__ = ["form_parts"]

_State = tuple[tuple[float, int], int, int, list[int], list[list[int]], tuple[tuple[int, ...], ...]]
"""Price and number of parts, a ticket, finished units, predecessors left, ready units, parts."""

_SMALL = 64
_STATES = 400


def form_parts(problem: PartitionProblem, devices: NDArray[np.int64]) -> tuple[tuple[int, ...], ...]:
    """Parts in execution order; groups are not looked at (contract them first).

    The sum of launches is minimal for up to 64 units unless 400 states do not suffice; beyond, the device with
    most waiting units runs next.
    """
    if problem.size == 0:
        return ()
    homes = devices.tolist()
    sweep = _Sweep(problem, homes)
    if problem.size <= _SMALL and len(set(homes)) > 1:
        exact = _shortest(sweep, problem.launch.tolist())
        if exact is not None:
            return exact
    starts = dict.fromkeys(homes[unit] for unit in sweep.sources)
    launch = problem.launch.tolist()
    found = [sweep.greedy(first) for first in starts]
    return min(found, key=lambda parts: (sum(launch[homes[part[0]]] for part in parts), len(parts)))


class _Sweep:
    """Runs the units of one device after another."""

    def __init__(self, problem: PartitionProblem, homes: Sequence[int]) -> None:
        self.after = problem.successors
        self.indegree = [len(p) for p in problem.predecessors]
        self.sources = [unit for unit, before in enumerate(self.indegree) if not before]
        self.homes = homes
        self.count = len(problem.launch)

    def greedy(self, first: int) -> tuple[tuple[int, ...], ...]:
        waiting = self.indegree.copy()
        ready: list[list[int]] = [[] for _ in range(self.count)]
        for unit in self.sources:
            ready[self.homes[unit]].append(unit)
        parts, current = [], first
        while any(ready):
            if not ready[current]:
                current = max(range(self.count), key=lambda device: len(ready[device]))
            parts.append(tuple(sorted(self.run(waiting, ready, current))))
        return tuple(parts)

    def run(self, waiting: list[int], ready: list[list[int]], device: int) -> list[int]:
        """Every unit that `device` can run now; `waiting` and `ready` follow."""
        queue, done = ready[device], []
        while queue:
            unit = queue.pop()
            done.append(unit)
            for follower in self.after[unit]:
                waiting[follower] -= 1
                if not waiting[follower]:
                    ready[self.homes[follower]].append(follower)
        return done


def _shortest(sweep: _Sweep, launch: Sequence[float]) -> tuple[tuple[int, ...], ...] | None:
    """Runs with the least sum of launches (Dijkstra over sets of finished units); None when states run out."""
    ready: list[list[int]] = [[] for _ in launch]
    for unit in sweep.sources:
        ready[sweep.homes[unit]].append(unit)
    ticket = count()
    heap: list[_State] = [((0.0, 0), next(ticket), 0, sweep.indegree, ready, ())]
    closed: set[int] = set()
    while heap and len(closed) < _STATES:
        (price, number), _, done, waiting, ready, parts = heapq.heappop(heap)
        if not any(ready):
            return parts
        if done in closed:
            continue
        closed.add(done)
        for device, queue in enumerate(ready):
            if queue:
                left, opened = waiting.copy(), [units.copy() for units in ready]
                run = sweep.run(left, opened, device)
                reached = done | sum(1 << unit for unit in run)
                cost = (price + launch[device], number + 1)
                heapq.heappush(heap, (cost, next(ticket), reached, left, opened, (*parts, tuple(sorted(run)))))
    return None
