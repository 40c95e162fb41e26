"""Lower bounds that hold for every valid plan, cheap enough for large graphs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deepseek_core.partition.optimize.forest import Forest
from deepseek_core.partition.optimize.labelling import Labelling
from deepseek_core.partition.optimize.problem import Objective, PartitionProblem

__all__ = ["additive_bound", "launch_bound", "load_bound", "lower_bound", "path_bound"]

Floats = NDArray[np.float64]


def lower_bound(problem: PartitionProblem, objective: Objective, known: float) -> tuple[float, str]:
    """The best of the bounds that apply, and its name.

    Args:
        known: value of a known plan.
    """
    if objective is Objective.ADDITIVE:
        return additive_bound(problem, known), "dual decomposition into trees"
    if objective is Objective.ENERGY:
        return additive_bound(problem.as_energy(), known), "dual decomposition into trees"
    load = load_bound(problem), "work shared evenly"
    if objective is Objective.THROUGHPUT:
        return load
    return max(load, (path_bound(problem), "longest path"))


def additive_bound(problem: PartitionProblem, known: float) -> float:
    """Trees of edges with Lagrange multipliers (see `Forest`), and the launches no plan can avoid."""
    steps = int(np.clip(4_000_000 // max(problem.size, 1), 10, 100))
    launches = launch_bound(problem)
    return Forest.of(Labelling.of(problem)).bound(steps, known - launches) + launches


def launch_bound(problem: PartitionProblem) -> float:
    """One launch of each device that some unit must have; of the cheapest where no unit must have one."""
    if not problem.size:
        return 0.0
    allowed = np.isfinite(problem.allowed)
    forced = np.unique(allowed[allowed.sum(axis=1) == 1].argmax(axis=1))
    return float(problem.launch[forced].sum() if forced.size else problem.launch.min())


def path_bound(problem: PartitionProblem) -> float:
    """The longest path, each path on the devices that are best for it.

    `ready[u, d]`, no later than u can end on d, is its cost after the latest of its predecessors, each on the
    device that serves d soonest. Another device costs the transfer and a launch: whoever reads from another
    device is in a part that begins after that.
    """
    cost, launch, tensors = problem.allowed, problem.launch, problem.tensors
    arrive = problem.transfer + np.where(np.eye(len(launch), dtype=bool), 0.0, launch)
    ready = np.zeros_like(cost)
    for pins, units in _levels(problem):
        start = np.broadcast_to(launch, (len(units), len(launch))).copy()
        if pins.size:
            through = (ready[tensors.source[pins]][:, :, None] + arrive[tensors.tensor[pins]]).min(axis=1)
            np.maximum.at(start, np.searchsorted(units, tensors.reader[pins]), through)
        ready[units] = start + cost[units]
    return float(ready.min(axis=1).max(initial=0.0))


def load_bound(problem: PartitionProblem, steps: int = 60) -> float:
    """Work shared between devices: for prices λ ≥ 0 with Σλ = 1, the busiest device has Σ min_d λ_d cost or more.

    The linear relaxation's dual of scheduling unrelated machines (Lenstra, Shmoys and Tardos, Math. Programming
    46, 1990), raised by exponentiated subgradient steps.
    """
    prices, best = np.full(len(problem.launch), 1.0 / len(problem.launch)), 0.0
    for step in range(steps):
        value, load = _priced(problem, prices)
        best = max(best, value)
        if load.max(initial=0.0) <= 0:
            break
        prices = prices * np.exp(load / load.max() / np.sqrt(1 + step))
        prices /= prices.sum()
    return best


def _priced(problem: PartitionProblem, prices: Floats) -> tuple[float, Floats]:
    priced = problem.allowed * np.where(prices > 0, prices, 1e-300)
    chosen = priced.argmin(axis=1)
    rows = np.arange(problem.size)
    load: Floats = np.bincount(chosen, problem.allowed[rows, chosen], len(prices)).astype(float)
    return float(priced[rows, chosen].sum()), load


def _levels(problem: PartitionProblem) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Pins by the depth of their reader, and the units of that depth, ascending."""
    depth = [0] * problem.size
    for unit, before in enumerate(problem.predecessors):
        if before:
            depth[unit] = 1 + max(depth[b] for b in before)
    depths = np.array(depth, np.int64)
    units = np.argsort(depths, kind="stable")
    readers = depths[problem.tensors.reader]
    pins = np.argsort(readers, kind="stable")
    marks = np.arange(1, int(depths.max(initial=0)) + 1)
    split_units = np.split(units, np.searchsorted(depths[units], marks))
    split_pins = np.split(pins, np.searchsorted(readers[pins], marks))
    return list(zip(split_pins, split_units, strict=True)) if problem.size else []
