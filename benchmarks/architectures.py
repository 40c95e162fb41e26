"""Networks for timing: the shapes of well-known architectures with random weights, as float ONNX files."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from deepseek_core.atomic import atomic_write

__all__ = ["ARCHITECTURES", "Architecture"]

OPSET = 21


class Residual(nn.Module):
    """Two 3 × 3 convolutions around a shortcut (He et al., 2016)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_convolution(inputs, outputs, 3, stride), nn.ReLU(), *_convolution(outputs, outputs, 3, 1)
        )
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else nn.Sequential(*_convolution(inputs, outputs, 1, stride))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))


class Inverted(nn.Module):
    """Expansion, depthwise convolution, projection (Sandler et al., 2018)."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = inputs * expansion
        expand = [*_convolution(inputs, inner, 1, 1), nn.ReLU6()] if expansion > 1 else []
        depthwise = [*_convolution(inner, inner, 3, stride, groups=inner), nn.ReLU6()]
        self.body = nn.Sequential(*expand, *depthwise, *_convolution(inner, outputs, 1, 1))
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(x)
        return x + y if self.shortcut else y


class Encoder(nn.Module):
    """A transformer encoder layer, normalized before each half (Xiong et al., 2020)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.feed = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        length, width = x.shape[1:]
        shape = (1, length, self.heads, width // self.heads)
        q, k, v = (part.reshape(shape).transpose(1, 2) for part in self.qkv(self.norms[0](x)).chunk(3, -1))
        weights = torch.softmax(q @ k.transpose(2, 3) * shape[-1] ** -0.5, -1)
        x = x + self.out((weights @ v).transpose(1, 2).reshape(1, length, width))
        y: Tensor = self.feed(self.norms[1](x))
        return x + y


def _convolution(inputs: int, outputs: int, size: int, stride: int, groups: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False)
    return [convolution, nn.BatchNorm2d(outputs)]


def _resnet18() -> nn.Module:
    widths = [(64, 64, 1), (64, 128, 2), (128, 256, 2), (256, 512, 2)]
    blocks = [block for i, o, s in widths for block in (Residual(i, o, s), Residual(o, o, 1))]
    stem = [*_convolution(3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 1000))


def _mobilenet_v2() -> nn.Module:
    settings = [
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    ]
    layers: list[nn.Module] = [*_convolution(3, 32, 3, 2), nn.ReLU6()]
    channels = 32
    for expansion, outputs, count, stride in settings:
        for index in range(count):
            layers.append(Inverted(channels, outputs, stride if index == 0 else 1, expansion))
            channels = outputs
    head = [*_convolution(320, 1280, 1, 1), nn.ReLU6(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1280, 1000)]
    return nn.Sequential(*layers, *head)


def _transformer() -> nn.Module:
    return nn.Sequential(*(Encoder(256, 4) for _ in range(4)), nn.LayerNorm(256), nn.Linear(256, 64))


@dataclass(frozen=True, slots=True)
class Architecture:
    """A network with random weights.

    Attributes:
        shape: of its only input `x`, float32.
    """

    name: str
    build: Callable[[], nn.Module]
    shape: tuple[int, ...]

    def export(self, path: Path) -> Path:
        """Write float ONNX to `path` unless it is there already; the weights are the same every time."""
        if path.exists():
            return path
        torch.manual_seed(0)
        network = self.build().eval()
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            settings: dict[str, Any] = {"dynamo": True, "opset_version": OPSET, "input_names": ["x"], "verbose": False}
            program = torch.onnx.export(network, (torch.randn(self.shape),), **settings)
        assert program is not None
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as file:
            file.write(program.model_proto.SerializeToString())
        return path


_IMAGE = (1, 3, 224, 224)
ARCHITECTURES = (
    Architecture("ResNet-18", _resnet18, _IMAGE),
    Architecture("MobileNetV2", _mobilenet_v2, _IMAGE),
    Architecture("Transformer", _transformer, (1, 64, 256)),
)
