"""Small real models and the files around them, for tests that use the product as its users do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper


def _float_network() -> onnx.ModelProto:
    """image [N, 3, 8, 8] → Conv 3×3 stride 2 → Relu → depthwise Conv → Relu → mean → Gemm → scores [N, 5]."""
    rng = np.random.default_rng(7)

    def weight(name: str, *shape: int) -> onnx.TensorProto:
        return numpy_helper.from_array((rng.standard_normal(shape) * 0.4).astype(np.float32), name)

    nodes = [
        helper.make_node("Conv", ["image", "w1", "b1"], ["c1"], "conv_1", pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Relu", ["c1"], ["r1"], "relu_1"),
        helper.make_node("Conv", ["r1", "w2", "b2"], ["c2"], "conv_2", pads=[1, 1, 1, 1], group=6),
        helper.make_node("Relu", ["c2"], ["r2"], "relu_2"),
        helper.make_node("GlobalAveragePool", ["r2"], ["p"], "pool"),
        helper.make_node("Flatten", ["p"], ["f"], "flat"),
        helper.make_node("Gemm", ["f", "w3", "b3"], ["scores"], "gemm", transB=1),
    ]
    constants = [
        *(weight("w1", 6, 3, 3, 3), weight("b1", 6), weight("w2", 6, 1, 3, 3), weight("b2", 6)),
        *(weight("w3", 5, 6), weight("b3", 5)),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, 8, 8])
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 5])
    graph = helper.make_graph(nodes, "network", [image], [scores], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return model


@pytest.fixture(scope="session")
def float_network() -> onnx.ModelProto:
    """A float network of seven nodes."""
    return _float_network()


@pytest.fixture(scope="session")
def mlp() -> onnx.ModelProto:
    """x [4, 8] → MatMul → Add → Relu → Gemm → y [4, 3]: fixed shapes, ops that small devices have."""
    rng = np.random.default_rng(3)

    def weight(name: str, *shape: int) -> onnx.TensorProto:
        return numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32), name)

    nodes = [
        helper.make_node("Gemm", ["x", "w1", "b1"], ["h"], "gemm_1"),
        helper.make_node("Relu", ["h"], ["a"], "relu_1"),
        helper.make_node("Gemm", ["a", "w2", "b2"], ["y"], "gemm_2"),
    ]
    constants = [weight("w1", 8, 16), weight("b1", 16), weight("w2", 16, 3), weight("b2", 3)]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [4, 8])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [4, 3])
    graph = helper.make_graph(nodes, "mlp", [x], [y], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


@pytest.fixture(scope="session")
def workspace(float_network: onnx.ModelProto) -> Callable[[Path], None]:
    """Fills a folder with what the documentation's examples name."""
    rng = np.random.default_rng(11)
    samples = rng.standard_normal((16, 3, 8, 8)).astype(np.float32)

    def fill(folder: Path) -> None:
        from deepseek_core.package import Package
        from deepseek_core.pipeline import quantize

        onnx.save(float_network, folder / "model.onnx")
        (folder / "samples").mkdir()
        for number, sample in enumerate(samples):
            np.save(folder / "samples" / f"{number:02}.npy", sample)
        np.save(folder / "image.npy", samples[0])
        feeds = [{"image": sample[np.newaxis]} for sample in samples]
        Package(quantize(folder / "model.onnx", feeds)).save(folder / "model.ds")

    return fill
