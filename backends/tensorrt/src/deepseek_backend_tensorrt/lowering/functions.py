"""Operators that came with later opsets, written out as their definitions in the ONNX operator specification."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from deepseek_backend_tensorrt.lowering.edit import constant

__all__ = ["FUNCTIONS", "write_out"]


class _Writer:
    """Appends nodes in front of the one that is replaced; the last one makes its output."""

    def __init__(self, graph: ir.Graph, node: ir.Node) -> None:
        self._graph, self._node, self._count = graph, node, 0
        self.x = node.inputs[0]
        assert self.x is not None

    def op(self, kind: str, *operands: ir.Value | float | None) -> ir.Value:
        self._count += 1
        name = f"{self._node.name}/{kind.lower()}_{self._count}"
        inputs = [self._number(name, o) if isinstance(o, float) else o for o in operands]
        made = ir.node(kind, inputs, name=name)
        self._graph.insert_before(self._node, made)
        out, like = made.outputs[0], self._node.outputs[0]
        out.name, out.shape, out.type = name, like.shape, like.type
        return out

    def _number(self, name: str, value: float) -> ir.Value:
        assert self.x is not None
        kind = np.float16 if self.x.dtype is ir.DataType.FLOAT16 else np.float32
        return constant(self._graph, f"{name}/constant", np.array(value, kind))


def _gelu(writer: _Writer, node: ir.Node) -> ir.Value:
    x, op = writer.x, writer.op
    attribute = node.attributes.get("approximate")
    if attribute is not None and attribute.as_string() == "tanh":
        cube = op("Mul", x, op("Mul", x, x))
        inner = op("Tanh", op("Mul", math.sqrt(2 / math.pi), op("Add", x, op("Mul", 0.044715, cube))))
    else:
        inner = op("Erf", op("Div", x, math.sqrt(2.0)))
    return op("Mul", op("Mul", x, 0.5), op("Add", inner, 1.0))


def _mish(writer: _Writer, node: ir.Node) -> ir.Value:
    return writer.op("Mul", writer.x, writer.op("Tanh", writer.op("Softplus", writer.x)))


FUNCTIONS: dict[str, tuple[int, Callable[[_Writer, ir.Node], ir.Value]]] = {"Gelu": (20, _gelu), "Mish": (18, _mish)}
"""Op → the opset that brought it, and how to write it without."""


def write_out(graph: ir.Graph, node: ir.Node) -> None:
    """Replace a node by its definition; the last node of that keeps its name."""
    last = FUNCTIONS[node.op_type][1](_Writer(graph, node), node)
    out, name = node.outputs[0], node.outputs[0].name
    ir.convenience.replace_all_uses_with(out, last, replace_graph_outputs=True)
    graph.remove(node, safe=True)
    producer = last.producer()
    assert producer is not None
    last.name, producer.name = name, node.name
