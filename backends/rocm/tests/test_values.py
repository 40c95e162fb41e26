"""Which memory holds which value where several values come of one."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from deepseek_core import CompileOptions, discover
from deepseek_core.ir.frontend import load_model


def _agrees(nodes, inputs, outputs, **constants) -> None:
    """Both backends give the same for seeded inputs."""
    rng = np.random.default_rng(0)
    feeds = {name: rng.random(shape, np.float32) for name, shape in inputs.items()}
    graph = helper.make_graph(
        nodes,
        "values",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    model = load_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10))
    found, expected = (
        backend.load(backend.compile(model, target, CompileOptions(optimize=0))).run(feeds)
        for backend, target in map(discover().resolve, ("rocm:gfx942", "reference"))
    )
    for name in outputs:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-5, atol=1e-6)


def test_values_of_one_memory_and_two_shapes_are_reordered_apart(triton) -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["h"], "h"),
        helper.make_node("Reshape", ["h", "shape"], ["r"], "r"),
        helper.make_node("Softmax", ["h"], ["y"], "y", axis=0),
        helper.make_node("Softmax", ["r"], ["z"], "z", axis=0),
    ]
    _agrees(nodes, {"x": (2, 6)}, {"y": (2, 6), "z": (3, 4)}, shape=[3, 4])


def test_each_piece_of_codes_becomes_real_by_itself(triton) -> None:
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"], "q"),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["d"], "d"),
        helper.make_node("Split", ["d", "sizes"], ["a", "b"], "split", axis=1),
        helper.make_node("Mul", ["a", "b"], ["y"], "y"),
    ]
    constants = {"sizes": [1, 3], "scale": np.float32(0.01), "zero": np.int8(3)}
    _agrees(nodes, {"x": (2, 4)}, {"y": (2, 3)}, **constants)
