"""A unit's node as an ONNX model of its own, with real numbers where the unit has codes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import onnx
import onnx_ir as ir

from deepseek_backend_arm.tvm.table import bounds
from deepseek_core import Operand, Unit

__all__ = ["Alone", "alone", "element"]

_SMALL = 64
"""Elements of a constant that TVM gets to see: sizes, axes and bounds shape the code; weights do not."""
_OPSET, _IR_VERSION = 21, 10


@dataclass(frozen=True, slots=True)
class Alone:
    """A node by itself.

    Attributes:
        model: serialized; equal nodes have equal bytes.
        fed: position in the unit's inputs of each input of the model.
    """

    model: bytes
    fed: tuple[int, ...]


def alone(unit: Unit) -> Alone:
    """The unit's node, without its activation; its inputs and outputs have known shapes."""
    node = ir.serde.serialize_node(unit.node)
    node.name = node.doc_string = ""
    del node.metadata_props[:]
    kept = {bound.position for bound in bounds(unit)}
    fed = [i for i, operand in enumerate(unit.inputs) if operand is not None and (i in kept or not _is_seen(operand))]
    seen = {i: operand for i, operand in enumerate(unit.inputs) if operand is not None and i not in fed}
    node.input[:] = ["" if operand is None else f"x{i}" for i, operand in enumerate(unit.inputs)]
    node.output[:] = [f"y{i}" if value.name else "" for i, value in enumerate(unit.node.outputs)]
    graph = onnx.GraphProto(name="unit", node=[node])
    graph.input.extend(_input(f"x{i}", unit.inputs[i]) for i in fed)
    graph.initializer.extend(_constant(f"x{i}", operand) for i, operand in seen.items())
    graph.output.extend(_outputs(unit.node))
    opsets = [onnx.helper.make_opsetid("", _opset(unit.node))]
    model = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION)
    return Alone(model.SerializeToString(deterministic=True), tuple(fed))


def _is_seen(operand: Operand) -> bool:
    value = operand.value
    return value is operand.real and value.const_value is not None and value.const_value.size <= _SMALL


def _input(name: str, operand: Operand | None) -> onnx.ValueInfoProto:
    assert operand is not None
    kind = ir.DataType.FLOAT if operand.value is not operand.real else element(operand.value)
    return onnx.helper.make_tensor_value_info(name, kind.value, operand.shape)


def _constant(name: str, operand: Operand) -> onnx.TensorProto:
    assert operand.value.const_value is not None
    array = operand.value.const_value.numpy()
    typed = array.astype(element(operand.value).numpy(), copy=False)
    return onnx.numpy_helper.from_array(typed, name)


def _outputs(node: ir.Node) -> Iterator[onnx.ValueInfoProto]:
    for number, value in enumerate(node.outputs):
        if value.name:
            fixed = value.shape is not None and value.shape.is_static()
            known = [size for size in value.shape or () if isinstance(size, int)] if fixed else None
            yield onnx.helper.make_tensor_value_info(f"y{number}", element(value).value, known)


def element(value: ir.Value) -> ir.DataType:
    """Float16 is computed as float32, as the reference does it."""
    if value.dtype is None or value.dtype is ir.DataType.FLOAT16:
        return ir.DataType.FLOAT
    return value.dtype


def _opset(node: ir.Node) -> int:
    """Of the model. Bodies do not state theirs: they have at least the one that their node came with."""
    graph = node.graph
    stated = graph.opset_imports.get("") if isinstance(graph, ir.Graph) else None
    return stated or max(_OPSET, onnx.defs.get_schema(node.op_type).since_version)
