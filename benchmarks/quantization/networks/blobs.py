"""Upright boxes around the connected parts of a map of probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["boxes", "components"]

_SMALLEST = 3
"""Pixels on the shorter side below which a part is noise."""


def boxes(probability: NDArray[Any], threshold: float, certain: float, unclip: float) -> NDArray[np.float64]:
    """Boxes [n, 4] as (left, top, right, bottom) of parts above `threshold`.

    As in the post-processing of differentiable binarization (Liao et al., 2020) a box counts when the mean inside it is
    at least `certain`, and grows on each side by area · `unclip` / perimeter; boxes here are upright.
    """
    found = []
    for left, top, right, bottom in components(probability > threshold):
        width, height = right - left, bottom - top
        if min(width, height) < _SMALLEST or probability[top:bottom, left:right].mean() < certain:
            continue
        grow = width * height * unclip / (2 * (width + height))
        found.append((left - grow, top - grow, right + grow, bottom + grow))
    return np.array(found, np.float64).reshape(-1, 4)


def components(mask: NDArray[np.bool_]) -> list[tuple[int, int, int, int]]:
    """Bounding box of each 8-connected part of a mask [height, width], from its runs of set pixels in each row."""
    parents: list[int] = []
    extents: list[tuple[int, int, int, int]] = []

    def root(index: int) -> int:
        while parents[index] != index:
            parents[index] = parents[parents[index]]
            index = parents[index]
        return index

    above: list[tuple[int, int, int]] = []
    for y, row in enumerate(mask):
        edges = np.flatnonzero(np.diff(np.concatenate(([0], row.astype(np.int8), [0]))))
        runs = []
        for start, end in edges.reshape(-1, 2).tolist():
            index = len(parents)
            parents.append(index)
            extents.append((start, y, end, y + 1))
            runs.append((start, end, index))
            for first, last, other in above:
                if first <= end and last >= start:
                    parents[root(other)] = root(index)
        above = runs
    groups: dict[int, tuple[int, int, int, int]] = {}
    for index, (left, top, right, bottom) in enumerate(extents):
        a, b, c, d = groups.get(root(index), (left, top, right, bottom))
        groups[root(index)] = (min(a, left), min(b, top), max(c, right), max(d, bottom))
    return list(groups.values())
