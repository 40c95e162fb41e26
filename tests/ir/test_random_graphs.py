"""Random quantized graphs: canonical form changes no value, and is reached in one step."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper

from deepseek_core.ir.frontend import load_model
from deepseek_core.ir.model import QuantizedModel
from deepseek_core.ir.qdq import is_q_or_dq
from deepseek_core.ir.serialize import to_bytes
from deepseek_core.reference import evaluate

F = np.float32
# Powers of two and small integers: every sum is exact in float32 in whatever order it is taken, so that two graphs
# with the same meaning give the same bits.
SCALES = {"s2": F(0.25), "s3": F(0.125), "same": F(0.25)}
ZEROS = {"z0": np.int8(0), "z5": np.int8(5), "zero": np.int8(0)}
Q, DQ = "QuantizeLinear", "DequantizeLinear"


class Graph:
    """Grows node by node from what hypothesis draws; every value is float [2, 2] or the codes of one."""

    def __repr__(self) -> str:
        return f"Graph({self.nodes}, {self.constants})"

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.nodes: list = []
        self.reals = ["x"]
        self.codes: list[tuple[str, str, str]] = []
        self.constants = {**SCALES, **ZEROS}

    def add(self, op, inputs, attributes=None):
        name = f"v{len(self.nodes)}"
        self.nodes.append((op, inputs, [name], attributes or {}))
        return name

    def pick(self, values):
        return self.draw(st.sampled_from(values))

    def parameters(self):
        return self.pick(list(SCALES)), self.pick(list(ZEROS))

    def quantize(self):
        scale, zero = self.parameters()
        self.codes.append((self.add(Q, [self.pick(self.reals), scale, zero]), scale, zero))

    def dequantize(self):
        if self.codes:
            codes, scale, zero = self.pick(self.codes)
            self.reals.append(self.add(DQ, [codes, scale, zero]))

    def constant(self):
        name = f"w{len(self.constants)}"
        values = np.array(self.draw(st.lists(st.integers(-4, 4), min_size=4, max_size=4))).reshape(2, 2)
        if self.draw(st.booleans()):
            self.constants[name] = values.astype(F)
            self.reals.append(name)
        else:
            self.constants[name] = values.astype(np.int8)
            self.codes.append((name, *self.parameters()))

    def unary(self):
        op, attributes = self.pick([("Relu", {}), ("Neg", {}), ("Transpose", {"perm": [1, 0]}), ("Identity", {})])
        self.reals.append(self.add(op, [self.pick(self.reals)], attributes))

    def binary(self):
        self.reals.append(self.add(self.pick(["Add", "Sub"]), [self.pick(self.reals), self.pick(self.reals)]))

    def matmul(self):
        self.reals.append(self.add("MatMul", [self.pick(self.reals), self.pick(self.reals)]))

    def move(self):
        if self.codes:
            codes, scale, zero = self.pick(self.codes)
            self.codes.append((self.add("Transpose", [codes], {"perm": [1, 0]}), scale, zero))

    def qlinear(self):
        if self.codes:
            a, b, y = self.pick(self.codes), self.pick(self.codes), self.parameters()
            self.codes.append((self.add("QLinearMatMul", [*a, *b, *y]), *y))

    def branch(self):
        """An If whose bodies read any value of the outer graph, and may quantize it again."""
        bodies = {name: self.body(f"{name}{len(self.nodes)}") for name in ("then_branch", "else_branch")}
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node("If", ["c"], [name], **bodies))
        self.reals.append(name)

    def body(self, name):
        source, (scale, zero) = self.pick(self.reals), self.parameters()
        nodes = [
            helper.make_node(Q, [source, scale, zero], [f"{name}_q"]),
            helper.make_node(DQ, [f"{name}_q", scale, zero], [f"{name}_d"]),
            helper.make_node("Add", [f"{name}_d", self.pick(self.reals)], [f"{name}_o"]),
        ]
        kept = nodes if self.draw(st.booleans()) else [helper.make_node("Neg", [source], [f"{name}_o"])]
        return helper.make_graph(kept, name, [], [helper.make_tensor_value_info(f"{name}_o", 1, None)])


STEPS = (
    "quantize",
    "dequantize",
    "quantize",
    "dequantize",
    "constant",
    "unary",
    "binary",
    "matmul",
    "move",
    "qlinear",
    "branch",
)


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    graph = Graph(draw)
    for step in draw(st.lists(st.sampled_from(STEPS), min_size=3, max_size=14)):
        getattr(graph, step)()
    if not graph.nodes:
        graph.unary()
    return graph


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(graph=graphs(), x=st.lists(st.integers(-40, 40), min_size=4, max_size=4), c=st.booleans(), data=st.data())
def test_no_value_changes(build, graph, x, c, data):
    made = [n.output[0] if hasattr(n, "output") else n[2][0] for n in graph.nodes]
    outputs = sorted({made[-1], *data.draw(st.lists(st.sampled_from(made), max_size=3))})
    inputs = {"x": ("float", [2, 2]), "c": ("bool", [])}
    proto = build(graph.nodes, inputs, outputs, graph.constants)
    feeds = {"x": np.array(x, F).reshape(2, 2) / 8, "c": np.array(c)}
    model = load_model(proto)
    before, after = evaluate(QuantizedModel(ir.from_proto(proto)), feeds), evaluate(model, feeds)
    for name in outputs:
        assert np.array_equal(before[name], after[name]), name
    again = load_model(ir.to_proto(model.model))
    assert to_bytes(again) == to_bytes(model)
    owned = [n for u in model.all_units() for n in u.nodes]
    assert len(owned) == len(set(owned)) == sum(1 for _ in model.graph.all_nodes())
    for node in model.graph.all_nodes():
        if is_q_or_dq(node):
            assert len(node.inputs) == 3
