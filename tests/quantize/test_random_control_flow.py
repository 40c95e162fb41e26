"""Random models with branches and loops: preparing keeps what they compute, quantizing keeps them canonical."""

from __future__ import annotations

import numpy as np
import onnx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from deepseek_core.ir.frontend import load_model
from deepseek_core.ir.qdq import is_q_or_dq
from deepseek_core.ir.verify import verify
from deepseek_core.options import CompileOptions
from deepseek_core.pipeline import calibrate, float_model
from deepseek_core.quantize import apply_recipe, derive_recipe
from deepseek_core.recipe import CalibratorSpec
from deepseek_core.reference import evaluate
from deepseek_core.registry import discover

SHAPE = [2, 4]
FLOAT, INT, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


class Flow:
    """Grows from what hypothesis draws; every real value is float [2, 4] and stays small."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.count = 0
        self.weights: dict[str, np.ndarray] = {
            "true": np.array(True), "false": np.array(False), "zero": np.array(0), "two": np.array(2),
            "three": np.array(3), "nine": np.array(9), "nil": np.float32(0), "first": np.array([0]),
        }  # fmt: skip
        self.nodes = self.block(["x"], 2, draw(st.integers(2, 5)))

    def __repr__(self) -> str:
        return onnx.printer.to_text(self.proto())

    def name(self, stem: str) -> str:
        self.count += 1
        return f"{stem}{self.count}"

    def pick(self, values):
        return self.draw(st.sampled_from(values))

    def block(self, scope, depth, length):
        """Nodes that see `scope` and add to it; the last value added is the block's result."""
        nodes = []
        for _ in range(length):
            kinds = ["unary", "binary", "matmul", "gemm", *(["branch", "loop", "scan"] if depth else [])]
            made, value = getattr(self, self.pick(kinds))(scope, depth)
            nodes += made
            scope.append(value)
        return nodes

    def unary(self, scope, depth):
        value = self.name("u")
        return [helper.make_node(self.pick(["Relu", "Tanh", "Neg", "Identity"]), [self.pick(scope)], [value])], value

    def binary(self, scope, depth):
        value, real = self.name("b"), self.name("r")
        sides = [self.pick(scope), self.pick(scope)]
        nodes = [
            helper.make_node(self.pick(["Add", "Sub", "Mul"]), sides, [real]),
            helper.make_node("Tanh", [real], [value]),
        ]
        return nodes, value

    def matmul(self, scope, depth):
        value, weight = self.name("m"), self.weight(4, 4)
        return [helper.make_node("MatMul", [self.pick(scope), weight], [value])], value

    def gemm(self, scope, depth):
        value = self.name("g")
        inputs = [self.pick(scope), self.weight(4, 4), self.weight(4)]
        return [helper.make_node("Gemm", inputs, [value], transB=self.pick([0, 1]))], value

    def weight(self, *shape):
        """A constant that is new, or one that another node reads already."""
        known = [name for name, array in self.weights.items() if array.shape == shape]
        if known and self.draw(st.booleans()):
            return self.pick(known)
        name = self.name("w")
        seed = self.draw(st.integers(0, 99))
        self.weights[name] = np.random.default_rng(seed).normal(0, 0.5, shape).astype(np.float32)
        return name

    def body(self, name, scope, depth, inputs=(), extra=()):
        """A graph with a result of its own; `extra` are (node, output) that come first."""
        nodes = self.block(scope, depth - 1, self.draw(st.integers(1, 3)))
        result = self.name("o")
        nodes.append(helper.make_node("Identity", [scope[-1]], [result]))
        outputs = [*(output for _, output in extra), helper.make_tensor_value_info(result, FLOAT, SHAPE)]
        return helper.make_graph([*(node for node, _ in extra), *nodes], name, list(inputs), outputs), result

    def branch(self, scope, depth):
        value, condition, nodes = self.name("i"), self.pick(["c", "true", "false", "data"]), []
        if condition == "data":
            total, condition = self.name("s"), self.name("p")
            nodes = [
                helper.make_node("ReduceSum", ["x"], [total], keepdims=0),
                helper.make_node("Greater", [total, "nil"], [condition]),
            ]
        branches = {name: self.body(self.name("b"), [*scope], depth)[0] for name in ("then_branch", "else_branch")}
        return [*nodes, helper.make_node("If", [condition], [value], **branches)], value

    def loop(self, scope, depth):
        """`for` or `while` with a carried value; sometimes the mean of what every trip gave is the result."""
        value, stacked, mean, h, i, c, d = (self.name(stem) for stem in ("l", "a", "e", "h", "i", "c", "d"))
        inputs = [helper.make_tensor_value_info(*v) for v in ((i, INT, []), (c, BOOL, []), (h, FLOAT, SHAPE))]
        go = (helper.make_node("Identity", [c], [d]), helper.make_tensor_value_info(d, BOOL, []))
        if self.draw(st.booleans()):
            go = (helper.make_node("Less", [i, "two"], [d]), go[1])
        body, result = self.body(self.name("b"), [*scope, h], depth, inputs, [go])
        every = self.name("y")
        body.node.append(helper.make_node("Tanh", [result], [every]))
        body.output.append(helper.make_tensor_value_info(every, FLOAT, SHAPE))
        trips, start = self.pick(["n", "zero", "two", "three", "nine"]), self.pick(["true", "c", ""])
        loop = helper.make_node("Loop", [trips, start, self.pick(scope)], [value, stacked], body=body)
        if trips in ("two", "three") and start == "true" and self.draw(st.booleans()):
            return [loop, helper.make_node("ReduceMean", [stacked, "first"], [mean], keepdims=0)], mean
        return [loop], value

    def scan(self, scope, depth):
        value, stacked, mean, h, row, pile = (self.name(stem) for stem in ("k", "a", "e", "h", "r", "q"))
        inputs = [helper.make_tensor_value_info(name, FLOAT, SHAPE) for name in (h, row)]
        body, result = self.body(self.name("b"), [*scope, h, row], depth, inputs)
        every = self.name("y")
        body.node.append(helper.make_node("Neg", [result], [every]))
        body.output.append(helper.make_tensor_value_info(every, FLOAT, SHAPE))
        parts = [self.name("z") for _ in range(2)]
        nodes = [helper.make_node("Unsqueeze", [self.pick(scope), "first"], [part]) for part in parts]
        nodes.append(helper.make_node("Concat", parts, [pile], axis=0))
        nodes.append(helper.make_node("Scan", [self.pick(scope), pile], [value, stacked], body=body, num_scan_inputs=1))
        nodes.append(helper.make_node("ReduceMean", [stacked, "first"], [mean], keepdims=0))
        return nodes, self.pick([value, mean])

    def proto(self):
        inputs = [helper.make_tensor_value_info(*v) for v in (("x", FLOAT, SHAPE), ("c", BOOL, []), ("n", INT, []))]
        output = helper.make_tensor_value_info("out", FLOAT, SHAPE)
        nodes = [*self.nodes, helper.make_node("Identity", [self.nodes[-1].output[0]], ["out"])]
        weights = [numpy_helper.from_array(array, name) for name, array in self.weights.items()]
        graph = helper.make_graph(nodes, "g", inputs, [output], weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


@st.composite
def flows(draw: st.DrawFn) -> Flow:
    return Flow(draw)


def feeds_of(seed, count):
    rng = np.random.default_rng(seed)
    return [
        {"x": rng.normal(size=SHAPE).astype(np.float32), "c": np.array(i % 2 == 0), "n": np.array(i % 4)}
        for i in range(count)
    ]


SETTINGS = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@SETTINGS
@given(flow=flows(), seed=st.integers(0, 99))
def test_preparing_keeps_the_function_and_is_done_once(flow, seed):
    model = load_model(flow.proto())
    prepared = float_model(model)
    verify(prepared)
    for feed in feeds_of(seed, 4):
        np.testing.assert_allclose(evaluate(prepared, feed)["out"], evaluate(model, feed)["out"], rtol=1e-4, atol=1e-5)
    assert float_model(prepared).digest() == prepared.digest()
    names = [value.name for node in prepared.graph.all_nodes() for value in node.outputs if value.name]
    assert len(names) == len(set(names)), "a recipe names values of all bodies in one table"


REGISTRY = discover()


@SETTINGS
@given(flow=flows(), seed=st.integers(0, 99))
def test_quantized_control_flow_is_canonical_and_the_same_on_every_backend(flow, seed):
    prepared = float_model(load_model(flow.proto()))
    backend, target = REGISTRY.resolve("cpu")
    recipe = derive_recipe(prepared, [backend.capabilities(target)], CalibratorSpec("minmax"))
    samples = feeds_of(seed, 8)
    result = apply_recipe(prepared, recipe, calibrate(prepared, recipe, samples, registry=REGISTRY))
    verify(result)
    owned = [node for unit in result.all_units() for node in unit.nodes]
    assert len(owned) == len(set(owned)) == sum(1 for _ in result.graph.all_nodes())
    assert all(len(node.inputs) == 3 for node in result.graph.all_nodes() if is_q_or_dq(node))
    executable = backend.load(backend.compile(result, target, CompileOptions(optimize=0)))
    for feed in samples[:4]:  # calibration samples: nothing is clipped
        exact, ours = evaluate(prepared, feed)["out"], executable.run(feed)["out"]
        span = max(float(np.abs(exact).max()), 1.0)
        np.testing.assert_allclose(ours, evaluate(result, feed)["out"], atol=0.05 * span)
        assert np.abs(ours - exact).max() <= 0.25 * span
