"""Splitting: codes cross borders, bodies keep what they capture, and the parts together are the whole model."""

import random

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepseek_core.errors import ModelError, PlacementError
from deepseek_core.partition import place, split
from deepseek_core.placement import Claim, Placement
from deepseek_core.reference import evaluate
from deepseek_core.target import Target

CPU, NPU = Target("cpu", "chip"), Target("npu", "chip")


def placement(*parts):
    """`("npu", "a", "b")` → units a and b on npu."""
    units = {name: Target(backend, "chip") for backend, *names in parts for name in names}
    return Placement(units, tuple(tuple(names) for _, *names in parts))


def chain(parts, feeds):
    values = dict(feeds)
    for part in parts:
        values |= evaluate(part.model, {info.name: values[info.name] for info in part.model.inputs})
    return values


def test_codes_cross_the_border(builder):
    x = builder.input("x", (1, 4))
    w = builder.dq(builder.constant("w", np.eye(4, dtype=np.int8)))
    y = builder.op("MatMul", builder.dq(builder.q(x, name="q")), w, name="mm")
    z = builder.op("Relu", builder.dq(builder.q(y, name="qy")), name="relu")
    parts = split(builder.model(z), placement(("cpu", "q"), ("npu", "mm"), ("cpu", "relu")))
    borders = [([i.name for i in p.model.inputs], [(o.name, o.dtype) for o in p.model.outputs]) for p in parts]
    assert borders == [
        (["x"], [("q_out", "int8")]),
        (["q_out"], [("qy_out", "int8")]),
        (["qy_out"], [("relu_out", "float32")]),
    ]
    assert [p.name for p in parts] == ["part0_cpu", "part1_npu", "part2_cpu"]
    assert [p.target for p in parts] == [CPU, NPU, CPU]


def test_constants_are_duplicated_and_shared(builder):
    x = builder.input("x", (2,))
    c = builder.constant("c", np.ones(2, np.float32))
    builder.constant("unused", np.ones(2, np.float32))
    model = builder.model(builder.op("Add", builder.op("Mul", x, c, name="mul"), c, name="add"))
    first, second = split(model, placement(("cpu", "mul"), ("npu", "add")))
    for part in (first, second):
        assert list(part.model.graph.initializers) == ["c"]
        assert part.model.graph.initializers["c"].const_value is c.const_value


def test_model_is_not_changed(builder):
    x = builder.input("x", (2,))
    model = builder.model(builder.op("Relu", builder.op("Neg", x, name="neg"), name="relu"))
    before = model.digest()
    for part in split(model, placement(("cpu", "neg"), ("npu", "relu"))):
        part.model.graph.node(0).name = "changed"
    assert model.digest() == before


def test_inputs_and_outputs_keep_the_models_order(builder):
    a, b, c = (builder.input(n, (2,)) for n in "abc")
    x = builder.op("Add", c, b, name="x")
    y = builder.op("Add", b, a, name="y")
    (part,) = split(builder.model(y, x), placement(("cpu", "x", "y")))
    assert [i.name for i in part.model.inputs] == ["a", "b", "c"]
    assert [o.name for o in part.model.outputs] == ["y_out", "x_out"]


def test_passed_through_outputs_are_in_no_part(builder):
    x = builder.input("x", (2,))
    c = builder.constant("c", np.ones(2, np.float32))
    y = builder.op("Relu", x, name="relu")
    (part,) = split(builder.model(y, x, c), placement(("cpu", "relu")))
    assert [o.name for o in part.model.outputs] == ["relu_out"]


def test_inner_outputs_of_a_model_leave_their_part(builder):
    x = builder.input("x", (2,))
    y = builder.op("Relu", x, name="relu")
    model = builder.model(builder.op("Neg", y, name="neg"), y)
    (part,) = split(model, placement(("cpu", "relu", "neg")))
    assert [o.name for o in part.model.outputs] == ["neg_out", "relu_out"]


def test_captured_values_become_inputs(builder, new_builder):
    x, cond = builder.input("x", (2,)), builder.input("cond", (), ir.DataType.BOOL)
    c = builder.constant("c", np.full(2, 3, np.float32))
    y = builder.op("Neg", x, name="neg")
    nested = []
    for name in ("yes", "no"):
        leaf = new_builder()
        nested.append(leaf.graph([leaf.op("Mul", y, c, name=f"mul_{name}")], name=name))
    then = new_builder()
    inner = then.op("If", cond, name="inner", shape=(2,), then_branch=nested[0], else_branch=nested[1])
    other = new_builder()
    bodies = then.graph([inner], "then"), other.graph([other.op("Add", x, x, name="add")], "else")
    z = builder.op("If", cond, name="if", shape=(2,), then_branch=bodies[0], else_branch=bodies[1])
    model = builder.model(z)
    parts = split(model, placement(("npu", "neg"), ("cpu", "if")))
    assert [i.name for i in parts[1].model.inputs] == ["x", "cond", "neg_out"]
    assert list(parts[1].model.graph.initializers) == ["c"]
    for flag in (True, False):
        feeds = {"x": np.array([1, -2], np.float32), "cond": np.array(flag)}
        np.testing.assert_array_equal(chain(parts, feeds)["if_out"], evaluate(model, feeds)["if_out"])


