"""Data made up: distilled from BatchNorm statistics, or noise of a natural kind."""

from __future__ import annotations

import copy

import numpy as np
import onnx
import pytest
import torch
from deepseek.quantization.data.distil import batch_norms, distilled
from deepseek.quantization.data.noise import id_limits, made_up
from deepseek.quantization.data.synthesis import ROWS, synthesised
from deepseek.quantization.frontends import open_onnx
from deepseek.quantization.frontends.torch import ModuleSource
from onnx import TensorProto, helper, numpy_helper

from deepseek_core.errors import CalibrationError
from deepseek_core.ir.frontend import load_model


def silent(what: str, fraction: float) -> None:
    return


def distance(module, images: np.ndarray) -> float:
    """How far what each BatchNorm gets is from its running statistics, in deviations."""
    found = []

    def note(layer, args) -> None:
        mean = args[0].mean((0, 2, 3)) - layer.running_mean
        found.append(float((mean.square() / layer.running_var).mean()))

    hooks = [layer.register_forward_pre_hook(note) for layer in batch_norms(module)]
    with torch.no_grad():
        module(torch.from_numpy(images))
    for hook in hooks:
        hook.remove()
    return float(np.mean(found))


def test_distilled_inputs_look_to_the_network_like_its_training_data(convnet) -> None:
    module = copy.deepcopy(convnet).eval()
    module.head.weight.requires_grad_(False)
    state = {name: value.clone() for name, value in module.state_dict().items()}
    start = {"image": np.random.default_rng(0).standard_normal((8, 3, 16, 16)).astype(np.float32)}
    before = torch.get_rng_state()
    found = [distilled(module, lambda t: module(t["image"]), start, 0, silent)["image"] for _ in range(2)]
    assert distance(module, found[0]) < 0.4 * distance(module, start["image"])
    np.testing.assert_array_equal(found[0], found[1])
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(value, module.state_dict()[name]) for name, value in state.items())
    assert [p.requires_grad for p in module.head.parameters()] == [False, True]
    assert all(parameter.grad is None for parameter in module.parameters())


def test_a_module_with_batch_norm_is_asked_and_one_without_is_not(convnet, transformer) -> None:
    source = ModuleSource(copy.deepcopy(convnet), torch.zeros(1, 3, 16, 16), is_call=True)
    samples, note = synthesised(source.network(source.example, {}), {}, 0, silent)
    assert (len(samples), {sample["image"].shape for sample in samples}) == (ROWS, {(1, 3, 16, 16)})
    assert "distilled from 2 BatchNorm layers" in note
    assert "real data" in note
    source = ModuleSource(transformer, torch.zeros(1, 6, dtype=torch.int64), is_call=True)
    network = source.network(source.example, {"ids": {1}})
    samples, note = synthesised(network, {"ids": (1, 6)}, 0, silent)
    ids = np.concatenate([sample["ids"] for sample in samples])
    assert ids.shape == (ROWS, 6)
    assert ids.min() >= 0
    assert 30 < ids.max() < 50, "ids are rows of the embedding"
    assert "no BatchNorm" in note


def test_noise_for_images_is_seeded_and_natural(onnx_network) -> None:
    model = load_model(onnx_network)
    first, again, other = (np.concatenate([s["image"] for s in made_up(model, {}, 16, seed)]) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    np.testing.assert_allclose(first.mean((2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(first.std((2, 3)), 1, atol=1e-3)
    power = np.square(np.abs(np.fft.fft2(first))).mean((0, 1))
    assert power[0, 1] > 4 * power[0, 3], "low frequencies carry most of the power"


def _model(inputs, nodes, constants=()) -> onnx.ModelProto:
    infos = [helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in inputs]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    graph = helper.make_graph(nodes, "g", infos, outputs, list(constants))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def test_other_types_are_made_up_by_what_they_are_for() -> None:
    table = numpy_helper.from_array(np.zeros((9, 4), np.float32), "table")
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["rows"]),
        helper.make_node("Cast", ["mask"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("ReduceSum", ["real"], ["count"]),
        helper.make_node("Cast", ["pixels"], ["bright"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMax", ["bright"], ["most"]),
        helper.make_node("Add", ["rows", "count"], ["part"]),
        helper.make_node("Add", ["part", "most"], ["y"]),
    ]
    inputs = [
        ("ids", TensorProto.INT64, ["N", "T"]),
        ("mask", TensorProto.INT64, ["N", "T"]),
        ("pixels", TensorProto.UINT8, [1, 3, 16, 16]),
    ]
    model = load_model(_model(inputs, nodes, [table]))
    assert id_limits(model) == {"ids": 9}
    samples = list(made_up(model, {"ids": (1, 5)}, 20, 0))
    ids = np.concatenate([s["ids"] for s in samples])
    assert (ids.shape, ids.min(), ids.max()) == ((20, 5), 0, 8)
    assert samples[0]["mask"].shape == (1, 32)
    assert (samples[0]["mask"] == 1).all()
    pixels = samples[0]["pixels"]
    assert pixels.dtype == np.uint8
    assert pixels.max() - pixels.min() > 80


def test_what_cannot_be_made_up_is_told() -> None:
    nodes = [helper.make_node("StringNormalizer", ["x"], ["s"]), helper.make_node("Shape", ["s"], ["n"])]
    nodes.append(helper.make_node("Cast", ["n"], ["y"], to=TensorProto.FLOAT))
    network = open_onnx(_model([("x", TensorProto.STRING, ["N"])], nodes))
    with pytest.raises(CalibrationError, match="input 'x' has type object; give calibration="):
        synthesised(network, {}, 0, silent)
