"""Small networks that are quantized in part: what is in codes, what in real numbers, and where they meet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from deepseek_core import CalibratorSpec, CompileOptions, QuantizedModel, discover
from deepseek_core.errors import BackendError
from deepseek_core.ir import with_input_shapes
from deepseek_core.ir.frontend import load_model
from deepseek_core.passes import run_passes
from deepseek_core.pipeline import quantize

Feeds = Mapping[str, NDArray[Any]]


class Graph:
    """Nodes one after the other, with random weights."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def weight(self, *shape: int, scale: float = 0.3) -> str:
        return self.constant((self._rng.standard_normal(shape) * scale).astype(np.float32))

    def constant(self, array: NDArray[Any]) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(array, name))
        return name

    def add(self, op: str, *inputs: str, **attributes: Any) -> str:
        name = f"{op}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], name, **attributes))
        return name

    def model(self, inputs: Mapping[str, NDArray[Any]], *outputs: str, batch: bool = False) -> QuantizedModel:
        given = [
            helper.make_tensor_value_info(
                name, helper.np_dtype_to_tensor_dtype(a.dtype), ["batch", *a.shape[1:]] if batch else a.shape
            )
            for name, a in inputs.items()
        ]
        results = [helper.make_value_info(name, onnx.TypeProto()) for name in outputs]
        graph = helper.make_graph(self.nodes, "network", given, results, self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
        return load_model(onnx.shape_inference.infer_shapes(model, data_prop=True))


def _attention(g: Graph, x: str, width: int, heads: int) -> str:
    split = g.constant(np.array([0, -1, heads, width // heads], np.int64))
    whole = g.constant(np.array([0, -1, width], np.int64))

    def side(permutation: list[int]) -> str:
        y = g.add("Add", g.add("MatMul", x, g.weight(width, width)), g.weight(width))
        return g.add("Transpose", g.add("Reshape", y, split), perm=permutation)

    scores = g.add("MatMul", side([0, 2, 1, 3]), side([0, 2, 3, 1]))
    scaled = g.add("Div", scores, g.constant(np.array(np.sqrt(width / heads), np.float32)))
    mixed = g.add("MatMul", g.add("Softmax", scaled, axis=-1), side([0, 2, 1, 3]))
    joined = g.add("Reshape", g.add("Transpose", mixed, perm=[0, 2, 1, 3]), whole)
    return g.add("MatMul", joined, g.weight(width, width))


def transformer() -> tuple[QuantizedModel, Feeds]:
    """Embedding, attention, layer norm, gelu."""
    g, width = Graph(1), 24
    feeds = {"ids": np.array([[3, 1, 4, 1, 5, 9, 2, 6, 5]], np.int64)}
    x = g.add("Gather", g.weight(11, width, scale=1.0), "ids")
    ones, zeros = g.constant(np.ones(width, np.float32)), g.constant(np.zeros(width, np.float32))
    x = g.add("LayerNormalization", g.add("Add", x, _attention(g, x, width, 3)), ones, zeros)
    wide = g.add("Gelu", g.add("Add", g.add("MatMul", x, g.weight(width, 50)), g.weight(50)))
    x = g.add("LayerNormalization", g.add("Add", x, g.add("MatMul", wide, g.weight(50, width))), ones, zeros)
    return g.model(feeds, g.add("ReduceMean", x, g.constant(np.array([1])), keepdims=0)), feeds


def gated_convolutions() -> tuple[QuantizedModel, Feeds]:
    """A block of MobileNetV3: hard swish, squeeze and excitation."""
    g = Graph(2)
    feeds = {"image": np.random.default_rng(7).standard_normal((1, 3, 13, 11)).astype(np.float32)}
    x = g.add("HardSwish", g.add("Conv", "image", g.weight(8, 3, 3, 3), g.weight(8), pads=[1] * 4, strides=[2, 2]))
    y = g.add("HardSwish", g.add("Conv", x, g.weight(20, 8, 1, 1), g.weight(20)))
    y = g.add("HardSwish", g.add("Conv", y, g.weight(20, 1, 5, 5), g.weight(20), pads=[2] * 4, group=20))
    gate = g.add("Relu", g.add("Conv", g.add("GlobalAveragePool", y), g.weight(5, 20, 1, 1), g.weight(5)))
    gate = g.add("HardSigmoid", g.add("Conv", gate, g.weight(20, 5, 1, 1), g.weight(20)), alpha=1 / 6, beta=0.5)
    y = g.add("Conv", g.add("Mul", y, gate), g.weight(8, 20, 1, 1), g.weight(8))
    x = g.add("Resize", g.add("Add", x, y), "", g.constant(np.array([1, 1, 2, 2], np.float32)), mode="linear")
    x = g.add("ConvTranspose", x, g.weight(8, 4, 3, 3), g.weight(4), strides=[2, 2])
    return g.model(feeds, g.add("Sigmoid", x), batch=True), feeds


def recurrent() -> tuple[QuantizedModel, Feeds]:
    """Convolution over time, then an LSTM with a state that is fed."""
    g = Graph(3)
    rng = np.random.default_rng(8)
    feeds = {"x": rng.standard_normal((1, 6, 15)).astype(np.float32), "h": np.zeros((1, 1, 10), np.float32)}
    y = g.add("Relu", g.add("Conv", "x", g.weight(12, 6, 3), g.weight(12), strides=[2]))
    y = g.add("Transpose", y, perm=[2, 0, 1])
    weights = (g.weight(1, 40, 12), g.weight(1, 40, 10), g.weight(1, 80))
    node = helper.make_node("LSTM", [y, *weights, "", "h"], ["", "last"], "lstm", hidden_size=10)
    g.nodes.append(node)
    return g.model(feeds, g.add("Gemm", g.add("Flatten", "last"), g.weight(10, 4), g.weight(4))), feeds


NETWORKS = {"transformer": transformer, "gated_convolutions": gated_convolutions, "recurrent": recurrent}


def _quantized(network: QuantizedModel, feeds: Feeds, target: str) -> QuantizedModel:
    model = quantize(network, [feeds], targets=[target], calibrator=CalibratorSpec("minmax"))
    return with_input_shapes(model, {name: array.shape for name, array in feeds.items()})


def _results(backend_name: str, model: QuantizedModel, feeds: Feeds) -> dict[str, NDArray[Any]]:
    backend, target = discover().resolve(backend_name)
    part = model.clone()
    run_passes(part, backend.passes(target), frozenset({"canonical"}))
    executable = backend.load(backend.compile(part, target, CompileOptions()))
    results = executable.run(feeds)
    executable.close()
    return dict(results)


@pytest.mark.parametrize("quantized_for", ["arm:arm64", "cpu", "float"])
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("cpu", ["cortex-a72", "armv8.6-a+i8mm"])
def test_networks_in_part_real_give_the_reference(toolchain, name, quantized_for, cpu) -> None:
    """Codes of 8 bits of either sign, and real numbers: with one rounding more or less, where they meet."""
    network, feeds = NETWORKS[name]()
    shapes = {name: array.shape for name, array in feeds.items()}
    if quantized_for == "float":
        model = with_input_shapes(network, shapes)
    else:
        model = _quantized(network, feeds, quantized_for)
    (expected,) = _results("reference", model, feeds).values()
    (got,) = _results(f"arm:{cpu}", model, feeds).values()
    np.testing.assert_allclose(got, expected, atol=0.02 * np.abs(expected).max(), rtol=0)
    assert np.corrcoef(got.ravel(), expected.ravel())[0, 1] > 0.9999


def _choice() -> QuantizedModel:
    """An If whose second branch wants inputs of another rank than those it gets."""
    good = helper.make_graph(
        [helper.make_node("Reshape", ["x", "two"], ["a"], "reshape")],
        "good",
        [],
        [helper.make_tensor_value_info("a", TensorProto.FLOAT, None)],
    )
    lstm = helper.make_node("LSTM", ["x", "w", "r"], ["", "b"], "lstm", hidden_size=2)
    bad = helper.make_graph([lstm], "bad", [], [helper.make_tensor_value_info("b", TensorProto.FLOAT, None)])
    node = helper.make_node("If", ["c"], ["y"], "if", then_branch=good, else_branch=bad)
    weights = {
        "two": np.array([2, 3], np.int64),
        "w": np.ones((1, 8, 3), np.float32),
        "r": np.ones((1, 8, 2), np.float32),
    }
    graph = helper.make_graph(
        [node],
        "choice",
        [
            helper.make_tensor_value_info("c", TensorProto.BOOL, []),
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["a", "b"]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(a, n) for n, a in weights.items()],
    )
    return load_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10))


def test_a_branch_that_shapes_rule_out_is_an_error_where_it_is_taken(toolchain) -> None:
    model = with_input_shapes(_choice(), {"x": (3, 2)})
    x = np.arange(6, dtype=np.float32).reshape(3, 2)
    got = _results("arm:cortex-a72", model, {"c": np.array(True), "x": x})
    np.testing.assert_array_equal(got["y"], x.reshape(2, 3))
    with pytest.raises(BackendError, match="rule out"):
        _results("arm:cortex-a72", model, {"c": np.array(False), "x": x})