def test_symbolic_dimensions_survive(builder):
    x = builder.input("x", ("N", 3))
    model = builder.model(builder.op("Relu", builder.op("Neg", x, name="neg"), name="relu"))
    parts = split(model, placement(("cpu", "neg"), ("npu", "relu")))
    assert parts[1].model.inputs[0].shape == ("N", 3)


@pytest.mark.parametrize(
    "wrong",
    [
        placement(("cpu", "neg")),
        placement(("cpu", "neg", "relu", "other")),
        placement(("cpu", "neg"), ("cpu", "neg"), ("cpu", "relu")),
        placement(("cpu", "relu"), ("npu", "neg")),
        placement(("cpu", "neg", "relu"), ("npu",)),
        Placement({"neg": CPU, "relu": NPU}, (("neg", "relu"),)),
        Placement({"neg": CPU}, (("neg", "relu"),)),
    ],
)
def test_placement_of_another_model(builder, wrong):
    x = builder.input("x", (2,))
    model = builder.model(builder.op("Relu", builder.op("Neg", x, name="neg"), name="relu"))
    with pytest.raises(PlacementError, match="compile the model again"):
        split(model, wrong)


def test_border_of_unknown_type(builder):
    x = builder.input("x", (2,))
    y = builder.op("Neg", x, name="neg")
    model = builder.model(builder.op("Relu", y, name="relu"))
    y.type = None
    with pytest.raises(ModelError, match="'neg_out' crosses between parts and its type is unknown"):
        split(model, placement(("cpu", "neg"), ("npu", "relu")))


def test_dead_part(builder):
    x = builder.input("x", (2,))
    builder.op("Neg", x, name="neg")
    model = builder.model(builder.op("Relu", x, name="relu"))
    with pytest.raises(ModelError, match="nothing needs what 'neg' computes"):
        split(model, placement(("cpu", "neg"), ("npu", "relu")))


def random_model(new, rng):
    """A DAG over [2, 3] tensors with QDQ pairs, shared constants, several outputs and an If that captures."""
    b = new()
    floats = [b.input(f"in{i}", (2, 3)) for i in range(rng.randint(1, 2))]
    cond = b.input("cond", (), ir.DataType.BOOL)
    shared = b.constant("shared", np.float32(rng.uniform(-1, 1)) * np.ones((2, 3), np.float32))
    floats.append(shared)
    for number in range(rng.randint(1, 12)):
        x, y = rng.choice(floats), rng.choice(floats)
        match rng.randrange(6):
            case 0:
                floats.append(b.op(rng.choice(["Relu", "Neg", "Sigmoid"]), x))
            case 1:
                floats.append(b.op(rng.choice(["Add", "Mul", "Sub"]), x, y))
            case 2:
                codes = b.q(x, 0.05, rng.randint(-5, 5))
                floats.append(b.op("Relu", b.dq(codes, 0.05, 1)))
            case 3:
                w = b.dq(b.constant(f"w{number}", np.arange(9, dtype=np.int8).reshape(3, 3) - 4), 0.1)
                out = b.op("MatMul", b.dq(b.q(x, 0.03), 0.03), w, shape=(2, 3))
                floats.append(b.dq(b.q(out, 0.1), 0.1))
            case 4:
                bodies = []
                for i in range(2):
                    body = new()
                    bodies.append(body.graph([body.op("Add", x, (y, shared)[i], name=f"body{number}_{i}")], f"b{i}"))
                floats.append(b.op("If", cond, shape=(2, 3), then_branch=bodies[0], else_branch=bodies[1]))
            case 5:
                floats.extend(
                    b.op("Split", b.op("Concat", x, y, axis=0, shape=(4, 3)), shape=(2, 3), outputs=2, num_outputs=2)
                )
    if all(v.producer() is None for v in floats):
        floats.append(b.op("Relu", floats[0]))
    dead = [v for v in floats if v.producer() is not None and not v.uses()]
    also = [v for v in floats if v.producer() is not None and rng.random() < 0.1]
    return b.model(*dict.fromkeys(dead + also))


@settings(max_examples=120, deadline=None)
@given(st.integers(0, 2**32))
def test_parts_in_order_are_the_whole_model(new_builder, fake_backend, seed):
    rng = random.Random(seed)
    model = random_model(new_builder, rng)
    homes = {unit.name: rng.randrange(3) for unit in model.units()}

    def claims_of(number):
        def claim(model, target, refuse):
            for unit in model.units():
                if homes[unit.name] != number:
                    refuse(unit, "another target's")
            return [Claim(target, (name,)) for name, home in homes.items() if home == number]

        return claim

    found = place(model, [fake_backend(f"t{i}", claim=claims_of(i)) for i in range(3)])
    parts = split(model, found)
    assert sorted(name for names in found.parts for name in names) == sorted(homes)
    assert sum(len(part.model.graph) for part in parts) == len(model.graph)
    numbers = np.random.default_rng(seed)
    feeds = {i.name: numbers.normal(size=(2, 3)).astype(np.float32) for i in model.inputs if i.name != "cond"}
    feeds["cond"] = np.array(rng.random() < 0.5)
    whole, pieces = evaluate(model, feeds), chain(parts, feeds)
    for name, value in whole.items():
        np.testing.assert_array_equal(pieces[name], value, err_msg=name)
