"""A BERT encoder (Devlin et al., 2019) in plain torch, with mean pooling and unit-length output."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Encoder"]

HEADS, EPSILON = 12, 1e-12


class Layer(nn.Module):
    """Self-attention and feed-forward, each added to its input and then normalized."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.dense, self.norm = nn.Linear(width, width), nn.LayerNorm(width, EPSILON)
        self.wide, self.narrow = nn.Linear(width, inner), nn.Linear(inner, width)
        self.last = nn.LayerNorm(width, EPSILON)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        batch, length, width = x.shape

        def heads(y: Tensor) -> Tensor:
            return y.reshape(batch, length, HEADS, width // HEADS).transpose(1, 2)

        scores = heads(self.query(x)) @ heads(self.key(x)).transpose(2, 3) * (width // HEADS) ** -0.5
        context = (torch.softmax(scores + bias, -1) @ heads(self.value(x))).transpose(1, 2)
        x = self.norm(x + self.dense(context.reshape(batch, length, width)))
        y: Tensor = self.last(x + self.narrow(functional.gelu(self.wide(x))))
        return y


class Encoder(nn.Module):
    """Token ids and mask, int64 [batch, tokens], to one vector, float32 [batch, width] of length 1."""

    def __init__(self, vocabulary: int, positions: int, width: int, inner: int, layers: int) -> None:
        super().__init__()
        self.words, self.positions = nn.Embedding(vocabulary, width), nn.Embedding(positions, width)
        self.kinds, self.norm = nn.Embedding(2, width), nn.LayerNorm(width, EPSILON)
        self.layers = nn.ModuleList(Layer(width, inner) for _ in range(layers))

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        x = self.words(input_ids) + self.positions.weight[: input_ids.shape[1]] + self.kinds.weight[0]
        x = self.norm(x)
        mask = attention_mask.to(x.dtype)
        bias = (1 - mask)[:, None, None, :] * torch.finfo(x.dtype).min
        for layer in self.layers:
            x = layer(x, bias)
        mean = (x * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True)
        return functional.normalize(mean, dim=1)

    @classmethod
    def of(cls, weights: Mapping[str, NDArray[Any]]) -> Encoder:
        """The network with the weights of a checkpoint in Hugging Face's naming."""
        layers = 1 + max(int(name.split(".")[2]) for name in weights if name.startswith("encoder.layer."))
        vocabulary, width = weights["embeddings.word_embeddings.weight"].shape
        positions = weights["embeddings.position_embeddings.weight"].shape[0]
        inner = weights["encoder.layer.0.intermediate.dense.weight"].shape[0]
        network = cls(vocabulary, positions, width, inner, layers)
        state = {ours: torch.tensor(weights[theirs]) for ours, theirs in _names(layers)}
        network.load_state_dict(state)
        return network


def _names(layers: int) -> list[tuple[str, str]]:
    found = [
        ("words.weight", "embeddings.word_embeddings.weight"),
        ("positions.weight", "embeddings.position_embeddings.weight"),
        ("kinds.weight", "embeddings.token_type_embeddings.weight"),
        *((f"norm.{kind}", f"embeddings.LayerNorm.{kind}") for kind in ("weight", "bias")),
    ]
    parts = {
        **{name: f"attention.self.{name}" for name in ("query", "key", "value")},
        "dense": "attention.output.dense",
        "norm": "attention.output.LayerNorm",
        "wide": "intermediate.dense",
        "narrow": "output.dense",
        "last": "output.LayerNorm",
    }
    for index in range(layers):
        for ours, theirs in parts.items():
            for kind in ("weight", "bias"):
                found.append((f"layers.{index}.{ours}.{kind}", f"encoder.layer.{index}.{theirs}.{kind}"))
    return found
