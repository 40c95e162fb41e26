"""Small networks of the kinds that people have, and data for them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from deepseek_core.cli import main


class Block(nn.Module):
    """Convolution, BatchNorm, ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1, stride=2, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.norm(self.conv(x)))


class ConvNet(nn.Module):
    """image [N, 3, 16, 16] → {"logits": [N, 5], "features": ([N, 16],)}."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(Block(3, 8), Block(8, 16))
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(16, 5)

    def forward(self, image: torch.Tensor, scale: float = 1.0) -> dict[str, Any]:
        features = self.blocks(image).mean((2, 3))
        return {"logits": self.head(self.drop(features)) * scale, "features": (features, None)}


class Transformer(nn.Module):
    """ids [N, T] → embedding [N, 16]: a text encoder of one layer."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(50, 16)
        self.layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.head = nn.Linear(16, 16)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(self.layer(self.table(ids)).mean(1))


def images(count: int, seed: int) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal((count, 3, 16, 16)) * 2 + 1).astype(np.float32)


@pytest.fixture(scope="session")
def convnet() -> nn.Module:
    """A convolutional network whose BatchNorm has seen data; left in training mode. Not to be changed."""
    torch.manual_seed(0)
    network = ConvNet()
    with torch.no_grad():
        for seed in range(20):
            network(torch.from_numpy(images(16, 100 + seed)))
    return network


@pytest.fixture(scope="session")
def transformer() -> nn.Module:
    torch.manual_seed(1)
    return Transformer()


@pytest.fixture(scope="session")
def batches() -> list[tuple[torch.Tensor, torch.Tensor]]:
    """(images, labels) as a DataLoader gives them; the last batch is smaller."""
    data = torch.from_numpy(images(36, 1))
    return [(part, torch.zeros(len(part), dtype=torch.int64)) for part in data.split(8)]


def _onnx_network() -> onnx.ModelProto:
    """image [N, 3, 8, 8] → Conv → Relu → depthwise Conv → Clip → mean → Gemm → Relu → scores [N, 8]."""
    rng = np.random.default_rng(7)

    def weight(name: str, *shape: int) -> onnx.TensorProto:
        return numpy_helper.from_array((rng.standard_normal(shape) * 0.4).astype(np.float32), name)

    nodes = [
        helper.make_node("Conv", ["image", "w1", "b1"], ["c1"], "conv_1", pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Relu", ["c1"], ["r1"], "relu_1"),
        helper.make_node("Conv", ["r1", "w2", "b2"], ["c2"], "conv_2", pads=[1, 1, 1, 1], group=8),
        helper.make_node("Clip", ["c2", "low", "high"], ["r2"], "clip_2"),
        helper.make_node("GlobalAveragePool", ["r2"], ["p"], "pool"),
        helper.make_node("Flatten", ["p"], ["f"], "flat"),
        helper.make_node("Gemm", ["f", "w3", "b3"], ["g"], "gemm", transB=1),
        helper.make_node("Relu", ["g"], ["h"], "relu_3"),
        helper.make_node("Gemm", ["h", "w4", "b4"], ["scores"], "last", transB=1),
    ]
    constants = [
        *(weight("w1", 8, 3, 3, 3), weight("b1", 8), weight("w2", 8, 1, 3, 3), weight("b2", 8)),
        *(weight("w3", 16, 8), weight("b3", 16), weight("w4", 8, 16), weight("b4", 8)),
        *(numpy_helper.from_array(np.float32(v), name) for name, v in (("low", 0.0), ("high", 6.0))),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, 8, 8])
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 8])
    graph = helper.make_graph(nodes, "network", [image], [scores], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


@pytest.fixture(scope="session")
def onnx_network() -> onnx.ModelProto:
    return _onnx_network()


@pytest.fixture(scope="session")
def onnx_samples() -> np.ndarray:
    return np.random.default_rng(11).standard_normal((24, 3, 8, 8)).astype(np.float32)


@pytest.fixture(scope="session")
def shelf(tmp_path_factory: pytest.TempPathFactory, onnx_network, onnx_samples) -> Path:
    """A model and a folder of samples. Not to be changed."""
    folder = tmp_path_factory.mktemp("shelf")
    onnx.save(onnx_network, folder / "model.onnx")
    (folder / "samples").mkdir()
    for number, sample in enumerate(onnx_samples):
        np.save(folder / "samples" / f"{number:02}.npy", sample)
    return folder


@pytest.fixture(autouse=True)
def no_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of whoever runs the tests has no say."""
    monkeypatch.delenv("DS_CONFIG", raising=False)


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def deepseek(capfd: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """Runs a command in this process."""

    def call(*args: object) -> Answer:
        capfd.readouterr()
        code = main([str(arg) for arg in args])
        out, err = capfd.readouterr()
        return Answer(code, out, err)

    return call
