"""Every placement, whatever is asked: no cycles, pins, groups and limits kept, the same outputs, bodies whole."""

import random

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepseek_core.cost import Basis, Cost
from deepseek_core.errors import PlacementError
from deepseek_core.ir.model import QuantizedModel
from deepseek_core.partition import Method, Objective, OptimalSolver, PreferenceSolver, place, split
from deepseek_core.partition.graph import UnitGraph
from deepseek_core.partition.roofline import constant_bytes
from deepseek_core.placement import Claim
from deepseek_core.reference import evaluate
from deepseek_core.target import Target

SHAPE = (2, 3)


def value(name, dtype=ir.DataType.FLOAT, shape=SHAPE):
    return ir.Value(name=name, shape=ir.Shape(shape), type=ir.TensorType(dtype))


def branch(name, op, captured):
    """A body of one op on a value of the outer graph."""
    node = ir.node(op, [captured], name=name)
    node.outputs[0].name = f"{name}_out"
    node.outputs[0].shape, node.outputs[0].type = ir.Shape(SHAPE), ir.TensorType(ir.DataType.FLOAT)
    return ir.Graph([], [node.outputs[0]], nodes=[node], opset_imports={"": 21}, name=name)


def random_network(rng):
    """Ops on earlier values, with constants, and now and then an If whose bodies capture values."""
    x, choice = value("x"), value("choice", ir.DataType.BOOL, ())
    values, nodes, constants = [x], [], []
    for number in range(rng.randint(2, 12)):
        one, other = rng.choice(values[-4:]), rng.choice(values[-4:])
        kind = rng.random()
        if kind < 0.2:
            bodies = {
                "then_branch": branch(f"then{number}", "Neg", one),
                "else_branch": branch(f"else{number}", "Abs", other),
            }
            node = ir.node("If", [choice], attributes=bodies, name=f"if{number}")
        elif kind < 0.4:
            array = np.full(SHAPE, number, np.float32)
            tensor = ir.tensor(array, name=f"c{number}")
            constant = value(f"c{number}")
            constant.const_value = tensor
            constants.append(constant)
            node = ir.node("Add", [one, constant], name=f"add{number}")
        elif kind < 0.7:
            node = ir.node("Mul", [one, other], name=f"mul{number}")
        else:
            node = ir.node(rng.choice(["Neg", "Abs", "Erf"]), [one], name=f"op{number}")
        out = node.outputs[0]
        out.name, out.shape, out.type = f"v{number}", ir.Shape(SHAPE), ir.TensorType(ir.DataType.FLOAT)
        nodes.append(node)
        values.append(out)
    ends = [v for v in values[1:] if not v.uses()]
    graph = ir.Graph([x, choice], ends, nodes=nodes, initializers=constants, opset_imports={"": 21}, name="random")
    return QuantizedModel(ir.Model(graph, ir_version=10))


def claiming(rng, model, target_name, everything):
    """Claims with refusals, and a convex group of two neighbours."""
    graph = UnitGraph(model)
    refused = set() if everything else {u.name for u in graph.units if rng.random() < 0.25}
    group = ()
    pairs = [(a, b) for b, before in enumerate(graph.predecessors) for a in before if graph.is_convex((a, b))]
    if pairs and rng.random() < 0.6:
        group = tuple(graph.units[i].name for i in rng.choice(pairs))
        group = () if refused & set(group) else group

    def claim(model, target, refuse):
        for unit in model.units():
            if unit.name in refused:
                refuse(unit, "not mine")
        alone = [u.name for u in model.units() if u.name not in refused and u.name not in group]
        return [*(Claim(target, (name,)) for name in alone), *([Claim(target, group)] if group else [])]

    return claim, group


