"""Bodies of If, Loop and Scan are part of the model: canonical, verified, with what they capture."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from deepseek_core.errors import ModelError
from deepseek_core.ir.frontend import load_model
from deepseek_core.ir.qdq import is_q_or_dq
from deepseek_core.ir.units import subgraphs
from deepseek_core.ir.verify import verify
from deepseek_core.reference import evaluate

F = np.float32
QP = {"s": F(0.1), "z": np.int8(0)}
Q, DQ = "QuantizeLinear", "DequantizeLinear"


def same_values(proto, model, feeds):
    """ONNX's reference, and ours, give the same for the file and for the IR."""
    names = [o.name for o in proto.graph.output]
    before = ReferenceEvaluator(proto).run(None, feeds)
    after = ReferenceEvaluator(ir.to_proto(model.model)).run(None, feeds)
    ours = evaluate(model, feeds)
    for name, one, other in zip(names, before, after, strict=True):
        assert np.array_equal(one, other), name
        # ONNX's reference joins the scan outputs of a Loop where the specification stacks them.
        assert np.allclose(ours[name].reshape(one.shape), one, rtol=1e-6, atol=1e-6), name


@pytest.fixture
def captured_dequantizer(build, body):
    """Both branches read one DQ of the outer graph, whose codes are an outer initializer."""
    then = body([("MatMul", ["x", "wd"], ["t"])], {}, ["t"])
    other = body([("Add", ["x", "wd"], ["e"])], {}, ["e"])
    return build(
        [
            (DQ, ["w", "s", "z"], ["wd"]),
            helper.make_node("If", ["c"], ["y"], "choose", then_branch=then, else_branch=other),
        ],
        {"c": ("bool", []), "x": ("float", [3, 3])},
        ["y"],
        {**QP, "w": np.arange(9, dtype=np.int8).reshape(3, 3)},
    )


@pytest.mark.parametrize("condition", [True, False])
def test_a_captured_dequantizer_is_copied_into_each_body(captured_dequantizer, ops, condition):
    model = load_model(captured_dequantizer)
    assert ops(model) == ["If"]
    then, other = (model.graph[0].attributes[name].as_graph() for name in ("then_branch", "else_branch"))
    assert ops(then) == [DQ, "MatMul"]
    assert ops(other) == [DQ, "Add"]
    assert "w" in model.graph.initializers, "the codes stay where they were"
    (matmul,) = [u for u in model.all_units() if u.op == "MatMul"]
    assert matmul.inputs[1].qparams.scale == F(0.1)
    assert matmul.inputs[1].is_constant
    x = np.random.default_rng(0).normal(size=(3, 3)).astype(F)
    same_values(captured_dequantizer, model, {"c": np.array(condition), "x": x})


def test_outer_and_inner_readers_get_their_own_copy(build, body, ops):
    branch = body([("Neg", ["wd"], ["o"])], {}, ["o"])
    proto = build(
        [
            (DQ, ["w", "s", "z"], ["wd"]),
            ("Add", ["x", "wd"], ["v"]),
            helper.make_node("If", ["c"], ["y"], "choose", then_branch=branch, else_branch=branch),
        ],
        {"c": ("bool", []), "x": ("float", [3])},
        ["y", "v"],
        {**QP, "w": np.arange(3, dtype=np.int8)},
    )
    model = load_model(proto)
    assert ops(model) == [DQ, "Add", "If"]
    assert [ops(graph) for graph in subgraphs(model.graph[2])] == [[DQ, "Neg"], [DQ, "Neg"]]
    same_values(proto, model, {"c": np.array(True), "x": np.ones(3, F)})


def test_a_captured_pair_collapses_across_the_border(build, body, ops):
    """The outer graph dequantizes, the body quantizes again with equal parameters."""
    branch = body([(Q, ["d", "s", "z"], ["e"]), (DQ, ["e", "s", "z"], ["f"]), ("Neg", ["f"], ["o"])], {}, ["o"])
    proto = build(
        [
            (Q, ["x", "s", "z"], ["q"]),
            (DQ, ["q", "s", "z"], ["d"]),
            helper.make_node("If", ["c"], ["y"], "choose", then_branch=branch, else_branch=branch),
        ],
        {"c": ("bool", []), "x": ("float", [3])},
        ["y"],
        QP,
    )
    model = load_model(proto)
    assert ops(model) == [Q, "If"]
    assert [ops(graph) for graph in subgraphs(model.graph[1])] == [[DQ, "Neg"], [DQ, "Neg"]]
    same_values(proto, model, {"c": np.array(False), "x": np.array([0.26, -20, 20], F)})


