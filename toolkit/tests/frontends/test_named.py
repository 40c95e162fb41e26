"""Calls of ONNX models."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from deepseek.quantization.execution import Runner
from deepseek.quantization.frontends import open_onnx
from onnx import TensorProto, helper

from deepseek_core.errors import CalibrationError, FeedError, ModelError

A, B = np.arange(6, dtype=np.float32).reshape(2, 3), np.ones((2, 3), np.float32)


@pytest.fixture(scope="module")
def network():
    nodes = [helper.make_node("Add", ["a", "b"], ["sum"]), helper.make_node("Mul", ["a", "b"], ["product"])]
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 3]) for name in ("a", "b")]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 3]) for name in ("sum", "product")]
    graph = helper.make_graph(nodes, "two", inputs, outputs)
    return open_onnx(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10))


def call(network, *args, **kwargs):
    with Runner(network.model) as runner:
        return network.calls.call(runner, args, kwargs)


def test_in_order_by_keyword_and_by_mapping(network) -> None:
    in_order = call(network, A, B)
    assert isinstance(in_order, tuple)
    np.testing.assert_array_equal(in_order[0], A + B)
    np.testing.assert_array_equal(call(network, A, b=B)[1], A * B)
    by_name = call(network, {"b": B, "a": A})
    assert list(by_name) == ["sum", "product"]
    assert isinstance(call(network, torch.from_numpy(A), torch.from_numpy(B))[0], torch.Tensor)


def test_a_single_output_comes_as_it_is(onnx_network, onnx_samples) -> None:
    assert call(open_onnx(onnx_network), onnx_samples).shape == (24, 8)


def test_elements_of_calibration_data(network) -> None:
    assert list(network.calls.element((A, B, np.ones(2)), 0)) == ["a", "b"]
    assert network.calls.element({"a": A[0], "b": B[0]}, 0)["a"].shape == (1, 3)
    with pytest.raises(CalibrationError, match="sample 4 is a ndarray of 1 arrays; give arrays for: a float32"):
        network.calls.element(A, 4)
    with pytest.raises(CalibrationError, match="sample 4: input 'b' is a list"):
        network.calls.element({"a": A, "b": [1]}, 4)


def test_calls_that_do_not_fit(network) -> None:
    with pytest.raises(FeedError, match="3 arguments"):
        call(network, A, B, A)
    with pytest.raises(FeedError, match="input 'b' is a list"):
        call(network, A, [1])


def test_files_that_are_no_models(tmp_path) -> None:
    (tmp_path / "text.onnx").write_text("once upon a time")
    with pytest.raises(ModelError, match=r"text\.onnx"):
        open_onnx(tmp_path / "text.onnx")
    model = onnx.ModelProto()
    with pytest.raises(ModelError):
        open_onnx(model)
