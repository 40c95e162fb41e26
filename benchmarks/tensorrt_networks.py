"""BERT-base, GPT-2 small and ResNet-50 as plain modules; weights are random, which is all that timing needs."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

__all__ = ["NETWORKS", "Network", "export"]

_OPSET = 18
"""The last in which GELU is still written out, which every TensorRT reads."""


class Attention(nn.Module):
    """Multi-head attention; `past` holds keys and values of earlier tokens (Vaswani et al., 2017)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.size = heads, width // heads
        self.q, self.k, self.v = (nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, width)

    def forward(
        self, x: Tensor, mask: Tensor | None, past: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        batch, length, width = x.shape
        q, k, v = (
            layer(x).reshape(batch, length, self.heads, self.size).transpose(1, 2) for layer in (self.q, self.k, self.v)
        )
        if past is not None:
            k, v = torch.cat([past[0], k], 2), torch.cat([past[1], v], 2)
        scores = torch.matmul(q * self.size**-0.5, k.transpose(2, 3))
        weights = torch.softmax(scores if mask is None else scores + mask, -1)
        mixed = torch.matmul(weights, v).transpose(1, 2).reshape(batch, length, width)
        return self.out(mixed), k, v


class Layer(nn.Module):
    """A transformer layer; `first` puts the normalization in front, as GPT-2 has it, else behind, as BERT does."""

    def __init__(self, width: int, heads: int, *, first: bool) -> None:
        super().__init__()
        self.attention = Attention(width, heads)
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.feed = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.first = first

    def forward(
        self, x: Tensor, mask: Tensor | None = None, past: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        if self.first:
            mixed, k, v = self.attention(self.norms[0](x), mask, past)
            x = x + mixed
            return x + self.feed(self.norms[1](x)), k, v
        mixed, k, v = self.attention(x, mask, past)
        x = self.norms[0](x + mixed)
        return self.norms[1](x + self.feed(x)), k, v


class Bert(nn.Module):
    """BERT's encoder and pooler (Devlin et al., 2019); `layers` 12 is BERT-base."""

    def __init__(self, layers: int = 12, width: int = 768, heads: int = 12, words: int = 30522) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(words, width), nn.Parameter(0.02 * torch.randn(512, width))
        self.norm = nn.LayerNorm(width)
        self.layers = nn.ModuleList([Layer(width, heads, first=False) for _ in range(layers)])
        self.pool = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.norm(self.words(tokens) + self.places[: tokens.shape[1]])
        for layer in self.layers:
            x = layer(x)[0]
        return torch.tanh(self.pool(x[:, 0]))


class Gpt2(nn.Module):
    """GPT-2 (Radford et al., 2019); `layers` 12 is GPT-2 small. Prefill of 128 tokens: logits of the last."""

    def __init__(self, layers: int = 12, width: int = 768, heads: int = 12, words: int = 50257) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(words, width), nn.Parameter(0.02 * torch.randn(1024, width))
        self.layers = nn.ModuleList([Layer(width, heads, first=True) for _ in range(layers)])
        self.register_buffer("mask", torch.full((128, 128), -1e4).triu(1))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, words, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.words(tokens) + self.places[: tokens.shape[1]]
        for layer in self.layers:
            x = layer(x, self.mask)[0]
        return self.head(self.norm(x[:, -1]))  # type: ignore[no-any-return]


class Gpt2Step(Gpt2):
    """One token behind `past` [layers, keys and values, batch, heads, length, size]: logits, and both for the token."""

    def forward(self, tokens: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        length = past.shape[4]
        x, fresh = self.words(tokens) + self.places[length : length + 1], []
        for number, layer in enumerate(self.layers):
            x, k, v = layer(x, None, (past[number, 0], past[number, 1]))
            fresh.append(torch.stack([k[:, :, length:], v[:, :, length:]]))
        return self.head(self.norm(x[:, -1])), torch.stack(fresh)


class Bottleneck(nn.Module):
    """1 × 1, 3 × 3 and 1 × 1 convolutions around a shortcut (He et al., 2016), the stride at the 3 × 3."""

    def __init__(self, inputs: int, inner: int, stride: int) -> None:
        super().__init__()
        outputs = 4 * inner
        self.body = nn.Sequential(
            *_convolution(inputs, inner, 1, 1),
            nn.ReLU(),
            *_convolution(inner, inner, 3, stride),
            nn.ReLU(),
            *_convolution(inner, outputs, 1, 1),
        )
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else nn.Sequential(*_convolution(inputs, outputs, 1, stride))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))


def _convolution(inputs: int, outputs: int, size: int, stride: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False), nn.BatchNorm2d(outputs)]


def _resnet50(blocks: tuple[int, ...] = (3, 4, 6, 3)) -> nn.Module:
    stages, inputs = list[nn.Module](), 64
    for stage, count in enumerate(blocks):
        for block in range(count):
            stages.append(Bottleneck(inputs, 64 << stage, 2 if stage and not block else 1))
            inputs = 256 << stage
    head = [*_convolution(3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    return nn.Sequential(*head, *stages, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, 1000))


def _tokens(batch: int, length: int, words: int) -> Tensor:
    generator = torch.Generator().manual_seed(batch)
    return torch.randint(0, words, (batch, length), generator=generator)


@dataclass(frozen=True, slots=True)
class Network:
    """One row of the benchmark.

    Attributes:
        build: makes the module; `small` cuts layers for tests.
        inputs: makes the arguments for a batch size and a seed.
        names: of the inputs in ONNX.
        batches: sizes that are timed.
    """

    name: str
    build: Callable[[bool], nn.Module]
    inputs: Callable[[int, int], tuple[Tensor, ...]]
    names: tuple[str, ...]
    batches: tuple[int, ...]

    def module(self, *, small: bool = False) -> nn.Module:
        """The module in evaluation mode, with the same weights each time."""
        torch.manual_seed(1)
        return self.build(small).eval()


def _past(batch: int, seed: int) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    token = torch.randint(0, 50257, (batch, 1), generator=generator)
    return token, torch.randn(12, 2, batch, 12, 128, 64, generator=generator)


def _images(batch: int, seed: int) -> tuple[Tensor, ...]:
    return (torch.randn(batch, 3, 224, 224, generator=torch.Generator().manual_seed(seed)),)


NETWORKS = (
    Network("resnet50", lambda small: _resnet50((1, 1, 1, 1) if small else (3, 4, 6, 3)), _images, ("x",), (1, 8, 64)),
    Network(
        "bert-base",
        lambda small: Bert(2 if small else 12),
        lambda batch, seed: (_tokens(batch + seed, 128, 30522)[:batch],),
        ("tokens",),
        (1, 8, 64),
    ),
    Network(
        "gpt2-prefill",
        lambda small: Gpt2(2 if small else 12),
        lambda batch, seed: (_tokens(batch + seed, 128, 50257)[:batch],),
        ("tokens",),
        (1,),
    ),
    Network("gpt2-step", lambda small: Gpt2Step(2 if small else 12), _past, ("tokens", "past"), (1,)),
)


def export(network: Network, module: nn.Module, path: Path, arguments: tuple[Tensor, ...]) -> Path:
    """Write the module as an ONNX file with the shapes of the arguments."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        names, settings = list(network.names), {"dynamo": True, "opset_version": _OPSET, "verbose": False}
        program = torch.onnx.export(module, arguments, input_names=names, **settings)  # type: ignore[arg-type]
    assert program is not None
    program.save(str(path), external_data=True)
    return path
