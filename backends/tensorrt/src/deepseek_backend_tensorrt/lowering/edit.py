"""Small edits that several steps share."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

__all__ = ["constant", "drop", "is_dq", "is_q", "number"]


def is_q(node: ir.Node | None) -> bool:
    return node is not None and node.op_type == "QuantizeLinear" and node.domain == ""


def is_dq(node: ir.Node | None) -> bool:
    return node is not None and node.op_type == "DequantizeLinear" and node.domain == ""


def constant(graph: ir.Graph, name: str, array: NDArray[Any]) -> ir.Value:
    """An initializer with a name like `name` that is new to the graph."""
    used = {value.name for node in graph for value in node.outputs}
    used |= {value.name for value in (*graph.inputs, *graph.initializers.values())}
    fresh = next(new for count in itertools.count() if (new := f"{name}_{count}" if count else name) not in used)
    tensor = ir.tensor(np.ascontiguousarray(array), name=fresh)
    value = ir.Value(name=fresh, type=ir.TensorType(tensor.dtype), shape=ir.Shape(array.shape), const_value=tensor)
    graph.register_initializer(value)
    return value


def number(value: ir.Value | None) -> NDArray[Any] | None:
    """The constant's array; None where it is none."""
    return None if value is None or value.const_value is None else value.const_value.numpy()


def drop(graph: ir.Graph, node: ir.Node) -> None:
    """Remove a node that nothing reads."""
    graph.remove(node, safe=True)