@pytest.fixture
def loop(build, body):
    """state ← DQ(Q(state @ W)), three times, with a float weight that the body quantizes and stacked results."""
    inner = body(
        [
            (Q, ["w", "s", "z"], ["wq"]),
            (DQ, ["wq", "s", "z"], ["wd"]),
            (Q, ["state", "s", "z"], ["a"]),
            (DQ, ["a", "s", "z"], ["b"]),
            ("MatMul", ["b", "wd"], ["m"]),
            ("Relu", ["m"], ["r"]),
            (Q, ["r", "s", "z"], ["rq"]),
            (DQ, ["rq", "s", "z"], ["next"]),
            ("Identity", ["next"], ["stacked"]),
            ("Identity", ["go"], ["on"]),
        ],
        {"i": ("int64", []), "go": ("bool", []), "state": ("float", [2, 2])},
        ["on", "next", "stacked"],
        {"w": np.array([[0.5, -0.3], [0.1, 0.9]], F)},
    )
    return build(
        [helper.make_node("Loop", ["n", "t", "x"], ["y", "all"], "repeat", body=inner)],
        {"x": ("float", [2, 2])},
        ["y", "all"],
        {**QP, "n": np.int64(3), "t": np.array(True)},
    )


def test_a_loop_body_is_canonical(loop, ops):
    model = load_model(loop)
    (inner,) = subgraphs(model.graph[0])
    assert "Constant" not in ops(inner)
    assert inner.initializers["w_quantized"].const_value.dtype is ir.DataType.INT8
    unit = next(u for u in model.all_units() if u.op == "MatMul")
    assert unit.name == f"repeat/{inner.name}/MatMul"
    assert unit.path == ("repeat", inner.name)
    assert unit.activation.op_type == "Relu"
    assert [o.qparams is not None for o in (*unit.inputs, *unit.outputs)] == [True, True, True]
    same_values(loop, model, {"x": np.random.default_rng(1).normal(size=(2, 2)).astype(F)})


def test_every_q_and_dq_of_a_body_belongs_to_a_unit(loop):
    model = load_model(loop)
    owned = [n for u in model.all_units() for n in u.nodes]
    assert len(owned) == len(set(owned)) == sum(1 for _ in model.graph.all_nodes())
    for node in model.graph.all_nodes():
        if is_q_or_dq(node):
            assert all(use.node.graph is node.graph for use in node.outputs[0].uses())


def test_a_scan_body_is_canonical(build, body, ops):
    inner = body(
        [
            (DQ, ["w", "s", "z"], ["wd"]),
            ("Mul", ["item", "wd"], ["m"]),
            ("Mul", ["m", "wd"], ["k"]),
            ("Add", ["sum", "k"], ["next"]),
            ("Identity", ["next"], ["seen"]),
        ],
        {"sum": ("float", [2]), "item": ("float", [2])},
        ["next", "seen"],
        {"w": np.array([3, 4], np.int8)},
    )
    proto = build(
        [helper.make_node("Scan", ["start", "x"], ["y", "all"], "scan", body=inner, num_scan_inputs=1)],
        {"x": ("float", [4, 2])},
        ["y", "all"],
        {**QP, "start": np.zeros(2, F)},
    )
    model = load_model(proto)
    (graph,) = subgraphs(model.graph[0])
    assert ops(graph).count(DQ) == 2
    same_values(proto, model, {"x": np.random.default_rng(2).normal(size=(4, 2)).astype(F)})


