from __future__ import annotations

import numpy as np
import onnx

from deepseek_core.ir.frontend import load_model
from deepseek_core.pipeline import quantize
from deepseek_core.summary import OpCount, summarize


def test_a_float_model(float_network: onnx.ModelProto) -> None:
    summary = summarize(load_model(float_network))
    assert summary.ops["Conv"] == OpCount(2, 0)
    assert (summary.units, summary.quantized_units) == (5, 0)
    assert summary.weights == {"float32": 3}
    assert set(summary.activations) == {"float32"}
    assert summary.constants == sum(int(np.prod(t.dims)) for t in float_network.graph.initializer)
    assert summary.constant_bytes == 4 * summary.constants
    assert [info.name for info in (*summary.inputs, *summary.outputs)] == ["image", "scores"]


def test_a_quantized_model(mlp: onnx.ModelProto) -> None:
    rng = np.random.default_rng(0)
    model = quantize(load_model(mlp), [{"x": rng.standard_normal((4, 8)).astype(np.float32)}], targets=("echo",))
    summary = summarize(model)
    assert summary.ops["Gemm"] == OpCount(2, 2)
    assert summary.ops["QuantizeLinear"] == OpCount(1, 0), "a lone Q only converts"
    assert summary.weights == {"int8 per_channel axis=1 symmetric": 2}
    assert summary.quantized_units == 2
