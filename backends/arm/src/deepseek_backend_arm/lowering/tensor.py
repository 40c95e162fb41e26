"""A value of the graph as it lies in memory: which axis of it each axis in memory holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from deepseek_backend_arm.plan.program import Memory

__all__ = ["SIZES", "Order", "Tensor", "canonical", "channels_last", "collapse", "strides_of"]

Order = tuple[int, ...]
SIZES = {"float32": 4, "int8": 1, "uint8": 1, "int32": 4, "int64": 8, "bool": 1, "float16": 2}
"""Bytes of an element."""


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """A value in memory, without gaps.

    Attributes:
        dtype: a name in `SIZES`.
        shape: as ONNX has it.
        order: axis of `shape` that each axis in memory holds: (0, 2, 3, 1) for NHWC.
        memory: where it lies.
    """

    dtype: str
    shape: tuple[int, ...]
    order: Order
    memory: Memory

    @property
    def count(self) -> int:
        return prod(self.shape)

    @property
    def strides(self) -> tuple[int, ...]:
        """Elements from one index to the next, by axis of `shape`."""
        return strides_of(self.shape, self.order)

    def lies_as(self, order: Order) -> bool:
        """Whether another order of axes is the same order of elements."""
        return _moving(self.order, self.shape) == _moving(order, self.shape)


def canonical(rank: int) -> Order:
    """Axes as ONNX has them."""
    return tuple(range(rank))


def channels_last(rank: int) -> Order:
    """Axis 1 behind all others: NHWC."""
    return (0, *range(2, rank), 1)


def strides_of(shape: Sequence[int], order: Order) -> tuple[int, ...]:
    """Elements from one index to the next, by axis of `shape`, without gaps."""
    strides, step = [0] * len(shape), 1
    for axis in reversed(order):
        strides[axis] = step
        step *= shape[axis]
    return tuple(strides)


def collapse(dims: Sequence[int], *strides: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """The same loops with as few axes as can be: sizes, then the strides of each side.

    Axes of size 1 go, and neighbours that every side walks in one go become one.
    """
    rows = [row for row in zip(dims, *strides, strict=True) if row[0] != 1]
    merged: list[tuple[int, ...]] = []
    for row in rows:
        if merged and all(outer == inner * row[0] for outer, inner in zip(merged[-1][1:], row[1:], strict=True)):
            merged[-1] = (merged[-1][0] * row[0], *row[1:])
        else:
            merged.append(row)
    return tuple(zip(*(merged or [(1, *(1 for _ in strides))]), strict=True))


def _moving(order: Order, shape: Sequence[int]) -> Order:
    return tuple(axis for axis in order if shape[axis] != 1)