def test_bodies_in_bodies(build, body, ops):
    innermost = body([("Mul", ["a", "wd"], ["o"])], {}, ["o"], name="same")
    middle = body(
        [
            ("Neg", ["x"], ["a"]),
            helper.make_node("If", ["c"], ["p"], "inner", then_branch=innermost, else_branch=innermost),
        ],
        {},
        ["p"],
        name="same",
    )
    proto = build(
        [
            (DQ, ["w", "s", "z"], ["wd"]),
            helper.make_node("If", ["c"], ["y"], "inner", then_branch=middle, else_branch=middle),
        ],
        {"c": ("bool", []), "x": ("float", [3])},
        ["y"],
        {**QP, "w": np.arange(3, dtype=np.int8)},
    )
    model = load_model(proto)
    names = [n.name for n in model.graph.all_nodes()]
    assert len(set(names)) == len(names)
    assert len({g.name for g in model.model.graphs()}) == 7
    assert sum(n.op_type == DQ for n in model.graph.all_nodes()) == 4
    same_values(proto, model, {"c": np.array(True), "x": np.ones(3, F)})


def test_values_of_a_body_that_shadow_outer_ones_are_renamed(build, body):
    branch = body([("Neg", ["x"], ["v"]), ("Abs", ["v"], ["o"])], {}, ["o"])
    proto = build(
        [
            ("Add", ["x", "x"], ["v"]),
            helper.make_node("If", ["c"], ["w"], "choose", then_branch=branch, else_branch=branch),
            ("Sub", ["v", "w"], ["y"]),
        ],
        {"c": ("bool", []), "x": ("float", [3])},
        ["y"],
    )
    model = load_model(proto)
    names = [v.name for n in model.graph.all_nodes() for v in n.outputs]
    assert len(set(names)) == len(names)
    same_values(proto, model, {"c": np.array(True), "x": np.array([1, -2, 3], F)})


def test_a_qoperator_in_a_body_is_lowered(build, body, ops):
    branch = body([("QLinearMatMul", ["q", "s", "z", "w", "s", "z", "s", "z"], ["o"])], {}, ["o"])
    proto = build(
        [helper.make_node("If", ["c"], ["y"], "choose", then_branch=branch, else_branch=branch)],
        {"c": ("bool", []), "q": ("int8", [2, 2])},
        ["y"],
        {**QP, "w": np.array([[1, 2], [3, 4]], np.int8)},
    )
    model = load_model(proto)
    assert [ops(g) for g in subgraphs(model.graph[0])] == [[DQ, DQ, "MatMul", Q]] * 2
    same_values(proto, model, {"c": np.array(True), "q": np.array([[10, 20], [30, 40]], np.int8)})


def test_an_old_body_is_raised_with_its_model(build, body):
    branch = body([("Squeeze", ["x"], ["o"], {"axes": [0]})], {}, ["o"])
    proto = build(
        [helper.make_node("If", ["c"], ["y"], "choose", then_branch=branch, else_branch=branch)],
        {"c": ("bool", []), "x": ("float", [1, 3])},
        ["y"],
        opset=11,
    )
    model = load_model(proto)
    assert model.opset == 21
    same_values(proto, model, {"c": np.array(True), "x": np.ones((1, 3), F)})


def test_a_body_output_that_no_node_of_it_makes_is_refused(build, body):
    branch = body([], {}, ["x"])
    proto = build(
        [helper.make_node("If", ["c"], ["y"], "choose", then_branch=branch, else_branch=branch)],
        {"c": ("bool", []), "x": ("float", [3])},
        ["y"],
    )
    with pytest.raises(ModelError, match="Identity"):
        load_model(proto)


def test_a_value_of_one_branch_is_unknown_in_the_other(build, body):
    then = body([("Neg", ["x"], ["v"])], {}, ["v"])
    other = body([("Abs", ["v"], ["o"])], {}, ["o"])
    proto = build(
        [helper.make_node("If", ["c"], ["y"], "choose", then_branch=then, else_branch=other)],
        {"c": ("bool", []), "x": ("float", [3])},
        ["y"],
    )
    with pytest.raises(ModelError, match=r"node 'Abs' .*reads 'v', which nothing produces"):
        load_model(proto)


def test_wrong_parameters_in_a_body_are_found(loop):
    loop.graph.initializer.append(numpy_helper.from_array(F(-1), "negative"))
    loop.graph.node[0].attribute[0].g.node[2].input[1] = "negative"
    with pytest.raises(ModelError, match="scale is not positive"):
        load_model(loop)


def test_a_clone_verifies(loop, captured_dequantizer):
    for proto in (loop, captured_dequantizer):
        copy = load_model(proto).clone()
        verify(copy)
        assert copy.digest() == load_model(proto).digest()
