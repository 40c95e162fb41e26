"""The whole way as a user goes it, for modules and files, with data and without."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from deepseek.quantization import QuantizationRecipe, QuantizationWarning, Quantizer
from deepseek.quantization.steps import StepSpec

from deepseek_core import Role
from deepseek_core.errors import CalibrationError, ConfigError, FeedError, ModelError
from deepseek_core.package import Package
from deepseek_core.runtime import Session


def sqnr(wanted: torch.Tensor, got: torch.Tensor) -> float:
    return float(10 * torch.log10(wanted.square().sum() / (wanted - got).square().sum()))


@pytest.fixture(scope="module")
def quantized(convnet, batches):
    """As in the README: nothing but a module, bits, a method and data."""
    module = copy.deepcopy(convnet)
    quantizer = Quantizer(module, bits=8, method="kl_divergence", calibration=batches, progress=False)
    result = quantizer.optimize()
    assert module.training, "the module is left as it was"
    return result


def reference(module, *args):
    with torch.no_grad():
        return copy.deepcopy(module).eval()(*args)


def test_a_module_is_quantized_and_called_as_before(quantized, convnet) -> None:
    image = torch.randn(6, 3, 16, 16, generator=torch.Generator().manual_seed(5)) * 2 + 1
    wanted, got = reference(convnet, image), quantized(image)
    assert sqnr(wanted["logits"], got["logits"]) > 30
    assert got["features"][1] is None
    arrays = quantized(image=image.numpy())
    np.testing.assert_array_equal(arrays["logits"], got["logits"].numpy())
    assert {layer.precision for layer in quantized.report.layers} == {"int8"}
    assert quantized.recipe.calibrator.method == "kl_divergence"
    assert quantized.report.samples == 36
    assert quantized.report.attempts, "a recipe was searched"


def test_the_result_is_saved_compiled_and_written_as_onnx(quantized, tmp_path, batches) -> None:
    image = batches[0][0].numpy()
    quantized.save(tmp_path / "m.ds")
    assert not Package.open(tmp_path / "m.ds").is_compiled
    quantized.save(tmp_path / "m.cpu.ds", targets=["cpu"])
    with Session(tmp_path / "m.cpu.ds") as session:
        outputs = session.run({"image": image})
    np.testing.assert_allclose(outputs["logits"], quantized(image)["logits"], atol=1e-5)
    proto = quantized.to_onnx(tmp_path / "m.onnx")
    onnx.checker.check_model(proto, full_check=True)
    assert {"QuantizeLinear", "DequantizeLinear"} <= {node.op_type for node in proto.graph.node}
    runtime = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    (logits,) = runtime.run(["logits"], {"image": image})
    np.testing.assert_allclose(logits, quantized(image)["logits"], rtol=0.05, atol=0.05)


def test_the_recipe_gives_the_same_bits_again(quantized, convnet, batches, tmp_path) -> None:
    for name in ("recipe.toml", "recipe.json"):
        quantized.recipe.save(tmp_path / name)
        assert QuantizationRecipe.load(tmp_path / name) == quantized.recipe
    again = Quantizer(convnet, calibration=batches, recipe=tmp_path / "recipe.toml", progress=False).optimize()
    assert again.model.digest() == quantized.model.digest()
    assert again.report.attempts == ()


def test_calls_that_do_not_fit_are_refused(quantized) -> None:
    with pytest.raises(FeedError, match="make axis 1 3 long"):
        quantized(torch.zeros(1, 4, 16, 16))
    with pytest.raises(FeedError, match="dtype float64, not float32"):
        quantized(np.zeros((1, 3, 16, 16)))
    quantized.close()
    quantized(torch.zeros(1, 3, 16, 16))


def test_a_transformer_with_sentences_of_any_length(transformer) -> None:
    generator = torch.Generator().manual_seed(2)
    sentences = [torch.randint(0, 50, (4, length), generator=generator) for length in (5, 9, 9, 12)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        network = Quantizer(transformer, calibration=sentences, recipe="plain", progress=False).optimize()
    ids = torch.randint(0, 50, (2, 17), generator=generator)
    assert sqnr(reference(transformer, ids), network(ids)) > 20
    assert network.model.inputs[0].shape == ("batch", "ids_1")
    layers = {layer.name: layer for layer in network.report.layers}
    assert layers["layer.linear1/MatMul"].precision == "int8"


def test_without_data_it_is_made_up_with_a_warning(convnet) -> None:
    example = torch.zeros(1, 3, 16, 16)
    with pytest.warns(QuantizationWarning, match="distilled from 2 BatchNorm layers.*real data"):
        network = Quantizer(convnet, example_inputs=example, recipe="plain", progress=False).optimize()
    image = torch.randn(6, 3, 16, 16, generator=torch.Generator().manual_seed(5)) * 2 + 1
    assert sqnr(reference(convnet, image)["logits"], network(image)["logits"]) > 20
    assert any("distilled" in note for note in network.report.notes)


def test_an_onnx_file_without_data(shelf) -> None:
    with pytest.warns(QuantizationWarning, match="16 samples are noise"):
        network = Quantizer(shelf / "model.onnx", recipe="plain", progress=False).optimize()
    assert network.report.quantized_layers == len(network.report.layers)


def test_an_onnx_file_with_a_folder(shelf, onnx_samples) -> None:
    network = Quantizer(shelf / "model.onnx", calibration=shelf / "samples", recipe="plain", progress=False).optimize()
    assert (network.report.name, network.report.samples) == ("model", 24)
    array = Quantizer(shelf / "model.onnx", calibration=onnx_samples, recipe="plain", progress=False).optimize()
    np.testing.assert_allclose(network(onnx_samples[:2]), array(onnx_samples[:2]), atol=0.05)


@pytest.mark.parametrize(
    ("asked", "weights"),
    [
        ((4, None, ("int4", "w4a8")), 4),
        ((4, "w4a8", ("w4a8",)), 4),
        ((8, "w4a8", ("w4a8",)), 4),
        ((8, None, ("int8",)), 8),
        ((8, "w8a16", ("w8a16",)), 8),
    ],
)
def test_bits_and_precision(onnx_network, onnx_samples, asked, weights) -> None:
    bits, precision, shown = asked
    quantizer = Quantizer(
        onnx_network, bits, calibration=onnx_samples, precision=precision, recipe="plain", progress=False
    )
    network = quantizer.optimize()
    kinds = {
        operand.qparams.scheme.dtype.bits
        for unit in network.model.units()
        for operand in unit.operands(Role.WEIGHT)
        if operand.qparams is not None
    }
    assert kinds == {weights}
    assert network.report.precision in shown


class Projections(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = torch.nn.Linear(64, 64, bias=False), torch.nn.Linear(64, 64, bias=False)

    def forward(self, x):
        return self.two(torch.relu(self.one(x)))


def test_four_bits_are_weights_in_blocks_where_the_target_has_them() -> None:
    torch.manual_seed(0)
    module = Projections()
    x = torch.randn(16, 4, 64)
    network = Quantizer(module, bits=4, calibration=x, recipe="plain", progress=False).optimize()
    assert {layer.precision for layer in network.report.layers if layer.weight} == {"w4a16"}
    assert all("block" in layer.weight for layer in network.report.layers if layer.weight)
    assert sqnr(reference(module, x), network(x)) > 10


def accuracy(network) -> float:
    return 0.9


def test_a_budget_that_cannot_be_met_gives_the_best_and_says_what_is_missed(onnx_network, onnx_samples) -> None:
    network = Quantizer(onnx_network, calibration=onnx_samples, min_sqnr=200.0, progress=False).optimize()
    assert network.report.shortfall is not None
    assert "wanted 200 dB" in network.report.shortfall
    assert network.report.sqnr > 25
    assert "budget missed" in str(network.report)


def test_evaluate_is_asked_about_networks_that_are_called_like_the_model(convnet, batches) -> None:
    seen = []

    def evaluate(network) -> float:
        answer = network(batches[0][0])
        assert isinstance(answer["logits"], torch.Tensor)
        seen.append(answer["logits"])
        return float(len(seen))

    options = {"calibration": batches, "evaluate": evaluate, "progress": False, "recipe": "plain"}
    report = Quantizer(convnet, max_drop=0.5, **options).optimize().report
    assert (report.reference, report.value, report.shortfall) == (1.0, 2.0, None)
    torch.testing.assert_close(seen[0], reference(convnet, batches[0][0])["logits"], rtol=1e-3, atol=1e-3)


def test_what_evaluate_raises_goes_through(onnx_network, onnx_samples, tmp_path) -> None:
    def evaluate(network) -> float:
        raise ZeroDivisionError("half-way")

    quantizer = Quantizer(
        onnx_network,
        calibration=onnx_samples,
        evaluate=evaluate,
        max_drop=0.0,
        resume=tmp_path / "trials",
        progress=False,
    )
    with pytest.raises(ZeroDivisionError, match="half-way"):
        quantizer.optimize()


def test_a_recipe_is_not_lost_when_evaluate_raises_at_the_end(
    onnx_network, onnx_samples, tmp_path, monkeypatch
) -> None:
    monkeypatch.setenv("DEEPSEEK_CACHE_DIR", str(tmp_path))

    def evaluate(network) -> float:
        raise ZeroDivisionError("at the end")

    options = {"calibration": onnx_samples, "progress": False}
    with pytest.raises(ZeroDivisionError) as caught:
        Quantizer(onnx_network, evaluate=evaluate, **options).optimize()
    (note,) = caught.value.__notes__
    path = note.split("recipe='")[1].rstrip("'")
    Quantizer(onnx_network, recipe=path, **options).optimize()


def test_progress_is_told(onnx_network, onnx_samples) -> None:
    told = []
    Quantizer(
        onnx_network, calibration=onnx_samples, recipe="plain", progress=lambda what, f: told.append((what, f))
    ).optimize()
    assert any("calibrating" in what for what, _ in told)
    assert all(0 <= fraction <= 1 for _, fraction in told)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"bits": 7}, "bits=7; give 8 or 4"),
        ({"precision": "int3"}, "no precision is named 'int3'; known: int8, int4"),
        ({"bits": 4, "precision": "int8"}, "contradict each other"),
        ({"backend": "cpu", "targets": ["cpu"]}, "both given"),
        ({"targets": []}, "is empty"),
        ({"max_drop": 0.01}, "needs something to measure"),
        ({"max_drop": -1, "evaluate": accuracy}, "from 0 up"),
        ({"max_samples": 0}, "1 or more"),
        ({"method_options": {"bins": 3}}, "but no method"),
        ({"config": {"batch": 3}}, "did you mean 'batch_size'?"),
        ({"recipe": QuantizationRecipe(), "bits": 8, "method": "mse"}, "method= beside a recipe"),
        ({"recipe": QuantizationRecipe(), "bits": 4}, "bits= beside a recipe"),
        ({"recipe": "nowhere.toml"}, "nowhere.toml"),
        ({"effort": "huge"}, "give quick, standard, thorough"),
    ],
)
def test_arguments_are_checked_before_any_work(onnx_network, options, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Quantizer(onnx_network, **options)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("options", "kind", "told"),
    [
        ({"method": "magic"}, ConfigError, "unknown calibrator 'magic'"),
        ({"method": "percentile", "method_options": {"percentile": 120}}, ConfigError, "120"),
        ({"example_inputs": 3}, ConfigError, "for torch modules"),
        ({"recipe": QuantizationRecipe(steps=(StepSpec("keep_float", {"units": ["x"]}),))}, ConfigError, "no unit 'x'"),
        ({"config": {"kernel_fusion": []}, "targets": "nothing"}, Exception, "no backend 'nothing'"),
    ],
)
def test_what_only_the_work_can_tell(onnx_network, onnx_samples, options, kind, told: str) -> None:
    with pytest.raises(kind, match=told):
        Quantizer(onnx_network, calibration=onnx_samples, progress=False, **options).optimize()


def test_other_mistakes(convnet, onnx_network, onnx_samples, quantized, batches) -> None:
    with pytest.raises(ConfigError, match="give example_inputs="):
        Quantizer(convnet, progress=False).optimize()
    with pytest.raises(ConfigError, match="the model is a int"):
        Quantizer(3, progress=False).optimize()
    with pytest.raises(CalibrationError, match="holds no sample"):
        Quantizer(convnet, calibration=[], progress=False).optimize()
    with pytest.raises(ModelError, match="quantized already"):
        Quantizer(quantized.to_onnx(), calibration=batches, progress=False).optimize()
    with pytest.raises(CalibrationError, match="sample 0"):
        Quantizer(onnx_network, calibration=onnx_samples[:, :2], progress=False).optimize()


def test_constant_and_dead_channels(onnx_network, onnx_samples) -> None:
    dead = onnx.ModelProto()
    dead.CopyFrom(onnx_network)
    for tensor in dead.graph.initializer:
        if tensor.name in ("w1", "b1"):
            array = onnx.numpy_helper.to_array(tensor).copy()
            array[:3] = 0.0
            tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    constant = np.zeros_like(onnx_samples)
    for samples in (onnx_samples, constant):
        network = Quantizer(dead, calibration=samples, progress=False).optimize()
        assert np.isfinite(network(onnx_samples)).all()
        network.report.html()