def check(model, placement, groups, pins):
    graph = UnitGraph(model)
    home = {name: number for number, names in enumerate(placement.parts) for name in names}
    assert sorted(home) == sorted(graph.index)
    for unit, before in enumerate(graph.predecessors):
        assert all(home[graph.units[b].name] <= home[graph.units[unit].name] for b in before)
    for names in placement.parts:
        assert len({placement.units[name] for name in names}) == 1
    for target, group in groups:
        if group and any(placement.units[name] == target for name in group):
            assert {placement.units[name] for name in group} == {target}
            assert len({home[name] for name in group}) == 1
    assert all(placement.units[name] == target for name, target in pins.items())


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32),
    st.sampled_from([Method.FAST, Method.AUTO, Method.EXACT, None]),
    st.sampled_from(list(Objective)),
    st.sampled_from([None, None, 1, 3]),
)
def test_placements_keep_everything(fake_backend, seed, method, objective, max_parts):
    rng = random.Random(seed)
    model = random_network(rng)
    names = [unit.name for unit in model.units()]
    targets, groups = [], []
    for number in range(rng.randint(2, 3)):
        claim, group = claiming(rng, model, f"t{number}", number == 0)
        costs = {name: rng.random() for name in names}

        def cost(units, costs=costs):
            total = sum(costs[unit.name] for unit in units)
            return Cost.of(total, Basis.MEASURED, joules=total * 3)

        targets.append(fake_backend(f"t{number}", claim=claim, cost=cost, bandwidth=200.0))
        groups.append((targets[-1][1], group))
    pinned = rng.choice(names)
    pins = {pinned: Target("t0", "chip")} if rng.random() < 0.5 and pinned not in groups[0][1] else {}
    total = sum(constant_bytes(unit) for unit in model.units())
    memory = {Target("t1", "chip"): rng.randint(0, total)} if total and rng.random() < 0.4 else {}
    solver = PreferenceSolver() if method is None else OptimalSolver(objective, method, max_parts, memory, seconds=1.0)
    try:
        placement = place(model, targets, pins, solver)
    except PlacementError:
        if max_parts is None and not memory and not any(group for _, group in groups):
            raise
        return
    check(model, placement, groups, pins)
    if method is not None:
        assert max_parts is None or len(placement.parts) <= max_parts
        for target, limit in memory.items():
            units = [unit for unit in model.units() if placement.units[unit.name] == target]
            assert sum(map(constant_bytes, units)) <= limit
        if placement.optimality is not None:
            assert placement.optimality.bound <= placement.optimality.value * (1 + 1e-9)
    feeds = {
        "x": np.random.default_rng(seed).normal(size=SHAPE).astype(np.float32),
        "choice": np.array(seed % 2 == 0),
    }
    expected, values = evaluate(model, feeds), dict(feeds)
    for part in split(model, placement):
        values |= evaluate(part.model, {info.name: values[info.name] for info in part.model.inputs})
    for name, array in expected.items():
        np.testing.assert_array_equal(values[name], array)


def test_constants_of_bodies_count(builder):
    weight = value("w", shape=(1000,))
    weight.const_value = ir.tensor(np.zeros(1000, np.float32), name="w")
    node = ir.node("Neg", [weight], name="inner")
    node.outputs[0].name = "inner_out"
    body = ir.Graph([], [node.outputs[0]], nodes=[node], initializers=[weight], opset_imports={"": 21}, name="b")
    choice = value("choice", ir.DataType.BOOL, ())
    other = branch("else", "Neg", builder.input("x", SHAPE))
    unit = ir.node("If", [choice], attributes={"then_branch": body, "else_branch": other}, name="if")
    unit.outputs[0].name = "y"
    graph = ir.Graph([choice, builder.inputs[0]], [unit.outputs[0]], nodes=[unit], opset_imports={"": 21}, name="g")
    (only,) = QuantizedModel(ir.Model(graph, ir_version=10)).units()
    assert constant_bytes(only) == 4000


@pytest.mark.parametrize("control_flow", [True, False])
def test_bodies_go_where_control_flow_runs(fake_backend, control_flow):
    model = random_network(random.Random(4))
    ifs = [unit.name for unit in model.units() if unit.op == "If"]
    assert ifs
    first = fake_backend("first", any_float=True, control_flow=control_flow)
    placement = place(model, [first, fake_backend("cpu", any_float=True, control_flow=True)], solver=PreferenceSolver())
    assert {placement.units[name].backend for name in ifs} == {"first" if control_flow else "cpu"}
    if not control_flow:
        refusal = next(r for r in placement.refusals if r.unit == ifs[0])
        assert "no control flow" in refusal.reason
        assert "condition or trip count" in refusal.change
