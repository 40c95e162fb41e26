"""Raising the default domain's opset with ONNX's version converter, node by node.

The converter works on a whole model, but loses what it does not know (contrib operators, 4-bit tensors, bodies).
So it is given a model of the single nodes whose operator changed between the two versions, side by side and
unconnected; what it makes of each node is put in the node's place.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import onnx
import onnx_ir as ir

from deepseek_core.ir.canonical.edit import Editor, replace
from deepseek_core.ir.checks.report import Problem
from deepseek_core.ir.checks.signatures import node_problems
from deepseek_core.ir.isolated import CrashError, NativeError, call
from deepseek_core.ir.schemas import signature

__all__ = ["OPSET", "raise_opset"]

OPSET = 21
"""First opset whose QuantizeLinear has every type of the IR."""

_IR_VERSION = 10
"""File format version that opset 21 needs."""

_SMALL = 1024
"""Bytes; constants up to here (axes, scales) are shown to the converter."""

_KEPT = frozenset(("Constant", "ConstantOfShape", "If", "Loop", "Scan", "SequenceMap"))
"""Operators whose newer versions only accept more: nothing to convert (their bodies are converted on their own)."""

_log = logging.getLogger(__name__)


def raise_opset(model: ir.Model, opset: int = OPSET, *, isolate: bool = False) -> bool:
    """Convert the default domain to `opset` where every node can be converted; in place.

    Types and shapes should have been inferred. A model that cannot be converted is left as it is.

    Args:
        isolate: the model comes from a file that nobody vouches for; see `ir.isolated`.

    Returns:
        Whether the model now has at least `opset`.
    """
    current = model.opset_imports.get("", opset)
    if current >= opset:
        return True
    changed = [node for node in model.graph.all_nodes() if _changes(node, current, opset)]
    if any(node.op_type == "Scan" and current < 9 and not node.domain for node in model.graph.all_nodes()):
        return False
    try:
        groups = _convert(changed, current, opset, isolate=isolate)
    except (CrashError, NativeError) as error:
        _log.info("opset %d stays: %s", current, error)
        return False
    if (refusal := _refusal(groups, opset)) is not None:
        _log.info("opset %d stays: %s", current, refusal)
        return False
    editor = Editor(model)
    for index, (node, group) in enumerate(zip(changed, groups, strict=True)):
        _splice(editor, node, index, group)
    model.opset_imports[""] = opset
    model.ir_version = max(model.ir_version, _IR_VERSION)
    return True


@dataclass(frozen=True, slots=True)
class _Step:
    """One node the converter wrote, and the constants among its inputs that it made."""

    proto: onnx.NodeProto
    constants: dict[str, onnx.TensorProto]

    def build(self, values: dict[str, ir.Value], name: str) -> ir.Node:
        """The node, reading from and writing to the values of those names."""
        return ir.Node(
            "",
            self.proto.op_type,
            [values.get(given) for given in self.proto.input],
            [ir.serde.deserialize_attribute(a) for a in self.proto.attribute],
            outputs=[values[given] if given else ir.Value(name="") for given in self.proto.output],
            name=name,
        )


def _changes(node: ir.Node, current: int, opset: int) -> bool:
    if node.domain or node.op_type in _KEPT:
        return False
    old, new = signature("", node.op_type, current), signature("", node.op_type, opset)
    return old is None or new is None or old.since != new.since


def _convert(nodes: list[ir.Node], current: int, opset: int, *, isolate: bool) -> list[list[_Step]]:
    """What the converter makes of each node: nodes in order, with values named by their place in the node."""
    if not nodes:
        return []
    graph = onnx.GraphProto(name="nodes")
    for index, node in enumerate(nodes):
        _write(graph, index, node)
    imports = [onnx.OperatorSetIdProto(domain="", version=current)]
    model = onnx.ModelProto(ir_version=_IR_VERSION, opset_import=imports, graph=graph)

    def work(data: bytes) -> bytes:
        converted = onnx.version_converter.convert_version(onnx.ModelProto.FromString(data), opset)
        return bytes(converted.SerializeToString())

    result = onnx.ModelProto.FromString(call(work, model.SerializeToString(), isolate=isolate))
    return _grouped(result.graph, len(nodes))


def _write(graph: onnx.GraphProto, index: int, node: ir.Node) -> None:
    proto = graph.node.add(op_type=node.op_type, name=str(index))
    proto.attribute.extend(ir.serde.serialize_attribute(a) for a in node.attributes.values())
    for position, value in enumerate(node.inputs):
        name = "" if value is None else f"{index}/in/{position}"
        proto.input.append(name)
        if value is None:
            continue
        tensor = value.const_value
        if tensor is not None and tensor.nbytes <= _SMALL and tensor.dtype in _PLAIN:
            graph.initializer.append(onnx.numpy_helper.from_array(tensor.numpy(), name))
        else:
            graph.input.append(_info(name, value))
    for position, value in enumerate(node.outputs):
        proto.output.append(f"{index}/out/{position}" if value.name else "")
        if value.name:
            graph.output.append(_info(f"{index}/out/{position}", value))


_PLAIN = frozenset((ir.DataType.FLOAT, ir.DataType.INT32, ir.DataType.INT64, ir.DataType.BOOL))


def _info(name: str, value: ir.Value) -> onnx.ValueInfoProto:
    shown = ir.Value(name=name, type=value.type or ir.TensorType(ir.DataType.FLOAT), shape=value.shape)
    return ir.serde.serialize_value(shown)


def _grouped(graph: onnx.GraphProto, count: int) -> list[list[_Step]]:
    """Sort the converted nodes back to the nodes they came from, by the values they lead to."""
    made = {tensor.name: tensor for tensor in graph.initializer}
    owner: dict[str, int] = {}
    groups: list[list[_Step]] = [[] for _ in range(count)]
    for node in reversed(graph.node):
        index = next(i for name in node.output if (i := _owner(name, owner)) is not None)
        owner.update((name, index) for name in node.input if name)
        constants = {name: made[name] for name in node.input if name in made and "/in/" not in name}
        groups[index].append(_Step(node, constants))
    return [group[::-1] for group in groups]


def _owner(name: str, owner: dict[str, int]) -> int | None:
    index, mark, _ = name.partition("/out/")
    return int(index) if mark else owner.get(name)


def _refusal(groups: list[list[_Step]], opset: int) -> Problem | None:
    """The first reason why a converted node is none of the new opset."""
    for step in (step for group in groups for step in group):
        _name_split_parts(step.proto, opset)
        names = (*step.proto.input, *step.proto.output)
        node = step.build({name: ir.Value(name=name) for name in names if name}, step.proto.op_type)
        if (problem := next(node_problems(node, opset), None)) is not None:
            return problem
    return None


def _name_split_parts(proto: onnx.NodeProto, opset: int) -> None:
    """Split-18 must be told the number of equal parts; the converter (onnx 1.23) leaves that out."""
    stated = len(proto.input) > 1 or any(a.name == "num_outputs" for a in proto.attribute)
    if proto.op_type == "Split" and opset >= 18 and not stated:
        proto.attribute.append(onnx.helper.make_attribute("num_outputs", len(proto.output)))


def _splice(editor: Editor, node: ir.Node, index: int, group: list[_Step]) -> None:
    """Put converted nodes in the place of `node`; the one that gives its first output keeps its name."""
    assert node.graph is not None
    known = {f"{index}/in/{i}": value for i, value in enumerate(node.inputs) if value is not None}
    for step in group:
        for name, tensor in step.constants.items():
            known[name] = editor.initializer(node.graph, f"{node.name}_constant", onnx.numpy_helper.to_array(tensor))
        made = {name: ir.Value(name=editor.name(f"{node.name}_{step.proto.op_type}")) for name in step.proto.output}
        known.update(made)
        node.graph.insert_before(node, step.build(known, editor.name(step.proto.op_type)))
    for position, old in enumerate(node.outputs):
        if (new := known.get(f"{index}/out/{position}")) is not None:
            replace(old, new)
            if position == 0 and (producer := new.producer()) is not None:
                producer.name = node.name
    node.graph.remove(node, safe=True)
