"""Run units in float16: their constants are stored so, and casts stand where float32 begins."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx_ir as ir

from deepseek_core import QuantizedModel, Unit
from deepseek_core.ir.canonical.edit import Editor

__all__ = ["to_half"]


def to_half(model: QuantizedModel, units: Collection[str]) -> QuantizedModel:
    """A copy of a float model with the named units in float16.

    Nodes keep their names, and values theirs in float32: a unit's float16 result is cast back for float32 readers,
    and read directly by units that are in float16, too.
    """
    copy = model.clone()
    editor = Editor(copy.model)
    halves: dict[ir.Value, ir.Value] = {}
    for unit in [unit for unit in copy.units() if unit.name in units]:
        _convert(editor, unit, halves)
    _drop_unread(copy.graph, halves)
    return copy


def _convert(editor: Editor, unit: Unit, halves: dict[ir.Value, ir.Value]) -> None:
    nodes = [node for node in (unit.node, unit.activation) if node is not None]
    inner = {value for node in nodes for value in node.outputs}
    for node in nodes:
        for position, value in enumerate(node.inputs):
            if value is None or value in inner or value.dtype != ir.DataType.FLOAT:
                continue
            node.replace_input_with(position, _half(editor, node, value, halves))
    for value in inner:
        if value.dtype not in (ir.DataType.FLOAT, None):
            continue
        if value in nodes[-1].outputs:
            halves[_widened(editor, value)] = value
        value.type = ir.TensorType(ir.DataType.FLOAT16)


def _half(editor: Editor, node: ir.Node, value: ir.Value, halves: dict[ir.Value, ir.Value]) -> ir.Value:
    """The value in float16: a constant, what a neighbour made, or a cast that later readers share."""
    if value in halves:
        return halves[value]
    graph = node.graph
    assert isinstance(graph, ir.Graph)
    if value.const_value is not None:
        with np.errstate(over="ignore"):
            array = value.const_value.numpy().astype(np.float16)
        half = editor.initializer(graph, f"{value.name}_half", array)
    else:
        cast = _cast(editor, value, ir.DataType.FLOAT16, f"{value.name}_half")
        graph.insert_before(node, cast)
        half = cast.outputs[0]
    halves[value] = half
    return half


def _widened(editor: Editor, value: ir.Value) -> ir.Value:
    """A float16 result cast back to float32 under the name it had; every reader so far reads that."""
    node = value.producer()
    assert node is not None
    graph = node.graph
    assert isinstance(graph, ir.Graph)
    uses, name = list(value.uses()), value.name or ""
    value.name = editor.name(f"{name}_half")
    cast = _cast(editor, value, ir.DataType.FLOAT, name, named=True)
    wide = cast.outputs[0]
    for use in uses:
        use.node.replace_input_with(use.idx, wide)
    for position, output in enumerate(graph.outputs):
        if output is value:
            graph.outputs[position] = wide
    graph.insert_after(node, cast)
    return wide


def _cast(editor: Editor, value: ir.Value, dtype: ir.DataType, name: str, *, named: bool = False) -> ir.Node:
    node = ir.node("Cast", [value], {"to": dtype.value}, name=editor.name(f"{name}/cast"))
    output = node.outputs[0]
    output.name = name if named else editor.name(name)
    output.type, output.shape = ir.TensorType(dtype), value.shape
    return node


def _drop_unread(graph: ir.Graph, halves: dict[ir.Value, ir.Value]) -> None:
    """Casts back that nobody reads."""
    for wide in halves:
        node = wide.producer()
        if node is not None and node.op_type == "Cast" and not wide.uses() and not wide.is_graph_output():
            graph.remove(node, safe=True)
