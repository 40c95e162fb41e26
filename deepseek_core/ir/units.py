"""The Unit view: one compute node with the Q/DQ nodes that belong to it (DQ → Conv → Relu → Q).

Capability tables, costs and kernels speak about units. The view is computed from the graph, never stored.
In canonical form (see `ir.canonical`) every Q and DQ belongs to exactly one unit, so units partition a graph.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import onnx_ir as ir

from deepseek_core.ir.ops import ACTIVATIONS, Role, info, op_key, roles
from deepseek_core.ir.qdq import DQ, Q, dtype_of, is_q_or_dq, onnx_dtype, qparams_of
from deepseek_core.ir.qparams import QParams
from deepseek_core.scheme import DType

__all__ = ["DQ", "Operand", "Q", "Unit", "all_units", "is_q_or_dq", "onnx_dtype", "qparams_of", "subgraphs", "units"]


@dataclass(frozen=True, slots=True, eq=False)
class Operand:
    """A tensor as a unit sees it.

    Attributes:
        value: the value at the unit's border (the codes where the tensor is quantized).
        real: the float value that the compute node reads or writes.
        role: what the tensor is to the node.
        qparams: None for a float tensor.
    """

    value: ir.Value
    real: ir.Value
    role: Role
    qparams: QParams | None = None

    @property
    def dtype(self) -> DType | None:
        """Element type at the border; None when unknown or outside `DType` (int64 indices, strings)."""
        if self.qparams is not None:
            return self.qparams.scheme.dtype
        return dtype_of(self.value)

    @property
    def shape(self) -> tuple[int | None, ...] | None:
        """Dimensions, None for an unknown one; None when the rank is unknown."""
        shape = self.real.shape if self.real.shape is not None else self.value.shape
        return None if shape is None else tuple(d if isinstance(d, int) else None for d in shape)

    @property
    def is_constant(self) -> bool:
        return self.value.const_value is not None


@dataclass(frozen=True, slots=True, eq=False)
class Unit:
    """One compute node and what belongs to it.

    Attributes:
        node: the compute node (a lone Q or DQ is its own compute node).
        activation: the activation node fused behind it, if any.
        inputs: one entry per input of `node`; None for an omitted optional input.
        outputs: one entry per tensor that leaves the unit.
        nodes: every node of the unit in topological order.
        path: names of the control-flow nodes around it, outermost first.
    """

    node: ir.Node
    activation: ir.Node | None
    inputs: tuple[Operand | None, ...]
    outputs: tuple[Operand, ...]
    nodes: tuple[ir.Node, ...]
    path: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Unique in a verified model: the compute node's name, behind the path of its bodies."""
        return "/".join((*self.path, self.node.name or f"unnamed_{self.node.op_type}"))

    @property
    def op(self) -> str:
        """Op key of the compute node, as capability tables write it."""
        return op_key(self.node)

    @property
    def is_quantized(self) -> bool:
        """Whether any data or weight tensor at its border is quantized."""
        found = [o for o in self.inputs if o is not None and o.role is not Role.BIAS]
        return any(o.qparams is not None for o in (*found, *self.outputs))

    def operands(self, role: Role) -> tuple[Operand, ...]:
        """Inputs of one role."""
        return tuple(o for o in self.inputs if o is not None and o.role is role)


def units(graph: ir.Graph, path: tuple[str, ...] = ()) -> list[Unit]:
    """Units of one graph in topological order; a control-flow node is one unit, bodies included."""
    view, owned, found = _View(graph), set[ir.Node](), list[Unit]()
    for node in graph:
        if node not in owned and not view.belongs_to_another(node):
            unit = view.unit(node, path)
            owned.update(unit.nodes)
            found.append(unit)
    return found


def all_units(graph: ir.Graph, path: tuple[str, ...] = ()) -> Iterator[Unit]:
    """Units of a graph and of every `If`, `Loop` and `Scan` body below it."""
    for unit in units(graph, path):
        yield unit
        for body in subgraphs(unit.node):
            yield from all_units(body, (*path, unit.node.name or "", body.name or ""))


