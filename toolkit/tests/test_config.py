"""`DS_CONFIG` and `config=`: what they say, what they refuse, and that every key changes the result."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from deepseek.quantization import QuantizationRecipe, QuantizationWarning, Quantizer, QuantizerConfig

from deepseek_core import discover
from deepseek_core.errors import ConfigError, ModelError

AS_PASTED = "{'batch_size': 4, 'tensor_core': True, 'kernel_fusion': ['conv+relu', 'matmul+bias']}"


def quantized(model: onnx.ModelProto, samples: np.ndarray, **options):
    return Quantizer(model, calibration=samples, recipe="plain", progress=False, **options).optimize()


def units(network) -> dict:
    return {unit.name: unit for unit in network.model.units()}


def fused(network) -> dict[str, str]:
    return {name: unit.activation.op_type for name, unit in units(network).items() if unit.activation is not None}


@pytest.mark.parametrize("text", [AS_PASTED, AS_PASTED.replace("'", '"').replace("True", "true"), f"  {AS_PASTED}\n"])
def test_json_and_python_literals_say_the_same(text: str) -> None:
    assert QuantizerConfig.parse(text) == QuantizerConfig(4, True, ("conv+relu", "matmul+bias"))


def test_the_json_form_is_read_back() -> None:
    config = QuantizerConfig.parse(AS_PASTED)
    assert QuantizerConfig.from_json(json.loads(json.dumps(config.to_json()))) == config
    assert QuantizerConfig().to_json() == {}
    assert QuantizerConfig(kernel_fusion=()).to_json() == {"kernel_fusion": []}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{'batchsize': 4}", "did you mean 'batch_size'? known: batch_size, tensor_core, kernel_fusion"),
        ("{'kernel_fusion': ['conv+rleu']}", "did you mean 'conv+relu'? known: conv+relu"),
        ("{'kernel_fusion': 'conv+relu'}", "give a list"),
        ("{'batch_size': 0}", "1 or more"),
        ("{'batch_size': True}", "1 or more"),
        ("{'tensor_core': 1}", "true or false"),
        ("[1, 2]", "not a mapping"),
        ("batch_size=4", "neither JSON nor a Python literal"),
        ("__import__('os').getcwd()", "neither JSON nor a Python literal"),
        ("{" * 1000, "neither JSON nor a Python literal"),
    ],
)
def test_mistakes_list_what_is_known(text: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        QuantizerConfig.parse(text)
    assert told in str(caught.value)


def test_the_keyword_goes_over_the_environment_key_by_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DS_CONFIG", "{'batch_size': 2, 'tensor_core': True}")
    assert QuantizerConfig.read({"batch_size": 8}) == QuantizerConfig(8, True)
    assert QuantizerConfig.read() == QuantizerConfig(2, True)


def test_a_wrong_variable_is_told_before_any_work(monkeypatch: pytest.MonkeyPatch, onnx_network) -> None:
    monkeypatch.setenv("DS_CONFIG", "{'tensor_cores': True}")
    with pytest.raises(ConfigError, match="tensor_cores"):
        Quantizer(onnx_network)


def test_batch_size_fixes_the_batch(onnx_network, onnx_samples) -> None:
    network = quantized(onnx_network, onnx_samples, config={"batch_size": 4})
    assert network.model.inputs[0].shape == (4, 3, 8, 8)
    assert network.model.outputs[0].shape == (4, 8)
    assert network(onnx_samples[:4]).shape == (4, 8)
    free = quantized(onnx_network, onnx_samples)
    np.testing.assert_array_equal(network(onnx_samples[:4]), free(onnx_samples[:4]))
    assert free.model.inputs[0].shape == ("N", 3, 8, 8)


@pytest.mark.skipif(
    "npu" not in discover().backends, reason="the npu backend, whose shapes are fixed, is not installed"
)
def test_targets_of_fixed_shapes_are_told_the_batch_before_anything_is_decided(onnx_network, onnx_samples) -> None:
    target = "npu:ethos-u55-128"
    with pytest.raises(ModelError, match="unknown before run time") as caught:
        quantized(onnx_network, onnx_samples, backend=target)
    assert 'config {"batch_size": 1}' in caught.value.fix
    network = quantized(onnx_network, onnx_samples, backend=target, config={"batch_size": 1})
    assert network.report.quantized_layers
    assert network(onnx_samples[:1]).shape == (1, 8)


def test_batch_size_against_a_fixed_batch(onnx_network, onnx_samples) -> None:
    fixed = onnx.ModelProto()
    fixed.CopyFrom(onnx_network)
    fixed.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    with pytest.raises(ConfigError, match=r"batch_size=4, but the network's batch is fixed \(1\)"):
        quantized(fixed, onnx_samples, config={"batch_size": 4})


def test_tensor_core_takes_what_matrix_units_compute(onnx_network, onnx_samples) -> None:
    default = quantized(onnx_network, onnx_samples)
    network = quantized(onnx_network, onnx_samples, config={"tensor_core": True})
    types = {str(o.qparams.scheme) for u in network.model.units() for o in (*u.inputs, *u.outputs) if o and o.qparams}
    assert "int8 per_tensor symmetric" in types
    assert all(kind.startswith(("int8", "int32")) and " symmetric" in kind for kind in types)
    assert any(o.qparams and not o.qparams.scheme.symmetric for u in default.model.units() for o in u.outputs)
    reasons = {layer.name: layer.reason for layer in network.report.layers if layer.reason}
    assert reasons["conv_1"] == "3 channels do not fill matrix units, which take multiples of 4"
    assert units(network)["conv_2"].is_quantized, "a depthwise convolution is no matrix product"
    assert units(network)["gemm"].is_quantized


def test_without_tensor_cores_there_are_no_eight_bit_floats() -> None:
    from deepseek.quantization.constraints import allowed

    from deepseek_core import Capabilities, DType, OpRule, QuantScheme, Target

    half, eighth = QuantScheme(DType.INT8), QuantScheme(DType.FLOAT8E4M3FN, symmetric=True)
    table = Capabilities(Target("x", "y"), (OpRule("Conv", eighth, eighth, eighth), OpRule("Conv", half, half, half)))
    assert allowed(table, QuantizerConfig(tensor_core=False)).rules == table.rules[1:]
    assert allowed(table, QuantizerConfig()).rules == table.rules


def test_only_listed_patterns_are_fused(onnx_network, onnx_samples) -> None:
    everything = fused(quantized(onnx_network, onnx_samples))
    assert everything == {"conv_1": "Relu", "conv_2": "Clip", "gemm": "Relu"}
    convolutions = quantized(onnx_network, onnx_samples, config={"kernel_fusion": ["conv+relu", "matmul+bias"]})
    assert fused(convolutions) == {"conv_1": "Relu", "conv_2": "Clip"}
    relu = units(convolutions)["relu_3"]
    assert relu.inputs[0].qparams is not None, "it reads codes of its own"
    assert relu.outputs[0].qparams is not None
    nothing = quantized(onnx_network, onnx_samples, config={"kernel_fusion": []})
    assert fused(nothing).keys() <= {"gemm/bias"}, "in float, what follows a sum may join it"
    assert {"relu_1", "clip_2", "gemm/bias", "last/bias"} <= set(units(nothing))
    wanted, got = (network(onnx_samples) for network in (convolutions, nothing))
    assert np.abs(wanted - got).max() < 0.1 * np.abs(wanted).max()


def test_biases_join_their_product_where_that_is_listed(onnx_network, onnx_samples) -> None:
    network = quantized(onnx_network, onnx_samples, config={"kernel_fusion": ["matmul+bias"]})
    assert "gemm/bias" not in units(network)
    assert len(units(network)["gemm"].node.inputs) == 3
    apart = quantized(onnx_network, onnx_samples, config={"kernel_fusion": ["conv+relu"]})
    assert len(units(apart)["gemm"].node.inputs) == 2
    assert units(apart)["gemm/bias"].op == "Add"


def test_settings_are_part_of_the_recipe(onnx_network, onnx_samples, tmp_path) -> None:
    network = quantized(onnx_network, onnx_samples, config={"batch_size": 2, "kernel_fusion": ["conv+relu"]})
    network.recipe.save(tmp_path / "recipe.toml")
    recipe = QuantizationRecipe.load(tmp_path / "recipe.toml")
    assert recipe.config == QuantizerConfig(2, None, ("conv+relu",))
    again = Quantizer(onnx_network, calibration=onnx_samples, recipe=recipe, progress=False).optimize()
    assert again.model.digest() == network.model.digest()
    assert again.report.notes == ()


def test_a_recipe_goes_over_the_environment_and_says_so(onnx_network, onnx_samples, monkeypatch) -> None:
    monkeypatch.setenv("DS_CONFIG", '{"batch_size": 2}')
    quantizer = Quantizer(onnx_network, calibration=onnx_samples, recipe=QuantizationRecipe(), progress=False)
    with pytest.warns(QuantizationWarning, match="DS_CONFIG is not used"):
        network = quantizer.optimize()
    assert network.model.inputs[0].shape == ("N", 3, 8, 8)
