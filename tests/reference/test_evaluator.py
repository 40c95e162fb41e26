"""Feeds, taps, refusals, threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper

from deepseek_core.errors import FeedError, ModelError
from deepseek_core.ir.model import QuantizedModel
from deepseek_core.reference import evaluate
from deepseek_core.reference.evaluator import Evaluator

X = np.array([[1.0, -2.0]], np.float32)
NODES = [helper.make_node("Neg", ["x"], ["a"], "neg"), helper.make_node("Add", ["a", "one"], ["y"], "add")]
ONE = {"one": np.array(1, np.float32)}


def model(build, nodes=NODES, feeds=None, outputs=("y",), constants=ONE, **options):
    proto = build(nodes, feeds or {"x": X}, outputs, constants, **options)
    return QuantizedModel(ir.from_proto(proto))


def test_outputs_come_first_then_taps(build):
    result = evaluate(model(build), {"x": X}, ["a", "x", "one"])
    assert list(result) == ["y", "a", "x", "one"]
    assert result["a"].tolist() == [[-1, 2]]
    assert result["y"].tolist() == [[0, 3]]


@pytest.mark.parametrize(
    ("feeds", "message"),
    [
        ({}, "input 'x' is missing; feed exactly x"),
        ({"x": X, "z": X}, "there is no input 'z'; feed exactly x"),
    ],
)
def test_wrong_feeds(build, feeds, message):
    with pytest.raises(FeedError, match=message):
        evaluate(model(build), feeds)


def test_an_initializer_that_is_an_input_may_be_fed_or_not(build):
    proto = build(NODES, {"x": X}, ["y"], ONE)
    proto.graph.input.append(helper.make_tensor_value_info("one", TensorProto.FLOAT, []))
    found = QuantizedModel(ir.from_proto(proto))
    assert evaluate(found, {"x": X})["y"].tolist() == [[0, 3]]
    assert evaluate(found, {"x": X, "one": np.array(5, np.float32)})["y"].tolist() == [[4, 7]]


def test_an_unknown_tap(build):
    with pytest.raises(ModelError, match="'nothing' is no value of the main graph"):
        Evaluator(model(build), ["nothing"])


def test_an_operator_nobody_implements_is_refused_before_it_runs(build):
    node = helper.make_node("Telepathy", ["x"], ["y"], "guess", domain="com.microsoft")
    with pytest.raises(ModelError, match=r"node 'guess' \(com.microsoft::Telepathy\) has no reference implementation"):
        Evaluator(model(build, [node]))


def test_a_node_that_cannot_run_is_named(build):
    node = helper.make_node("Reshape", ["x", "shape"], ["y"], "fold")
    with pytest.raises(ModelError, match=r"node 'fold' \(Reshape\) failed: cannot reshape") as caught:
        evaluate(model(build, [node], constants={"shape": np.array([3])}), {"x": X})
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize(
    ("nodes", "outputs", "message"),
    [
        (NODES[::-1], ("y",), r"node 'add' \(Add\) reads 'a', which nothing before it makes"),
        (NODES, ("y", "z"), "graph 'graph' reads 'z', which nothing before it makes"),
    ],
)
def test_what_nothing_makes_is_refused(build, nodes, outputs, message):
    with pytest.raises(ModelError, match=message):
        Evaluator(model(build, nodes, outputs=outputs))


def test_local_functions_are_refused(build):
    proto = build(NODES, {"x": X}, ["y"], ONE)
    proto.functions.append(
        helper.make_function(
            "here", "Twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])], [helper.make_opsetid("", 21)]
        )
    )
    with pytest.raises(ModelError, match="local functions; load it with"):
        Evaluator(QuantizedModel(ir.from_proto(proto)))


def test_results_share_no_memory_with_feeds_or_constants(build):
    evaluator = Evaluator(model(build), ["x", "one"])
    feed = X.copy()
    result = evaluator.run({"x": feed})
    result["x"][:] = 9
    result["one"][...] = 9
    assert feed.tolist() == X.tolist()
    assert evaluator.run({"x": feed})["one"] == 1


def test_values_end_with_their_last_reader(build):
    """A long chain must not keep every tensor alive."""
    nodes = [helper.make_node("Neg", [f"v{i}" if i else "x"], [f"v{i + 1}"]) for i in range(20)]
    evaluator = Evaluator(model(build, nodes, outputs=("v20",)), ["v3"])
    sizes = []
    program = evaluator._program
    scope = dict(program.constants) | dict.fromkeys(evaluator._inputs.values(), X)
    for step in program._steps:
        program._steps, rest = [step], program._steps
        program.run(scope)
        program._steps = rest
        sizes.append(len(scope) - len(program.constants))
    assert max(sizes) <= 3
    assert {v.name for v in scope} >= {"v20", "v3"}


def test_division_by_zero_is_a_result(build):
    nodes = [helper.make_node("Div", ["one", "x"], ["y"])]
    assert evaluate(model(build, nodes), {"x": np.zeros((1, 1), np.float32)})["y"].item() == np.inf


def test_threads_share_an_evaluator(build):
    evaluator = Evaluator(model(build))
    inputs = [np.full((1, 2), i, np.float32) for i in range(64)]
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda x: evaluator.run({"x": x})["y"], inputs))
    assert [r.tolist() for r in results] == [[[1 - i, 1 - i]] for i in range(64)]
