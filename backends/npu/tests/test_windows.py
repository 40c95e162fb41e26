"""Attributes that say where windows and reductions lie: results are those of the definition."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from deepseek_backend_npu.runtime import NpuExecutable
from deepseek_backend_npu.verification.networks import unary_network
from deepseek_core import CalibratorSpec
from deepseek_core.pipeline import quantize
from deepseek_core.reference import evaluate


@pytest.mark.parametrize(
    "attributes",
    [
        {"auto_pad": "SAME_UPPER"},
        {"auto_pad": "SAME_LOWER"},
        {"auto_pad": "VALID"},
        {"output_shape": [9, 12]},
        {"output_shape": [9, 12], "output_padding": [0, 1]},
    ],
    ids=str,
)
def test_a_transposed_convolution_is_cut_where_its_attributes_say(attributes, compiled, tmp_path) -> None:
    rng = np.random.default_rng(0)
    weights = numpy_helper.from_array(rng.standard_normal((3, 4, 3, 3)).astype(np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("ConvTranspose", ["x", "w"], ["y"], "c", strides=[2, 2], **attributes)],
        "transposed",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 5, 6])],
        [helper.make_empty_tensor_value_info("y")],
        [weights],
    )
    path = tmp_path / "transposed.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), path)
    feeds = {"x": rng.standard_normal((1, 3, 5, 6)).astype(np.float32)}
    model = quantize(path, [feeds], targets=["npu:ethos-u55-128"], calibrator=CalibratorSpec("minmax"))
    (expected,) = evaluate(model, feeds).values()
    (actual,) = NpuExecutable(compiled(model)).run(feeds).values()
    np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("keeps", [0, 1])
def test_a_mean_over_no_axes_changes_parameters_alone(keeps, compiled, random_feeds) -> None:
    numbers = {"scale": 0.05, "result": (0.07, 3)}
    model = unary_network("ReduceMean", (1, 3, 5, 6), **numbers, keepdims=keeps, noop_with_empty_axes=1)
    feeds = random_feeds(model)
    (expected,) = evaluate(model, feeds).values()
    (actual,) = NpuExecutable(compiled(model)).run(feeds).values()
    assert actual.shape == (1, 3, 5, 6)
    assert np.abs(actual.astype(int) - expected.astype(int)).max() <= 1
