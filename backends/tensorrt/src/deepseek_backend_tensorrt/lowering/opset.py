"""Older opsets, for parsers that read nothing newer: the operators whose form changed are rewritten.

Between opsets 17 and 21 what changed for the operators this backend claims is (ONNX Operator Changelog): axes of
reductions and of `Pad` became inputs, `Split` got `num_outputs`, and Q and DQ got types and blocks.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from deepseek_backend_tensorrt.lowering.edit import constant, number
from deepseek_backend_tensorrt.lowering.functions import FUNCTIONS, write_out
from deepseek_core.errors import BackendError

__all__ = ["lower_opset"]

_IR_VERSION = 8
_REDUCTIONS = ("ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceSumSquare")
_NEWER = {"GroupNormalization": 18}
"""Op → the opset that brought it, where it has no other form."""
_TYPES = (ir.DataType.FLOAT8E4M3FN, ir.DataType.INT4, ir.DataType.UINT4)
"""Types of codes that came with opsets 19 and 21."""


def lower_opset(model: ir.Model, opset: int) -> None:
    """Rewrite the graph for `opset` if its own is newer; in place.

    Raises:
        BackendError: a node cannot be written in that opset.
    """
    if model.opset_imports.get("", 0) <= opset:
        return
    for node in list(model.graph):
        if node.domain:
            continue
        if _NEWER.get(node.op_type, 0) > opset:
            raise BackendError(
                f"'{node.name}': {node.op_type} needs opset {_NEWER[node.op_type]}, this TensorRT reads {opset}",
                fix="use TensorRT 10 or newer, or place the unit elsewhere",
            )
        kind = next((value.dtype for value in (*node.inputs, *node.outputs) if value and value.dtype in _TYPES), None)
        if kind is not None and opset < 21:
            raise BackendError(
                f"'{node.name}' has codes of type {kind.name}, which this TensorRT does not have",
                fix="use TensorRT 10 or newer, or quantize to int8",
            )
        if node.op_type in FUNCTIONS and FUNCTIONS[node.op_type][0] > opset:
            write_out(model.graph, node)
        rewrite = _REWRITES.get(node.op_type)
        if rewrite is not None and opset < 18:
            rewrite(model.graph, node)
    model.opset_imports[""] = opset
    model.ir_version = _IR_VERSION


def _reduction(graph: ir.Graph, node: ir.Node) -> None:
    """Axes back into an attribute."""
    axes = number(node.inputs[1]) if len(node.inputs) > 1 else None
    if len(node.inputs) > 1 and node.inputs[1] is not None and axes is None:
        raise _unknown(node, "axes")
    if axes is None and node.attributes.get_int("noop_with_empty_axes"):
        raise _unknown(node, "axes")
    node.attributes.pop("noop_with_empty_axes", None)
    if axes is not None:
        node.attributes["axes"] = ir.AttrInt64s("axes", [int(axis) for axis in axes])
    node.resize_inputs(1)


def _split(graph: ir.Graph, node: ir.Node) -> None:
    """Equal parts are what a Split without sizes makes."""
    count = node.attributes.get_int("num_outputs", 0)
    if not count:
        return
    node.attributes.pop("num_outputs")
    shape, axis = node.inputs[0].shape if node.inputs[0] is not None else None, node.attributes.get_int("axis", 0)
    size = None if shape is None else shape[axis]
    if isinstance(size, int) and size % count:
        part = -(-size // count)
        sizes = np.array([part] * (count - 1) + [size - part * (count - 1)], np.int64)
        node.resize_inputs(2)
        node.replace_input_with(1, constant(graph, f"{node.name}/sizes", sizes))


def _pad(graph: ir.Graph, node: ir.Node) -> None:
    """Pads for every axis, where only some were named."""
    if len(node.inputs) < 4 or node.inputs[3] is None:
        return
    pads, axes, source = number(node.inputs[1]), number(node.inputs[3]), node.inputs[0]
    if pads is None or axes is None or source is None or source.shape is None:
        raise _unknown(node, "pads")
    rank, half = len(source.shape), len(axes)
    full = np.zeros(2 * rank, np.int64)
    for place, axis in enumerate(int(a) % rank for a in axes):
        full[axis], full[rank + axis] = pads[place], pads[half + place]
    node.replace_input_with(1, constant(graph, f"{node.name}/pads", full))
    node.resize_inputs(3)


def _pool(graph: ir.Graph, node: ir.Node) -> None:
    dilations = node.attributes.get("dilations")
    if dilations is not None and any(step != 1 for step in dilations.as_ints()):
        raise _unknown(node, "dilations")
    node.attributes.pop("dilations", None)


def _unknown(node: ir.Node, what: str) -> BackendError:
    return BackendError(
        f"'{node.name}': {what} of {node.op_type} cannot be written in opset 17", fix="use TensorRT 10 or newer"
    )


_REWRITES: dict[str, Callable[[ir.Graph, ir.Node], None]] = {
    **dict.fromkeys(_REDUCTIONS, _reduction),
    "Split": _split,
    "Pad": _pad,
    "AveragePool": _pool,
}
