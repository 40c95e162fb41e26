"""Layer by layer comparison, against numbers worked out in another way."""

from __future__ import annotations

import copy
import math

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from deepseek_core import CompileOptions
from deepseek_core.diff import DEFAULT_THRESHOLD, compare
from deepseek_core.errors import CalibrationError, FeedError, ModelError
from deepseek_core.ir import QuantizedModel
from deepseek_core.ir.frontend import load_model
from deepseek_core.pipeline import compile as compile_model
from deepseek_core.pipeline import quantize
from deepseek_core.reference import evaluate


def _samples(count: int = 4) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(5)
    return [{"x": rng.standard_normal((4, 8)).astype(np.float32)} for _ in range(count)]


@pytest.fixture(scope="module")
def quantized(mlp: onnx.ModelProto) -> QuantizedModel:
    return quantize(load_model(mlp), _samples(8), targets=("echo",))


def _with_constant(model: onnx.ModelProto, name: str, change) -> QuantizedModel:
    changed = copy.deepcopy(model)
    (tensor,) = [t for t in changed.graph.initializer if t.name == name]
    tensor.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(tensor)), name))
    return load_model(changed)


def test_a_model_equals_itself(mlp: onnx.ModelProto) -> None:
    diff = compare(load_model(mlp), load_model(mlp), _samples(1)[0])
    assert [t.name for t in diff.tensors] == ["a", "y"]
    assert all(t.sqnr == math.inf and t.max_error == 0 and t.lsb is None for t in diff.tensors)
    assert (diff.first, diff.unmatched, diff.samples) == (None, (), 1)


def test_the_first_layer_that_changed_is_named(mlp: onnx.ModelProto) -> None:
    other = _with_constant(mlp, "w2", lambda w: w * np.float32(1.5))
    diff = compare(load_model(mlp), other, _samples())
    assert diff.first is not None
    assert (diff.first.name, diff.first.unit) == ("y", "gemm_2")
    assert diff.tensors[0].sqnr == math.inf


def test_figures_are_those_of_the_definition(mlp: onnx.ModelProto, quantized: QuantizedModel) -> None:
    samples = _samples()
    diff = compare(quantized, load_model(mlp), samples)
    signal = noise = worst = 0.0
    for sample in samples:
        wanted = evaluate(load_model(mlp), sample)["y"].astype(np.float64)
        got = evaluate(quantized, sample)["y"].astype(np.float64)
        signal, noise = signal + (wanted**2).sum(), noise + ((wanted - got) ** 2).sum()
        worst = max(worst, np.abs(wanted - got).max())
    (last,) = [t for t in diff.tensors if t.name == "y"]
    assert last.sqnr == pytest.approx(10 * math.log10(signal / noise), abs=0.5)
    assert last.max_error == pytest.approx(worst, rel=0.2)
    assert last.shape == (4, 3)


def test_quantized_against_float_covers_input_layers_and_output(mlp, quantized: QuantizedModel) -> None:
    diff = compare(quantized, load_model(mlp), _samples())
    assert [t.name for t in diff.tensors] == ["x", "a", "y"]
    assert all(DEFAULT_THRESHOLD < t.sqnr < math.inf for t in diff.tensors)
    assert diff.first is None
    assert compare(quantized, load_model(mlp), _samples(), threshold=1000).first == diff.tensors[0]


def test_the_float_model_is_the_reference_on_either_side(mlp: onnx.ModelProto, quantized: QuantizedModel) -> None:
    one, other = compare(quantized, load_model(mlp), _samples()), compare(load_model(mlp), quantized, _samples())
    assert {t.name: t.sqnr for t in one.tensors} == {t.name: t.sqnr for t in other.tensors}


def test_packages_run_where_they_were_placed_and_compare_code_by_code(quantized: QuantizedModel) -> None:
    plain = CompileOptions(optimize=0)
    echo = compile_model(quantized, ("echo",), options=plain)
    reference = compile_model(quantized, ("reference",), options=plain)
    same = compare(reference, compile_model(quantized, ("reference",), options=plain), _samples())
    assert [t.lsb for t in same.tensors] == [0, 0, 0]
    halves = {"x": np.arange(32, dtype=np.float32).reshape(4, 8) / 2 * _input_scale(quantized)}
    tied = compare(reference, echo, halves)
    assert tied.first is not None
    assert (tied.first.name, tied.first.lsb) == ("x", 1), "Echo rounds the input's ties away from zero"
    assert compare(reference, echo, halves, threshold=10).first is None


def _input_scale(model: QuantizedModel) -> np.float32:
    (first, *_) = model.units()
    assert first.outputs[0].qparams is not None
    return np.float32(first.outputs[0].qparams.scale)


def test_models_without_a_common_tensor(mlp: onnx.ModelProto, float_network: onnx.ModelProto) -> None:
    with pytest.raises(ModelError, match="share no tensor"):
        compare(load_model(mlp), load_model(float_network), _samples(1))


def test_no_samples_and_wrong_samples(mlp: onnx.ModelProto) -> None:
    with pytest.raises(CalibrationError, match="no sample"):
        compare(load_model(mlp), load_model(mlp), [])
    with pytest.raises(FeedError):
        compare(load_model(mlp), load_model(mlp), {"z": np.zeros((4, 8), np.float32)})


def test_outputs_that_a_node_leaves_out_are_not_compared() -> None:
    rng = np.random.default_rng(6)
    weights = {"w": rng.standard_normal((1, 16, 3)), "r": rng.standard_normal((1, 16, 4))}
    graph = onnx.helper.make_graph(
        [
            onnx.helper.make_node("LSTM", ["x", "w", "r"], ["", "h"], "lstm", hidden_size=4),
            onnx.helper.make_node("Relu", ["h"], ["y"], "relu"),
        ],
        "g",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [5, 1, 3])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 1, 4])],
        [numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()],
    )
    model = load_model(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 21)], ir_version=10))
    feeds = {"x": rng.standard_normal((5, 1, 3)).astype(np.float32)}
    assert [tensor.name for tensor in compare(model, model, feeds).tensors] == ["h", "y"]
