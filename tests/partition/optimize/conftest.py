"""Random placement problems, and the least value of small ones by exhaustion."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import strategies as st

from deepseek_core.partition.optimize import Group, PartitionProblem, Plan, Tensors, broken_rule, evaluate


def random_problem(seed, units, devices, refused=0.3, **more):
    rng = np.random.default_rng(seed)
    cost = rng.lognormal(0, 1, (units, 1)) * rng.lognormal(0, 0.7, (units, devices))
    cost[:, 1:][rng.random((units, devices - 1)) < refused] = np.inf
    entries = [
        (u, rng.integers(u + 1, min(units, u + 5), rng.integers(1, 4)).tolist(), float(rng.lognormal()))
        for u in range(units - 1)
    ]
    return PartitionProblem(
        cost=cost,
        launch=rng.uniform(0, 1, devices),
        tensors=Tensors.of(entries),
        latency=rng.uniform(0, 0.2, (devices, devices)),
        second_per_byte=rng.uniform(0, 1, (devices, devices)),
        **more,
    )


def every_plan(problem):
    """All valid plans: topological orders cut into runs of one device (small problems only)."""
    options = [np.flatnonzero(np.isfinite(row)).tolist() for row in problem.allowed]
    blocks = list(ordered_partitions(problem, frozenset()))
    for chosen in product(*options):
        devices = np.array(chosen, np.int64)
        for parts in blocks:
            plan = Plan(devices, parts)
            if broken_rule(problem, plan) is None:
                yield plan


def ordered_partitions(problem, done):
    """Ways to put all units that are not done into a sequence of parts that read backwards only."""
    left = [unit for unit in range(problem.size) if unit not in done]
    if not left:
        yield ()
        return
    for mask in range(1, 1 << len(left)):
        part = tuple(unit for bit, unit in enumerate(left) if mask >> bit & 1)
        inside = done | set(part)
        if all(before in inside for unit in part for before in problem.predecessors[unit]):
            for rest in ordered_partitions(problem, inside):
                yield (part, *rest)


@pytest.fixture(scope="session")
def problem_of():
    return random_problem


@pytest.fixture(scope="session")
def least():
    """`least(problem, objective)`: the value of the best valid plan, None when there is none."""
    return lambda problem, objective: min((evaluate(problem, p, objective) for p in every_plan(problem)), default=None)


@st.composite
def constrained(draw, largest=40):
    """Problems with pins, groups and limits, some of them impossible."""
    units, devices = draw(st.integers(1, largest)), draw(st.integers(1, 4))
    seed = draw(st.integers(0, 2**32))
    rng = np.random.default_rng(seed)
    plain = random_problem(seed, units, devices)
    pinned = draw(st.lists(st.integers(0, units - 1), max_size=3, unique=True))
    pins = {unit: int(rng.choice(np.flatnonzero(np.isfinite(plain.cost[unit])))) for unit in pinned}
    groups = []
    for _ in range(draw(st.integers(0, 2))):
        first = int(rng.integers(units))
        members = tuple(range(first, min(units, first + int(rng.integers(2, 5)))))
        groups.append(Group(members, draw(st.sampled_from([None, 0, devices - 1]))))
    return random_problem(
        seed,
        units,
        devices,
        pins=pins,
        groups=tuple(groups),
        max_parts=draw(st.sampled_from([None, None, 1, 3, 6])),
        footprint=rng.uniform(0, 1, units),
        memory=np.array([np.inf, *rng.uniform(0, units, devices - 1)]),
        joules=rng.uniform(0, 1, (units, devices)),
    )


@pytest.fixture(scope="session")
def constrained_problems():
    return constrained
