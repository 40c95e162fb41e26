"""float16 where a typed network is to compute in it: values are cast where a float32 node meets a float16 one.

What sums many squares or takes exponentials of sums stays in float32; TensorRT fuses the casts into its kernels.
"""

from __future__ import annotations

import ml_dtypes  # noqa: F401  NumPy learns the types of codes
import numpy as np
import onnx_ir as ir

from deepseek_backend_tensorrt.lowering.edit import constant, is_dq, is_q, number

__all__ = ["to_half"]

_FLOAT, _HALF = ir.DataType.FLOAT, ir.DataType.FLOAT16
_PRECISE = frozenset(
    ("Exp", "LayerNormalization", "Log", "LpNormalization", "Pow", "Reciprocal", "Softplus", "Sqrt", "Tan")
) | frozenset(f"Reduce{kind}" for kind in ("L1", "L2", "LogSum", "LogSumExp", "Mean", "Prod", "Sum", "SumSquare"))
_SAME = frozenset(
    (
        "Expand",
        "Flatten",
        "Gather",
        "Identity",
        "Reshape",
        "Slice",
        "Split",
        "Squeeze",
        "Tile",
        "Transpose",
        "Unsqueeze",
    )
)
"""Ops that move values: they keep the type of what they move."""


def to_half(graph: ir.Graph) -> None:
    """Give every float32 value inside the graph the type that its node computes in; inputs and outputs keep theirs."""
    casts = _Casts(graph)
    for node in list(graph):
        if node.domain or node.op_type == "Cast":
            continue
        wanted = _type_of(node)
        for position, value in enumerate(node.inputs):
            if value is not None and value.dtype in (_FLOAT, _HALF) and _is_number(node, position):
                node.replace_input_with(position, casts.cast(value, wanted, node))
        for output in node.outputs:
            if output.dtype is _FLOAT and wanted is _HALF:
                output.type = ir.TensorType(_HALF)
    _restore_outputs(graph, casts)


def _type_of(node: ir.Node) -> ir.DataType:
    """What a node computes in. Q and DQ keep float32 scales beside float32 values; DQ's readers cast."""
    if is_q(node) or is_dq(node):
        return _FLOAT
    if node.op_type in _PRECISE:
        return _FLOAT
    first = node.inputs[0] if node.inputs else None
    if node.op_type in _SAME and first is not None and first.dtype in (_FLOAT, _HALF):
        return ir.DataType(first.dtype)
    return _HALF


def _is_number(node: ir.Node, position: int) -> bool:
    """Resize reads scales, not values, behind its first input."""
    return not (node.op_type in ("Resize", "Upsample") and position > 0)


class _Casts:
    """One cast for each value and type."""

    def __init__(self, graph: ir.Graph) -> None:
        self._graph = graph
        self._known: dict[tuple[ir.Value, ir.DataType], ir.Value] = {}

    def cast(self, value: ir.Value, wanted: ir.DataType, reader: ir.Node) -> ir.Value:
        if value.dtype is wanted:
            return value
        key = value, wanted
        if key not in self._known:
            array = number(value)
            if array is not None:
                numpy = np.float16 if wanted is _HALF else np.float32
                limit = np.finfo(np.float16).max
                kept = np.clip(array, -limit, limit) if wanted is _HALF else array
                self._known[key] = constant(self._graph, f"{value.name}_{wanted.name.lower()}", kept.astype(numpy))
            else:
                self._known[key] = self._node(value, wanted, reader)
        return self._known[key]

    def _node(self, value: ir.Value, wanted: ir.DataType, reader: ir.Node) -> ir.Value:
        node = ir.node("Cast", [value], attributes={"to": int(wanted)}, name=f"{value.name}/{wanted.name.lower()}")
        made = node.outputs[0]
        made.name, made.shape, made.type = f"{value.name}_{wanted.name.lower()}", value.shape, ir.TensorType(wanted)
        producer = value.producer()
        if producer is not None:
            self._graph.insert_after(producer, node)
        else:
            self._graph.insert_before(next(iter(self._graph)), node)
        return made


def _restore_outputs(graph: ir.Graph, casts: _Casts) -> None:
    for position, output in enumerate(graph.outputs):
        if output.dtype is _HALF:
            name = output.name
            output.name = f"{name}_half"
            made = casts.cast(output, _FLOAT, graph[-1])
            made.name = name
            graph.outputs[position] = made
