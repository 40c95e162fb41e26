"""What decides how fast a unit runs, as one line: the key under which measurements are kept."""

from __future__ import annotations

import onnx_ir as ir

from deepseek_core.ir.units import Operand, Unit

__all__ = ["unit_signature"]


def unit_signature(unit: Unit) -> str:
    """Op, attributes, shapes, dtypes and granularity of a unit, for people and caches alike.

    Names and the numbers of weights are left out, so equal layers of any two models share their measurements.
    Unknown and symbolic dimensions are written as `?`.
    """
    inputs = ", ".join("-" if operand is None else f"{operand.role} {_operand(operand)}" for operand in unit.inputs)
    outputs = ", ".join(_operand(operand) for operand in unit.outputs)
    nodes = [unit.node] if unit.activation is None else [unit.node, unit.activation]
    return f"{' then '.join(map(_node, nodes))} ({inputs}) -> {outputs}"


def _node(node: ir.Node) -> str:
    opset = node.graph.opset_imports.get(node.domain, 0) if node.graph is not None else 0
    name = ".".join(filter(None, (node.domain, node.op_type)))
    return " ".join([f"{name}-{opset}", *sorted(map(_attribute, node.attributes.values()))])


def _attribute(attribute: ir.Attr) -> str:
    bodies = (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)
    value = "…" if attribute.type in bodies else "".join(str(attribute.value).split())
    return f"{attribute.name}={value}"


def _operand(operand: Operand) -> str:
    shape = "?" if operand.shape is None else ",".join("?" if d is None else str(d) for d in operand.shape)
    kind = str(operand.dtype or operand.value.dtype)
    if operand.qparams is not None:
        kind += f" {operand.qparams.scheme.granularity}"
    return f"{'constant ' if operand.is_constant else ''}{kind} [{shape}]"
