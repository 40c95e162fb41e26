"""A call of a loop in C, and the shapes that its arguments come from."""

from __future__ import annotations

from math import prod

import onnx_ir as ir

__all__ = ["call", "count", "shape"]


def shape(value: ir.Value | None) -> tuple[int, ...]:
    assert value is not None
    assert value.shape is not None
    return tuple(int(size) for size in value.shape.numpy())


def count(value: ir.Value | None) -> int:
    """Elements."""
    return prod(shape(value))


def call(name: str, *arguments: object) -> str:
    return f"{name}({', '.join(map(str, arguments))})"
