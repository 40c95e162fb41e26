"""A Llama decoder (Touvron et al., 2023) in plain torch, for the weights and names of a GGUF file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Decoder", "Shape"]


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of a network.

    Attributes:
        groups: heads of keys and values, each shared by `heads / groups` queries (Ainslie et al., 2023).
        base: of the rotary frequencies.
    """

    layers: int
    width: int
    inner: int
    heads: int
    groups: int
    vocabulary: int
    base: float = 100_000.0
    epsilon: float = 1e-5


class Norm(nn.Module):
    """x / √(mean x² + ε) · weight (Zhang & Sennrich, 2019)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.weight, self.epsilon = nn.Parameter(torch.ones(shape.width)), shape.epsilon

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.epsilon) * self.weight


class Block(nn.Module):
    """Causal attention with rotary positions and a gated feed-forward, each normalized before."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        size = shape.width // shape.heads
        self.attn_norm, self.ffn_norm = Norm(shape), Norm(shape)
        self.attn_q, self.attn_output = (nn.Linear(shape.width, shape.width, bias=False) for _ in range(2))
        self.attn_k, self.attn_v = (nn.Linear(shape.width, shape.groups * size, bias=False) for _ in range(2))
        self.ffn_gate, self.ffn_up = (nn.Linear(shape.width, shape.inner, bias=False) for _ in range(2))
        self.ffn_down = nn.Linear(shape.inner, shape.width, bias=False)

    def forward(self, x: Tensor, cosine: Tensor, sine: Tensor, mask: Tensor) -> Tensor:
        x = x + self.attn_output(self._attention(self.attn_norm(x), cosine, sine, mask))
        y = self.ffn_norm(x)
        z: Tensor = self.ffn_down(functional.silu(self.ffn_gate(y)) * self.ffn_up(y))
        return x + z

    def _attention(self, x: Tensor, cosine: Tensor, sine: Tensor, mask: Tensor) -> Tensor:
        batch, length, width = x.shape
        heads, groups = self.shape.heads, self.shape.groups
        size = width // heads

        def split(y: Tensor, count: int) -> Tensor:
            return y.reshape(batch, length, count, size).transpose(1, 2)

        q = _rotated(split(self.attn_q(x), heads), cosine, sine)
        k = _rotated(split(self.attn_k(x), groups), cosine, sine)
        v = split(self.attn_v(x), groups)
        k, v = (y.repeat_interleave(heads // groups, dim=1) for y in (k, v))
        scores = q @ k.transpose(2, 3) * size**-0.5 + mask
        return (torch.softmax(scores, -1) @ v).transpose(1, 2).reshape(batch, length, width)


def _rotated(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Pairs (2i, 2i + 1) turned by their angles (Su et al., 2021), the order that GGUF files keep."""
    even, odd = x[..., 0::2], x[..., 1::2]
    turned = torch.stack((even * cosine - odd * sine, even * sine + odd * cosine), -1)
    return turned.flatten(-2)


class Decoder(nn.Module):
    """Token ids, int64 [batch, tokens], to logits of the next token, float32 [batch, tokens, vocabulary]."""

    rate: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.token_embd = nn.Embedding(shape.vocabulary, shape.width)
        self.blk = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.output_norm = Norm(shape)
        self.output = nn.Linear(shape.width, shape.vocabulary, bias=False)
        size = shape.width // shape.heads
        self.register_buffer("rate", shape.base ** (-torch.arange(0, size, 2) / size), persistent=False)

    def forward(self, input_ids: Tensor) -> Tensor:
        x = self.token_embd(input_ids)
        place = torch.arange(input_ids.shape[1], device=x.device)
        angle = place[:, None] * self.rate
        future = place[None, :] > place[:, None]
        mask = torch.where(future, -1e4, 0.0).to(x.dtype)
        cosine, sine = angle.cos(), angle.sin()
        for block in self.blk:
            x = block(x, cosine, sine, mask)
        y: Tensor = self.output(self.output_norm(x))
        return y

    @classmethod
    def of(cls, weights: Mapping[str, NDArray[Any]], heads: int, groups: int) -> Decoder:
        """The network with the weights of a GGUF file; the output shares the embedding's where it has none."""
        vocabulary, width = weights["token_embd.weight"].shape
        layers = 1 + max(int(name.split(".")[1]) for name in weights if name.startswith("blk."))
        inner = weights["blk.0.ffn_gate.weight"].shape[0]
        network = cls(Shape(layers, width, inner, heads, groups, vocabulary))
        state = {name: torch.tensor(array) for name, array in weights.items()}
        state.setdefault("output.weight", state["token_embd.weight"].clone())
        network.load_state_dict(state)
        return network
