"""Questions about nodes and values that every step of the IR asks."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

__all__ = ["at", "constant", "is_node", "is_scalar", "rank", "static_shape"]


def is_node(node: ir.Node | None, op: str) -> bool:
    """Whether `node` is the default-domain operator `op`."""
    return node is not None and node.op_type == op and node.domain == ""


def constant(value: ir.Value | None) -> NDArray[Any] | None:
    """The array of an initializer, None for anything else."""
    if value is None or value.const_value is None:
        return None
    return np.asarray(value.const_value.numpy())


def rank(value: ir.Value | None) -> int | None:
    """Number of dimensions where known."""
    return None if value is None or value.shape is None else len(value.shape)


def is_scalar(value: ir.Value | None) -> bool:
    """Whether a value is known to hold exactly one element."""
    return value is not None and value.shape is not None and all(d == 1 for d in value.shape)


def static_shape(value: ir.Value | None) -> tuple[int, ...] | None:
    """The shape where every dimension is known."""
    if value is None or value.shape is None or not value.shape.is_static():
        return None
    return tuple(d for d in value.shape if isinstance(d, int))


def at(node: ir.Node, position: int) -> ir.Value | None:
    """An input of a node; None where it is omitted."""
    return node.inputs[position] if position < len(node.inputs) else None
