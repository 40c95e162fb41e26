"""Return inner values as further outputs."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from deepseek_core import QuantizedModel
from deepseek_core.errors import ModelError

__all__ = ["expose"]

_Q, _DQ = "QuantizeLinear", "DequantizeLinear"


def expose(model: QuantizedModel, names: Sequence[str]) -> None:
    """Make values of the main graph outputs too; in place.

    A value that is quantized comes back as its dequantized codes, so that its unit keeps the kernel it has without
    the tap.

    Raises:
        ModelError: there is no such value.
    """
    graph = model.graph
    values = {v.name: v for v in (*graph.inputs, *graph.initializers.values())}
    values.update((v.name, v) for node in graph for v in node.outputs)
    for name in names:
        value = values.get(name)
        if value is None:
            raise ModelError(f"the model has no value '{name}' to tap", fix="name a tensor of the main graph")
        if not value.is_graph_output():
            graph.outputs.append(_tap(graph, value))


def _tap(graph: ir.Graph, value: ir.Value) -> ir.Value:
    producer = value.producer()
    if producer is not None and producer.op_type == _DQ:
        twin = _twin(graph, producer)
    elif (quantize := _quantize_behind(value)) is not None:
        twin = _twin(graph, quantize)
    else:
        return value
    output = twin.outputs[0]
    output.type, output.shape = value.type, value.shape
    output.name, value.name = value.name, f"{value.name}/inner"
    return output


def _twin(graph: ir.Graph, node: ir.Node) -> ir.Node:
    """A DQ node of its own on the codes that `node` (a Q or DQ) speaks about."""
    codes = node.outputs[0] if node.op_type == _Q else node.inputs[0]
    attributes = {name: value for name, value in node.attributes.items() if name in ("axis", "block_size")}
    twin = ir.Node("", _DQ, [codes, *node.inputs[1:]], attributes.values(), name=f"{node.name}/tap")
    graph.insert_after(node, twin)
    return twin


def _quantize_behind(value: ir.Value) -> ir.Node | None:
    """The Q that is the only reader of a value."""
    readers = value.consumers()
    only = readers[0] if len(readers) == 1 else None
    return only if only is not None and only.op_type == _Q and only.inputs[0] is value else None
