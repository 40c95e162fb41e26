"""Gates: coverage counts multiply-accumulates, and what is missed says why."""

import numpy as np
import pytest

from deepseek_core.errors import ConfigError, GateError
from deepseek_core.partition import Gates, OptimalSolver, PreferenceSolver, coverage, place, unmet
from deepseek_core.partition.graph import UnitGraph
from deepseek_core.placement import Claim, Placement
from deepseek_core.target import Target

A, B = Target("a", "chip"), Target("b", "chip")


def only(*ops):
    def claim(model, target, refuse):
        for unit in model.units():
            if unit.op not in ops:
                refuse(unit, f"no {unit.op} here", f"drop the {unit.op}")
        return [Claim(target, (unit.name,)) for unit in model.units() if unit.op in ops]

    return claim


@pytest.fixture
def products(builder):
    """Two products of 2 × 8 × 8 and 2 × 8 × 24 multiply-accumulates, with an Erf between."""
    y = builder.op("MatMul", builder.input("x", (2, 8)), builder.constant("w", np.ones((8, 8), np.float32)), name="m1")
    y = builder.op("Erf", y, name="erf", shape=(2, 8))
    w2 = builder.constant("w2", np.ones((8, 24), np.float32))
    return builder.model(builder.op("MatMul", y, w2, name="m2", shape=(2, 24)))


def on(units):
    return Placement(units, tuple((name,) for name in units))


def test_coverage_is_the_share_of_the_work(products):
    shares = coverage(UnitGraph(products), on({"m1": A, "erf": B, "m2": B}))
    assert shares == {A: pytest.approx(0.25), B: pytest.approx(0.75)}


def test_coverage_without_work_counts_units(builder):
    y = builder.op("Relu", builder.input("x", (2,)), name="r")
    model = builder.model(builder.op("Neg", y, name="n"))
    assert coverage(UnitGraph(model), on({"r": A, "n": B})) == {A: 0.5, B: 0.5}


def test_what_is_missed_says_why(products, fake_backend):
    a = fake_backend("a", claim=only("Erf"))
    cpu = fake_backend("cpu", any_float=True)
    gates = Gates(min_coverage={A: 0.5})
    message = r"a:chip runs 0.0% of the work, and 50.0% is asked: 100.0% \('m1', 'm2'\) refused, no MatMul here"
    with pytest.raises(GateError, match=message) as caught:
        place(products, [a, cpu], gates=gates)
    assert caught.value.exit_code == 1
    assert "\n" not in str(caught.value)
    assert place(products, [cpu, a], gates=Gates(min_coverage={cpu[1]: 1.0})).parts


def test_work_that_is_cheaper_elsewhere_is_named(products, fake_backend):
    slow, fast = fake_backend("a", any_float=True, launch=1.0), fake_backend("b", any_float=True)
    placement = place(products, [slow, fast])
    (sentence,) = unmet(UnitGraph(products), placement, Gates(min_coverage={A: 0.9}))
    assert "on b:chip, where the whole costs less" in sentence


def test_too_many_parts(products, fake_backend):
    a, cpu = fake_backend("a", claim=only("Erf")), fake_backend("cpu", claim=only("MatMul"))
    with pytest.raises(GateError, match=r"3 parts, and 2 are allowed: a:chip refuses 'm1', 'm2': no MatMul here; cpu"):
        place(products, [a, cpu], solver=PreferenceSolver(), gates=Gates(max_parts=2))
    message = (
        r"at most 2 parts is possible.*; without that limit it has 3 parts: a:chip refuses 'm1' \(no MatMul here\)"
    )
    with pytest.raises(GateError, match=message):
        place(products, [a, cpu], solver=OptimalSolver(max_parts=2))
    assert len(place(products, [a, cpu], gates=Gates(max_parts=3)).parts) == 3


@pytest.mark.parametrize("wrong", [{"max_parts": 0}, {"min_coverage": {A: 1.5}}, {"min_coverage": {A: float("nan")}}])
def test_gates_that_are_none(wrong):
    with pytest.raises(ConfigError):
        Gates(**wrong)
