"""Tensors as they lie in a device's memory: which axis each axis in memory holds, and loops over several of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import TypeVar

__all__ = ["Layout", "Order", "broadcast", "canonical", "channels_last", "collapse", "stretched", "strides_of"]

Order = tuple[int, ...]
"""Axis of a tensor, as ONNX counts them, that each axis in memory holds: (0, 2, 3, 1) for NHWC."""


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """A tensor that lies in memory without gaps. Backends derive a class of their own that says where.

    Attributes:
        dtype: name of the element type.
        shape: as ONNX has it.
        order: of its axes in memory.
    """

    dtype: str
    shape: tuple[int, ...]
    order: Order

    @property
    def count(self) -> int:
        """Elements."""
        return prod(self.shape)

    @property
    def strides(self) -> tuple[int, ...]:
        """Elements from one index to the next, by axis of `shape`."""
        return strides_of(self.shape, self.order)

    def lies_as(self, order: Order) -> bool:
        """Whether another order of axes is the same order of elements."""
        return _moving(self.order, self.shape) == _moving(order, self.shape)


AnyLayout = TypeVar("AnyLayout", bound=Layout)


def canonical(rank: int) -> Order:
    """Axes as ONNX has them."""
    return tuple(range(rank))


def channels_last(rank: int) -> Order:
    """Axis 1 behind all others: NHWC. Without spatial axes nothing moves."""
    return (0, *range(2, rank), 1) if rank > 2 else canonical(rank)


def strides_of(shape: Sequence[int], order: Order) -> tuple[int, ...]:
    """Elements from one index to the next, by axis of `shape`, without gaps."""
    strides, step = [0] * len(shape), 1
    for axis in reversed(order):
        strides[axis] = step
        step *= shape[axis]
    return tuple(strides)


def stretched(shape: Sequence[int], strides: Sequence[int], rank: int) -> tuple[int, ...]:
    """Strides by axis of a result of `rank` axes that a tensor is broadcast to: where it repeats, 0."""
    own = (0 if size == 1 else stride for size, stride in zip(shape, strides, strict=True))
    return (*(0 for _ in range(rank - len(shape))), *own)


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


def broadcast(
    sides: Sequence[AnyLayout], shape: Sequence[int], ordered: Callable[[AnyLayout, Order], AnyLayout]
) -> tuple[Order, list[AnyLayout], tuple[tuple[int, ...], ...]]:
    """How an elementwise kernel walks tensors that are broadcast to a shape.

    Args:
        shape: of the result.
        ordered: gives a tensor with its axes in another order; asked for every side.

    Returns:
        The order of the result, which is that of the first side with all its elements, canonical where there is none;
        the sides in that order; and the loops, collapsed, in which the result's elements follow each other: sizes,
        then the strides of each side.
    """
    rank = len(shape)
    order = next((side.order for side in sides if side.shape == tuple(shape)), canonical(rank))
    own = [ordered(side, _trailing(order, len(side.shape))) for side in sides]
    strides = [stretched(side.shape, side.strides, rank) for side in own]
    return order, own, collapse([shape[i] for i in order], *([row[i] for i in order] for row in strides))


def _trailing(order: Order, rank: int) -> Order:
    """The axes of a tensor of lower rank in the order of the result's: they are its last ones."""
    missing = len(order) - rank
    return tuple(axis - missing for axis in order if axis >= missing)


def _moving(order: Order, shape: Sequence[int]) -> Order:
    return tuple(axis for axis in order if shape[axis] != 1)
