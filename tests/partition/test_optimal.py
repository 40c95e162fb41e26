"""Placement by cost: transfers and launches count, equals keep the user's order, outputs stay the same."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepseek_core.cost import Basis, Cost
from deepseek_core.errors import BackendError, ConfigError, PlacementError
from deepseek_core.partition import (
    Link,
    Method,
    Objective,
    OptimalSolver,
    PreferenceSolver,
    TransferModel,
    place,
    split,
)
from deepseek_core.placement import Claim
from deepseek_core.reference import evaluate
from deepseek_core.scheme import DType
from deepseek_core.target import OpRule, Target

F32 = DType.FLOAT32


def priced(seconds):
    """A cost hook: seconds of each unit by name, measured; 1 where none is given."""
    return lambda units: Cost.of(sum(seconds.get(unit.name, 1.0) for unit in units), Basis.MEASURED, joules=1.0)


@pytest.fixture
def chain(builder):
    """relu → erf → neg over 4,000 bytes"""
    y = builder.op("Relu", builder.input("x", (1000,)), name="relu")
    y = builder.op("Erf", y, name="erf")
    return builder.model(builder.op("Neg", y, name="neg"))


def homes(placement):
    return [target.backend for target in placement.units.values()]


@pytest.mark.parametrize(("bandwidth", "expected"), [(1e6, ["cpu", "npu", "cpu"]), (1e3, ["cpu"] * 3)])
def test_transfers_decide(chain, fake_backend, bandwidth, expected):
    npu = fake_backend("npu", any_float=True, bandwidth=bandwidth, cost=priced({"erf": 0.5, "relu": 3, "neg": 3}))
    cpu = fake_backend("cpu", any_float=True, cost=priced({"erf": 2}))
    placement = place(chain, [npu, cpu])
    assert homes(placement) == expected
    assert placement.gap == pytest.approx(0, abs=1e-9)
    assert placement.optimality.value == pytest.approx(placement.cost.seconds)
    assert placement.optimality.objective == "latency"


def test_launches_decide(chain, fake_backend):
    for launch, expected in ((0.1, ["cpu", "npu", "cpu"]), (2.0, ["cpu"] * 3)):
        both = {"npu": {"erf": 0.5 + launch, "relu": 3 + launch, "neg": 3 + launch}, "cpu": {"erf": 2.0}}
        npu = fake_backend("npu", any_float=True, launch=launch, cost=priced(both["npu"]))
        cpu = fake_backend("cpu", any_float=True, cost=priced(both["cpu"]))
        assert homes(place(chain, [npu, cpu])) == expected


def test_equals_keep_the_users_order(chain, fake_backend):
    first, second = fake_backend("first", any_float=True), fake_backend("second", any_float=True)
    assert homes(place(chain, [first, second])) == ["first"] * 3
    assert homes(place(chain, [second, first])) == ["second"] * 3


def test_one_target_is_not_optimised(chain, fake_backend):
    placement = place(chain, [fake_backend(any_float=True)])
    assert placement.gap is None
    assert placement.optimality is None


def test_measured_links_replace_the_estimate(chain, fake_backend):
    npu = fake_backend("npu", any_float=True, cost=priced({"erf": 0.5}))
    cpu = fake_backend("cpu", any_float=True, cost=priced({"erf": 2, "relu": 0.1, "neg": 0.1}))
    slow = Link(10.0, 1e9)
    transfers = TransferModel({(cpu[1], npu[1]): slow, (npu[1], cpu[1]): slow})
    assert homes(place(chain, [npu, cpu])) == ["cpu", "npu", "cpu"]
    assert len(set(homes(place(chain, [npu, cpu], transfers=transfers)))) == 1
    pinned = place(chain, [npu, cpu], {"erf": npu[1], "relu": cpu[1], "neg": cpu[1]}, transfers=transfers)
    assert pinned.cost.basis == "measured"
    assert pinned.cost.seconds == pytest.approx(0.1 + 0.5 + 0.1 + 2 * (10 + 4000 / 1e9))
    for wrong in ((-1.0, 1.0), (0.0, 0.0), (float("nan"), 1.0)):
        with pytest.raises(ConfigError, match="a link of"):
            Link(*wrong)


def test_codes_are_what_crosses(builder, fake_backend):
    """Behind a Q the border costs a byte an element, a quarter of float32."""
    x = builder.input("x", (1000,))
    y = builder.op("Relu", builder.dq(builder.q(x, name="q")), name="relu")
    model = builder.model(builder.op("Neg", builder.dq(builder.q(y, name="q2")), name="neg"))
    rules = [OpRule(op, F32, F32) for op in ("Relu", "Neg", "QuantizeLinear")]
    npu, cpu = fake_backend("npu", rules, claim=one("relu")), fake_backend("cpu", claim=all_but("relu"), bandwidth=1e6)
    cost = place(model, [npu, cpu]).cost
    alone = place(model, [fake_backend("cpu", claim=all_but(), bandwidth=1e6)]).cost
    assert cost.bytes - alone.bytes == 2000


def one(*names):
    return all_but(*names, inverted=True)


def all_but(*names, inverted=False):
    def claim(model, target, refuse):
        taken = [u for u in model.units() if (u.name in names) == inverted]
        for unit in model.units():
            if unit not in taken and unit.name not in {t.name for t in taken}:
                refuse(unit, "not mine")
        return [Claim(target, (unit.name,)) for unit in taken]

    return claim


def test_limits(chain, fake_backend):
    npu = fake_backend("npu", any_float=True, cost=priced({"erf": 0.1}))
    cpu = fake_backend("cpu", any_float=True, cost=priced({"erf": 5, "relu": 0.1, "neg": 0.1}))
    assert len(place(chain, [npu, cpu]).parts) == 3
    for parts in (1, 2):
        placement = place(chain, [npu, cpu], solver=OptimalSolver(max_parts=parts))
        assert len(placement.parts) == parts
    pins = {"relu": cpu[1], "erf": npu[1], "neg": cpu[1]}
    with pytest.raises(PlacementError, match="at most 2 parts is possible"):
        place(chain, [npu, cpu], pins, OptimalSolver(max_parts=2))


def test_energy(chain, fake_backend):
    hot = fake_backend("hot", any_float=True, cost=lambda units: Cost.of(0.1, Basis.MEASURED, joules=9.0))
    cool = fake_backend("cool", any_float=True, cost=lambda units: Cost.of(1.0, Basis.MEASURED, joules=1.0))
    assert homes(place(chain, [hot, cool])) == ["hot"] * 3
    assert homes(place(chain, [hot, cool], solver=OptimalSolver(Objective.ENERGY))) == ["cool"] * 3
    with pytest.raises(PlacementError, match="no target tells the energy"):
        place(chain, [hot, fake_backend("dumb", any_float=True)], solver=OptimalSolver(Objective.ENERGY))


def test_costs_that_are_none(chain, fake_backend):
    for wrong in (-1.0, float("nan")):
        bad = fake_backend("bad", any_float=True, cost=lambda units, wrong=wrong: Cost.of(wrong, Basis.MEASURED))
        with pytest.raises(BackendError, match="cost of"):
            place(chain, [bad, fake_backend("cpu", any_float=True)])


def random_model(new, rng):
    b = new()
    values = [b.input("x", (2, 3))]
    for _ in range(rng.randint(1, 14)):
        one, other = rng.choice(values[-5:]), rng.choice(values[-5:])
        if rng.random() < 0.3:
            one = b.dq(b.q(one, 0.05), 0.05)
        values.append(b.op(rng.choice(["Relu", "Neg"]), one) if rng.random() < 0.5 else b.op("Add", one, other))
    return b.model(*[v for v in values if v.producer() is not None and not v.uses()])


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([Method.FAST, Method.AUTO]), st.sampled_from(list(Objective)[:3]))
def test_any_placement_computes_the_same(new_builder, fake_backend, seed, method, objective):
    rng = random.Random(seed)
    model = random_model(new_builder, rng)
    names = [unit.name for unit in model.units()]
    targets = []
    for number in range(rng.randint(2, 3)):
        refused = [name for name in names if number and rng.random() < 0.3]
        costs = {name: rng.random() for name in names}
        targets.append(fake_backend(f"t{number}", claim=all_but(*refused), cost=priced(costs), bandwidth=100.0))
    pins = {rng.choice(names): Target("t0", "chip")}
    solver = OptimalSolver(objective, method, seconds=1.0)
    placement = place(model, targets, pins, solver)
    assert all(placement.units[name] == target for name, target in pins.items())
    assert placement.optimality.bound <= placement.optimality.value * (1 + 1e-9)
    greedy = place(model, targets, pins, PreferenceSolver())
    if objective is Objective.ADDITIVE:
        assert placement.cost.seconds <= greedy.cost.seconds * (1 + 1e-9)
    feeds = {"x": np.random.default_rng(seed).normal(size=(2, 3)).astype(np.float32)}
    values = dict(feeds)
    for part in split(model, placement):
        values |= evaluate(part.model, {info.name: values[info.name] for info in part.model.inputs})
    for name, value in evaluate(model, feeds).items():
        np.testing.assert_array_equal(values[name], value)