def subgraphs(node: ir.Node) -> Iterator[ir.Graph]:
    """Bodies of a control-flow node."""
    for attr in node.attributes.values():
        if attr.type == ir.AttributeType.GRAPH:
            yield attr.as_graph()
        elif attr.type == ir.AttributeType.GRAPHS:
            yield from attr.as_graphs()


class _View:
    """Who owns the Q and DQ nodes of one graph."""

    def __init__(self, graph: ir.Graph) -> None:
        self._graph = graph
        self._quantizers: dict[ir.Value, ir.Node] = {}
        for node in graph:
            if node.op_type == Q and is_q_or_dq(node) and node.inputs[0] is not None:
                self._quantizers.setdefault(node.inputs[0], node)

    def unit(self, node: ir.Node, path: tuple[str, ...]) -> Unit:
        if is_q_or_dq(node):
            return _lone(node, path)
        dequantizers: list[ir.Node] = []
        inputs = tuple(
            None if value is None else self._input(value, role, dequantizers)
            for value, role in zip(node.inputs, roles(node), strict=True)
        )
        activation = _fused_activation(node)
        compute = [node] if activation is None else [node, activation]
        quantizers: list[ir.Node] = []
        outputs = tuple(o for value in compute[-1].outputs for o in self._outputs(value, quantizers))
        return Unit(node, activation, inputs, outputs, (*dequantizers, *compute, *quantizers), path)

    def belongs_to_another(self, node: ir.Node) -> bool:
        """Whether a node is a Q or DQ of a neighbour's unit rather than a unit of its own."""
        if not is_q_or_dq(node) or not node.inputs or node.inputs[0] is None:
            return False
        if node.op_type == DQ:
            uses = list(node.outputs[0].uses())
            alone = node.outputs[0].is_graph_output() or len(uses) != 1 or uses[0].node.graph is not self._graph
            return not alone and not is_q_or_dq(uses[0].node)
        producer = node.inputs[0].producer()
        fits = producer is not None and producer.graph is self._graph and not is_q_or_dq(producer)
        return fits and self._quantizers.get(node.inputs[0]) is node

    def _input(self, value: ir.Value, role: Role, dequantizers: list[ir.Node]) -> Operand:
        producer = value.producer()
        if producer is None or producer.op_type != DQ or not self.belongs_to_another(producer):
            return Operand(value, value, role)
        dequantizers.append(producer)
        return Operand(producer.inputs[0] or value, value, role, qparams_of(producer))

    def _outputs(self, value: ir.Value, quantizers: list[ir.Node]) -> Iterator[Operand]:
        quantizer = self._quantizers.get(value)
        if quantizer is None:
            yield Operand(value, value, Role.DATA)
            return
        quantizers.append(quantizer)
        yield Operand(quantizer.outputs[0], value, Role.DATA, qparams_of(quantizer))
        if value.is_graph_output() or len(value.uses()) > 1:
            yield Operand(value, value, Role.DATA)


def _lone(node: ir.Node, path: tuple[str, ...]) -> Unit:
    """A Q or DQ that is no compute node's: its own unit, with the parameters at its quantized side."""
    source, (result,) = node.inputs[0], node.outputs
    params = qparams_of(node)
    extra = [None if value is None else Operand(value, value, Role.AUX) for value in node.inputs[1:]]
    if node.op_type == DQ:
        data = None if source is None else Operand(source, result, Role.DATA, params)
        output = Operand(result, result, Role.DATA)
    else:
        data = None if source is None else Operand(source, source, Role.DATA)
        output = Operand(result, source or result, Role.DATA, params)
    return Unit(node, None, (data, *extra), (output,), (node,), path)


def _fused_activation(node: ir.Node) -> ir.Node | None:
    """The activation behind an accumulating op (or Add) when nothing else reads what is between them."""
    if not (info(op_key(node)).accumulates or op_key(node) == "Add"):
        return None
    value = node.outputs[0]
    uses = list(value.uses())
    if value.is_graph_output() or len(uses) != 1:
        return None
    use = uses[0]
    fits = use.idx == 0 and use.node.graph is node.graph and use.node.domain in ("", "ai.onnx")
    if not fits or use.node.op_type not in ACTIVATIONS:
        return None
    return use.node if all(v is None or v.const_value is not None for v in use.node.inputs[1:]) else None
