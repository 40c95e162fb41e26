"""What a problem refuses, and what plans cost by hand."""

from dataclasses import replace

import numpy as np
import pytest

from deepseek_core.errors import ConfigError, PlacementError
from deepseek_core.partition.optimize import (
    Group,
    Objective,
    PartitionProblem,
    Plan,
    Tensors,
    broken_rule,
    evaluate,
)
from deepseek_core.partition.optimize.parts import form_parts

DIAMOND = Tensors.of([(0, [1, 2], 10.0), (1, [3], 20.0), (2, [3], 30.0)])


@pytest.fixture
def diamond():
    """0 → (1, 2) → 3 on two devices; moving a byte takes 0.1 s and every transfer one second more."""
    cost = np.array([[1.0, 2.0], [4.0, 3.0], [5.0, 8.0], [2.0, np.inf]])
    return PartitionProblem(cost, np.array([0.5, 0.25]), DIAMOND, np.ones((2, 2)), np.full((2, 2), 0.1))


def plan(devices, *parts):
    return Plan(np.array(devices), parts)


def test_costs_by_hand(diamond):
    split = plan([0, 1, 0, 0], (0,), (1,), (2,), (3,))
    assert evaluate(diamond, split, Objective.ADDITIVE) == pytest.approx(1 + 3 + 5 + 2 + 3 * 0.5 + 0.25 + 2 + 3)
    # 0 ends at 1.5; 1 runs from 3.5 to 6.75, its result is back at 9.75; 2 ends at 7; 3 needs 2.5 more.
    assert evaluate(diamond, split, Objective.LATENCY) == pytest.approx(12.25)
    assert evaluate(diamond, split, Objective.THROUGHPUT) == pytest.approx(1 + 5 + 2 + 1.5)
    together = plan([0, 0, 0, 0], (0, 1, 2, 3))
    assert {evaluate(diamond, together, o) for o in (Objective.ADDITIVE, Objective.LATENCY)} == {12.5}


def test_a_tensor_goes_to_a_device_once():
    problem = PartitionProblem(
        np.ones((3, 2)), np.zeros(2), Tensors.of([(0, [1, 2, 2], 8.0)]), np.zeros((2, 2)), np.ones((2, 2))
    )
    assert evaluate(problem, plan([0, 1, 1], (0,), (1, 2)), Objective.ADDITIVE) == 3 + 8


def test_what_plans_must_not_do(diamond):
    assert broken_rule(diamond, plan([0, 1, 0, 0], (0, 2), (1,), (3,))) is None
    assert "reads what a later part" in broken_rule(diamond, plan([0, 1, 0, 0], (0, 2, 3), (1,)))
    assert "several devices" in broken_rule(diamond, plan([0, 1, 0, 0], (0, 1, 2, 3)))
    assert "each unit once" in broken_rule(diamond, plan([0, 0, 0, 0], (0, 1, 2)))
    assert "refuses" in broken_rule(diamond, plan([0, 0, 0, 1], (0, 1, 2), (3,)))
    grouped = replace(diamond, groups=(Group((1, 2)),), max_parts=2)
    assert "apart" in broken_rule(grouped, plan([0, 0, 0, 0], (0, 1), (2, 3)))
    assert "3 parts" in broken_rule(grouped, plan([0, 0, 0, 0], (0,), (1, 2), (3,)))
    full = replace(diamond, footprint=np.full(4, 10.0), memory=np.array([25.0, np.inf]))
    assert "would hold 40 bytes" in broken_rule(full, plan([0] * 4, (0, 1, 2, 3)))


def test_parts_are_few(diamond):
    assert form_parts(diamond, np.array([0, 1, 0, 0])) == ((0, 2), (1,), (3,))
    assert form_parts(diamond, np.array([1, 1, 0, 0])) == ((0, 1), (2, 3))


@pytest.mark.parametrize("value", [-1.0, np.nan, -np.inf])
def test_costs_that_are_no_costs(diamond, value):
    cost = diamond.cost.copy()
    cost[1, 1] = value
    with pytest.raises(PlacementError, match=r"'b' costs .* on npu; give a cost") as caught:
        replace(diamond, cost=cost, names=("a", "b", "c", "d"), devices=("cpu", "npu"))
    assert "\n" not in str(caught.value)


def test_pins_and_refusals_that_contradict(diamond):
    with pytest.raises(PlacementError, match="'unit 3' is pinned to device 1, which refuses it; move the pin"):
        replace(diamond, pins={3: 1})
    with pytest.raises(PlacementError, match="'unit 3' runs on no chosen target"):
        replace(diamond, cost=np.where(np.arange(4)[:, None] == 3, np.inf, diamond.cost))


@pytest.mark.parametrize(
    "change",
    [
        {"launch": np.zeros(3)},
        {"latency": np.zeros((2, 3))},
        {"max_parts": 0},
        {"names": ("a",)},
        {"tensors": Tensors.of([(2, [1], 1.0)])},
    ],
)
def test_arrays_that_do_not_fit(diamond, change):
    with pytest.raises(ConfigError):
        replace(diamond, **change)


@pytest.mark.parametrize(
    "change",
    [
        {"launch": np.array([-1.0, 0.0])},
        {"second_per_byte": np.full((2, 2), np.inf)},
        {"joules": np.full((4, 2), np.nan)},
    ],
)
def test_figures_that_are_none(diamond, change):
    with pytest.raises(PlacementError, match="give"):
        replace(diamond, **change)
