"""Sharing among threads: by positions or by channels, the numbers stay."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from deepseek_core import CalibratorSpec, CompileOptions, QuantizedModel, discover
from deepseek_core.pipeline import quantize

SHAPE = (1, 16, 4, 5)


@pytest.fixture(scope="module")
def few_positions(tmp_path_factory) -> QuantizedModel:
    """Twenty positions of 70 channels: a convolution, one that adds another's result, one in groups, a matrix."""
    rng = np.random.default_rng(9)
    sizes = {"w1": (70, 16, 3, 3), "w2": (70, 70, 3, 3), "w3": (140, 35, 1, 1), "w4": (140, 50)}
    weights = [numpy_helper.from_array(rng.normal(0, 0.1, size).astype(np.float32), n) for n, size in sizes.items()]
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["a"], name="first", pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["a", "w2"], ["b"], name="second", pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["a", "b"], ["c"], name="sum"),
        helper.make_node("Relu", ["c"], ["d"], name="relu"),
        helper.make_node("Conv", ["d", "w3"], ["e"], name="grouped", group=2),
        helper.make_node("GlobalAveragePool", ["e"], ["f"], name="mean"),
        helper.make_node("Flatten", ["f"], ["g"], name="flat"),
        helper.make_node("MatMul", ["g", "w4"], ["y"], name="matrix"),
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, SHAPE)]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 50])]
    graph = helper.make_graph(nodes, "few", inputs, outputs, weights)
    path = tmp_path_factory.mktemp("few") / "few.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), path)
    samples = [{"x": rng.standard_normal(SHAPE).astype(np.float32)} for _ in range(4)]
    return quantize(path, samples, targets=["arm:arm64"], calibrator=CalibratorSpec("minmax"))


@pytest.mark.parametrize("target", ["arm:cortex-a72", "arm:cortex-a76", "arm:armv8.6-a+i8mm"])
@pytest.mark.parametrize("threads", [2, 4, 7])
def test_shares_do_not_change_the_numbers(few_positions, toolchain, target, threads) -> None:
    feeds = {"x": np.random.default_rng(1).standard_normal(SHAPE).astype(np.float32)}
    results = []
    for name, options in (("reference", CompileOptions()), (target, CompileOptions(threads=threads))):
        backend, resolved = discover().resolve(name)
        executable = backend.load(backend.compile(few_positions, resolved, options))
        results.append(executable.run(feeds)["y"])
        executable.close()
    np.testing.assert_array_equal(results[0], results[1])
