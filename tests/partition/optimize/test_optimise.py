"""Solvers: nothing better by exhaustion, bounds that hold, plans that are valid, greedy never better."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepseek_core.errors import ConfigError, PlacementError
from deepseek_core.partition.optimize import (
    Group,
    Method,
    Objective,
    PartitionProblem,
    Plan,
    Tensors,
    broken_rule,
    evaluate,
    optimise,
)
from deepseek_core.partition.optimize.labelling import Labelling
from deepseek_core.partition.optimize.mincut import minimum_cut
from deepseek_core.partition.optimize.policies import hetero, onnxruntime
from deepseek_core.partition.optimize.reorder import reordered
from deepseek_core.partition.optimize.schedule import urgent_first

ALL = (Objective.LATENCY, Objective.ADDITIVE, Objective.THROUGHPUT)


@pytest.mark.parametrize("objective", ALL)
@pytest.mark.parametrize("seed", range(6))
def test_exact_is_the_best_of_all_plans(problem_of, least, objective, seed):
    problem = problem_of(seed, 4 + seed % 2, 2 + seed % 2)
    found = optimise(problem, objective, Method.EXACT)
    assert found.value == pytest.approx(least(problem, objective), rel=1e-7)
    assert found.gap == pytest.approx(0, abs=1e-6)


@settings(max_examples=15, deadline=None)
@given(data=st.data(), objective=st.sampled_from(ALL))
def test_exact_under_constraints(constrained_problems, least, data, objective):
    problem = data.draw(constrained_problems(largest=5))
    best = least(problem, objective)
    if best is None:
        with pytest.raises(PlacementError, match="no placement"):
            optimise(problem, objective, Method.EXACT)
        return
    found = optimise(problem, objective, Method.EXACT)
    assert broken_rule(problem, found.plan) is None
    assert found.value == pytest.approx(best, rel=1e-6, abs=1e-6)


@settings(max_examples=40, deadline=None)
@given(data=st.data(), objective=st.sampled_from(list(Objective)))
def test_fast_plans_are_valid(constrained_problems, data, objective):
    problem = data.draw(constrained_problems())
    try:
        found = optimise(problem, objective, Method.FAST)
    except PlacementError:  # nothing within the limits was found
        return
    assert broken_rule(problem, found.plan) is None
    assert found.value == pytest.approx(evaluate(problem, found.plan, objective))
    assert found.bound <= found.value * (1 + 1e-9)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), units=st.integers(1, 24), devices=st.integers(1, 4), objective=st.sampled_from(ALL))
def test_fast_is_never_worse_than_greedy(problem_of, seed, units, devices, objective):
    problem = problem_of(seed, units, devices)
    found = optimise(problem, objective, Method.FAST)
    for plan in (hetero(problem), onnxruntime(problem)):
        assert broken_rule(problem, plan) is None
    assert found.value <= evaluate(problem, onnxruntime(problem), objective) * (1 + 1e-9)


@pytest.mark.parametrize("seed", range(12))
def test_bounds_hold_and_fast_is_near(problem_of, seed):
    problem = problem_of(seed, 9, 2 + seed % 3)
    exact = optimise(problem, Objective.ADDITIVE, Method.EXACT)
    fast = optimise(problem, Objective.ADDITIVE, Method.FAST)
    assert exact.gap == pytest.approx(0, abs=1e-6)
    assert fast.bound <= exact.value * (1 + 1e-9) <= fast.value * (1 + 1e-7)
    assert fast.value <= exact.value * 1.05


@pytest.mark.parametrize("seed", range(8))
def test_minimum_cut_is_the_least_energy(problem_of, seed):
    problem = Labelling.of(problem_of(seed, 10, 2))
    value, labels = minimum_cut(problem)
    every = (np.array([number >> unit & 1 for unit in range(10)]) for number in range(1024))
    assert value == pytest.approx(min(problem.energy(labels) for labels in every))
    assert problem.energy(labels) == pytest.approx(value)


def test_minimum_cut_as_a_solver(problem_of):
    problem = problem_of(3, 200, 2)
    found = optimise(problem, Objective.ADDITIVE, Method.MINCUT)
    assert found.method is Method.MINCUT
    assert broken_rule(problem, found.plan) is None
    assert found.gap < 0.1
    with pytest.raises(PlacementError, match="cannot minimise latency"):
        optimise(problem, Objective.LATENCY, Method.MINCUT)
    with pytest.raises(ConfigError, match="between two devices"):
        optimise(problem_of(3, 20, 3), Objective.ADDITIVE, Method.MINCUT)


def test_auto_proves_more_than_fast(problem_of):
    for units, devices in ((10, 3), (100, 3), (300, 2)):
        problem = problem_of(units, units, devices)
        fast, auto = (optimise(problem, Objective.ADDITIVE, method) for method in (Method.FAST, Method.AUTO))
        assert auto.gap <= fast.gap
        assert auto.value <= fast.value * (1 + 1e-9)


def test_energy_is_its_own_objective(problem_of, least):
    rng = np.random.default_rng(0)
    problem = problem_of(1, 5, 2, joules=rng.uniform(0, 1, (5, 2)), joule_per_byte=rng.uniform(0, 0.2, (2, 2)))
    found = optimise(problem, Objective.ENERGY, Method.EXACT)
    assert found.value == pytest.approx(least(problem, Objective.ENERGY))
    with pytest.raises(PlacementError, match="energy"):
        optimise(problem_of(1, 5, 2), Objective.ENERGY)


def test_a_group_of_one_device_is_taken_whole_or_not_at_all(problem_of):
    problem = problem_of(0, 12, 2, refused=0.0, groups=(Group(tuple(range(2, 9)), 1),))
    for price, members in ((-10.0, 7), (10.0, 0)):
        cost = problem.cost.copy()
        cost[2:5, 1] = 5.0  # dear alone, worth it with the rest
        cost[5:9] = 20.0, 20.0 + price
        changed = replace(problem, cost=cost)
        for method in (Method.EXACT, Method.FAST):
            plan = optimise(changed, Objective.ADDITIVE, method).plan
            assert broken_rule(changed, plan) is None
            assert (plan.devices[2:9] == 1).sum() == members


def test_impossible_limits(problem_of):
    pins = {0: 0, 1: 1, 2: 0}
    problem = problem_of(0, 3, 2, refused=0.0, pins=pins, max_parts=1)
    for method in (Method.EXACT, Method.FAST):
        with pytest.raises(PlacementError, match="at most 1 parts"):
            optimise(problem, Objective.ADDITIVE, method)


def test_nothing_to_place(problem_of):
    found = optimise(problem_of(0, 1, 2), Objective.LATENCY)
    assert found.plan.parts == ((0,),)


def test_results_repeat(problem_of):
    problem = problem_of(5, 300, 3)
    first, second = (optimise(problem, Objective.LATENCY, Method.FAST) for _ in range(2))
    assert first.value == second.value
    assert first.plan.parts == second.plan.parts


@pytest.mark.parametrize("seed", range(4))
def test_other_orders_of_the_same_parts(problem_of, seed):
    problem = problem_of(seed, 12, 3)
    found = onnxruntime(problem)
    apart = Plan(found.devices, tuple((unit,) for unit in range(problem.size)))
    end, urgent = urgent_first(problem, apart)
    patient = reordered(problem, urgent)
    assert end == pytest.approx(evaluate(problem, urgent, Objective.LATENCY))
    assert evaluate(problem, patient, Objective.LATENCY) <= end * (1 + 1e-9)
    for plan in (urgent, patient):
        assert broken_rule(problem, plan) is None
        assert sorted(plan.parts) == sorted(apart.parts)


def test_a_device_waits_for_what_is_urgent():
    """0 feeds a long way over the other device; 1 is long, ready at once, and can wait until 3 is done."""
    cost = np.array([[1.0, np.inf], [8.0, np.inf], [np.inf, 2.0], [1.0, np.inf], [np.inf, 9.0]])
    tensors = Tensors.of([(0, [1, 2], 1.0), (2, [3], 1.0), (3, [4], 1.0)])
    problem = PartitionProblem(cost, np.zeros(2), tensors, np.zeros((2, 2)), np.full((2, 2), 1e-6))
    found = optimise(problem, Objective.LATENCY, Method.FAST)
    assert found.value == pytest.approx(13.0, abs=1e-4)
