"""MobileNetV3-Large with random weights: hard swish, squeeze and excitation (Howard et al., 2019, table 1)."""

from __future__ import annotations

from torch import Tensor, nn

from architectures import Architecture

__all__ = ["MOBILENET_V3"]

_LARGE = (
    *((3, 16, 16, 0, "relu", 1), (3, 64, 24, 0, "relu", 2), (3, 72, 24, 0, "relu", 1)),
    *((5, 72, 40, 1, "relu", 2), (5, 120, 40, 1, "relu", 1), (5, 120, 40, 1, "relu", 1)),
    *((3, 240, 80, 0, "hswish", 2), (3, 200, 80, 0, "hswish", 1), (3, 184, 80, 0, "hswish", 1)),
    *((3, 184, 80, 0, "hswish", 1), (3, 480, 112, 1, "hswish", 1), (3, 672, 112, 1, "hswish", 1)),
    *((5, 672, 160, 1, "hswish", 2), (5, 960, 160, 1, "hswish", 1), (5, 960, 160, 1, "hswish", 1)),
)
"""Of each block: kernel, expanded channels, outputs, whether it is gated, activation, stride."""


def _activation(name: str) -> nn.Module:
    return nn.ReLU() if name == "relu" else nn.Hardswish()


def _convolution(inputs: int, outputs: int, size: int, stride: int, groups: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False)
    return [convolution, nn.BatchNorm2d(outputs)]


class Gate(nn.Module):
    """Each channel times a number between 0 and 1 that follows from the means of all (Hu et al., 2018)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = max(8, (channels // 4 + 4) // 8 * 8)
        self.factors = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, inner, 1), nn.ReLU(), nn.Conv2d(inner, channels, 1)
        )
        self.last = nn.Hardsigmoid()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x * self.last(self.factors(x))
        return y


class Block(nn.Module):
    """Expansion, depthwise convolution, gate, projection."""

    def __init__(
        self, inputs: int, size: int, inner: int, outputs: int, *, gated: bool, activation: str, stride: int
    ) -> None:
        super().__init__()
        expand = [*_convolution(inputs, inner, 1, 1), _activation(activation)] if inner != inputs else []
        depthwise = [*_convolution(inner, inner, size, stride, groups=inner), _activation(activation)]
        gate = [Gate(inner)] if gated else []
        self.body = nn.Sequential(*expand, *depthwise, *gate, *_convolution(inner, outputs, 1, 1))
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(x)
        return x + y if self.shortcut else y


def _network(rows: tuple[tuple[int, int, int, int, str, int], ...], last: int, hidden: int) -> nn.Module:
    layers: list[nn.Module] = [*_convolution(3, 16, 3, 2), nn.Hardswish()]
    channels = 16
    for size, inner, outputs, gated, activation, stride in rows:
        layers.append(Block(channels, size, inner, outputs, gated=bool(gated), activation=activation, stride=stride))
        channels = outputs
    layers += [*_convolution(channels, last, 1, 1), nn.Hardswish(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(last, hidden), nn.Hardswish(), nn.Linear(hidden, 1000))


MOBILENET_V3 = Architecture("MobileNetV3-Large", lambda: _network(_LARGE, 960, 1280), (1, 3, 224, 224))
