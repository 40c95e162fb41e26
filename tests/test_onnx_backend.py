"""The ONNX Backend interface over a target; the official suite is in `onnx_suite`."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper

from deepseek_core.errors import ModelError, TargetError
from deepseek_core.onnx_backend import DeepseekBackend, onnx_backend
from deepseek_core.reference import plugin
from deepseek_core.registry import Backend, Registry


@pytest.fixture(scope="module")
def backend() -> type[DeepseekBackend]:
    return onnx_backend("reference", Registry([Backend(plugin)]))


def test_a_model_runs_by_position_and_by_name(backend: type[DeepseekBackend], mlp: onnx.ModelProto) -> None:
    x = np.random.default_rng(0).standard_normal((4, 8)).astype(np.float32)
    prepared = backend.prepare(mlp)
    (first,) = prepared.run([x])
    (second,) = prepared.run({"x": x})
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first, backend.run_model(mlp, [x])[0])
    (expected,) = onnx.reference.ReferenceEvaluator(mlp).run(None, {"x": x})
    np.testing.assert_allclose(first, expected, rtol=1e-5, atol=1e-5)


def test_a_node_runs_alone(backend: type[DeepseekBackend]) -> None:
    node = helper.make_node("Clip", ["x", "", "high"], ["y"])
    (y,) = backend.run_node(node, [np.array([-1, 5], np.float32), np.array(2, np.float32)], opset_version=13)
    assert y.tolist() == [-1, 2]


def test_an_invalid_model_is_refused(backend: type[DeepseekBackend]) -> None:
    graph = helper.make_graph(
        [helper.make_node("Neg", ["nothing"], ["y"])], "g", [], [helper.make_tensor_value_info("y", 1, [1])]
    )
    with pytest.raises(ModelError, match="nothing"):
        backend.prepare(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)]))


def test_a_target_nobody_serves_is_refused() -> None:
    with pytest.raises(TargetError, match="no backend 'abacus'"):
        onnx_backend("abacus:wood", Registry([Backend(plugin)]))


def test_only_the_cpu_device_of_onnx_is_spoken_for(backend: type[DeepseekBackend]) -> None:
    assert backend.supports_device("CPU")
    assert not backend.supports_device("CUDA")
