"""Scores of what a network answers, and distances between two networks' answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "auc",
    "edit_distance",
    "f1",
    "intersection_over_union",
    "nearest",
    "pearson",
    "ranks",
    "spearman",
    "sqnr",
]

Array = NDArray[Any]


def sqnr(exact: Sequence[Array], got: Sequence[Array]) -> float:
    """Signal to quantization noise in dB over all samples: 10 log₁₀ Σ exact² / Σ (exact − got)².

    Raises:
        ValueError: shapes differ.
    """
    signal = noise = 0.0
    for a, b in zip(exact, got, strict=True):
        if a.shape != b.shape:
            raise ValueError(f"output shape {list(b.shape)}, fp32 gives {list(a.shape)}")
        wide = a.astype(np.float64)
        signal += float(np.square(wide).sum())
        noise += float(np.square(wide - b).sum())
    return 10 * float(np.log10(signal / noise)) if noise else float("inf")


def pearson(a: Array, b: Array) -> float:
    """Linear correlation of two equally long vectors."""
    return float(np.corrcoef(a, b)[0, 1])


def spearman(a: Array, b: Array) -> float:
    """Rank correlation of two equally long vectors; ties share their mean rank."""
    return pearson(ranks(a), ranks(b))


def ranks(values: Array) -> NDArray[np.float64]:
    """Rank of each value from 0; equal values share the mean of their ranks."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts + 1) / 2)[inverse], np.float64)


def auc(scores: Array, labels: Array) -> float:
    """Area under the ROC curve: how often a positive scores above a negative, ties counting half.

    Args:
        labels: bool, both values occurring.
    """
    positive = int(labels.sum())
    negative = len(labels) - positive
    below = float((ranks(scores)[labels]).sum()) - positive * (positive - 1) / 2
    return below / (positive * negative)


def edit_distance(a: str, b: str) -> int:
    """Levenshtein distance in characters."""
    row = list(range(len(b) + 1))
    for i, left in enumerate(a, 1):
        diagonal, row[0] = row[0], i
        for j, right in enumerate(b, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (left != right))
    return row[-1]


def nearest(vectors: Array) -> NDArray[np.int64]:
    """Index of each row's most similar other row by inner product."""
    similar = vectors @ vectors.T
    np.fill_diagonal(similar, -np.inf)
    return np.asarray(similar.argmax(1), np.int64)


def intersection_over_union(a: Array, b: Array) -> NDArray[np.float64]:
    """Of each pair of boxes, [n, 4] and [m, 4] as (left, top, right, bottom): an [n, m] array."""
    corner = np.maximum(a[:, None, :2], b[None, :, :2])
    other = np.minimum(a[:, None, 2:], b[None, :, 2:])
    common = np.prod(np.maximum(other - corner, 0), axis=2)
    area_a = np.prod(a[:, 2:] - a[:, :2], axis=1)
    area_b = np.prod(b[:, 2:] - b[:, :2], axis=1)
    return np.asarray(common / np.maximum(area_a[:, None] + area_b[None, :] - common, 1e-9), np.float64)


def f1(hits: int, found: int, wanted: int) -> float:
    """Harmonic mean of precision and recall; 1 where nothing was to be found and nothing was."""
    return 2 * hits / (found + wanted) if found + wanted else 1.0
