"""The Unit view: one compute node with the Q/DQ nodes that belong to it (DQ → Conv → Relu → Q).

Capability tables, costs and kernels speak about units. The view is computed from the graph, never stored.
In canonical form (see `ir.canonical`) every Q and DQ belongs to exactly one unit, so units partition a graph.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from deepseek_core.errors import ModelError
from deepseek_core.ir.ops import ACTIVATIONS, Role, info, op_key, roles
from deepseek_core.ir.qparams import QParams, numpy_dtype
from deepseek_core.scheme import DType, Granularity, QuantScheme

__all__ = ["DQ", "Operand", "Q", "Unit", "all_units", "is_q_or_dq", "onnx_dtype", "qparams_of", "subgraphs", "units"]

Q, DQ = "QuantizeLinear", "DequantizeLinear"


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
        return _dtype(self.value)

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


def is_q_or_dq(node: ir.Node) -> bool:
    return node.op_type in (Q, DQ) and node.domain in ("", "ai.onnx")


def units(graph: ir.Graph, path: tuple[str, ...] = ()) -> list[Unit]:
    """Units of one graph in topological order; a control-flow node is one unit, bodies included."""
    owned: set[ir.Node] = set()
    found = []
    for node in graph:
        if node in owned:
            continue
        if is_q_or_dq(node) and _owner_is_another(node):
            continue
        unit = _unit_of(node, path)
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


def qparams_of(node: ir.Node) -> QParams | None:
    """Parameters of a Q or DQ node; None where scale or zero point are not constants.

    Raises:
        ModelError: the node's numbers contradict each other.
    """
    scale = node.inputs[1].const_value if len(node.inputs) > 1 and node.inputs[1] is not None else None
    if scale is None:
        return None
    zero_input = node.inputs[2] if len(node.inputs) > 2 else None
    scale_array = scale.numpy().astype(np.float32)
    if zero_input is not None:
        if zero_input.const_value is None:
            return None
        zero = zero_input.const_value.numpy()
        dtype = _dtype_of(zero_input.const_value.dtype)
    else:
        dtype = _implied_dtype(node)
        zero = None if dtype is None else np.zeros(scale_array.shape, numpy_dtype(dtype))
    if dtype is None or zero is None or not (dtype.is_quantized or dtype is DType.INT32):
        return None
    block = node.attributes.get_int("block_size", 0) or None
    axis: int | None = node.attributes.get_int("axis", 1)
    if block is not None:
        granularity = Granularity.PER_BLOCK
    elif scale_array.size == 1 and scale_array.ndim == 0:
        granularity, axis = Granularity.PER_TENSOR, None
    elif scale_array.size == 1 and not _axis_has_one_index(node, axis):
        granularity, axis = Granularity.PER_TENSOR, None
        scale_array, zero = scale_array.reshape(()), zero.reshape(())
    else:
        granularity = Granularity.PER_CHANNEL
    symmetric = not zero.astype(np.float32).any() if dtype.is_signed else False
    scheme = QuantScheme(dtype, granularity, symmetric=symmetric, axis=axis, block_size=block)
    try:
        return QParams(scheme, scale_array, zero)
    except ModelError as error:
        raise ModelError(f"node '{node.name}' ({node.op_type}): {error.message}", fix=error.fix) from None


def _axis_has_one_index(node: ir.Node, axis: int | None) -> bool:
    value = node.inputs[0]
    shape = value.shape if value is not None else None
    if shape is None or axis is None or not -len(shape) <= axis < len(shape):
        return False
    return shape[axis] == 1


def _implied_dtype(node: ir.Node) -> DType | None:
    if node.op_type == DQ:
        return _dtype(node.inputs[0])
    code = node.attributes.get_int("output_dtype", 0)
    return DType.UINT8 if code == 0 else _dtype_of(ir.DataType(code))


def _dtype_of(dtype: ir.DataType | None) -> DType | None:
    return None if dtype is None else _DTYPES.get(dtype)


_DTYPES = {
    getattr(ir.DataType, name): dtype
    for name, dtype in {
        "FLOAT": DType.FLOAT32,
        **{d.name: d for d in DType if d is not DType.FLOAT32},
    }.items()
}


_ONNX_DTYPES = {dtype: code for code, dtype in _DTYPES.items()}


def onnx_dtype(dtype: DType) -> ir.DataType:
    """The ONNX element type of the same meaning."""
    return _ONNX_DTYPES[dtype]


def _dtype(value: ir.Value | None) -> DType | None:
    if value is None:
        return None
    return _dtype_of(value.dtype or (value.const_value.dtype if value.const_value is not None else None))


def _owner_is_another(node: ir.Node) -> bool:
    """Whether a Q/DQ node belongs to the unit of a neighbour rather than standing alone."""
    if node.op_type == DQ:
        uses = node.outputs[0].uses()
        if node.outputs[0].is_graph_output() or len(uses) != 1 or uses[0].node.graph is not node.graph:
            return False
        return not is_q_or_dq(uses[0].node)
    producer = _producer_in_graph(node.inputs[0], node)
    return producer is not None and not is_q_or_dq(producer) and node is _first_q(node.inputs[0])


def _producer_in_graph(value: ir.Value | None, node: ir.Node) -> ir.Node | None:
    producer = value.producer() if value is not None else None
    return producer if producer is not None and producer.graph is node.graph else None


def _first_q(value: ir.Value | None) -> ir.Node | None:
    """The Q that belongs to the producer of `value`; further ones stand alone."""
    if value is None:
        return None
    producer = value.producer()
    return next(
        (
            u.node
            for u in value.uses()
            if u.node.op_type == Q and u.idx == 0 and producer and u.node.graph is producer.graph
        ),
        None,
    )


def _unit_of(node: ir.Node, path: tuple[str, ...]) -> Unit:
    nodes: list[ir.Node] = []
    inputs: list[Operand | None] = []
    kinds = roles(node)
    lone = is_q_or_dq(node)
    for position, value in enumerate(node.inputs):
        if value is None:
            inputs.append(None)
            continue
        producer = None if lone else _producer_in_graph(value, node)
        if producer is not None and producer.op_type == DQ and is_q_or_dq(producer) and _owner_is_another(producer):
            nodes.append(producer)
            border = producer.inputs[0]
            assert border is not None
            inputs.append(Operand(border, value, kinds[position], qparams_of(producer)))
        else:
            inputs.append(Operand(value, value, Role.AUX if lone and position else kinds[position]))
    nodes.append(node)
    activation = None if lone else _fused_activation(node)
    if activation is not None:
        nodes.append(activation)
    outputs: list[Operand] = []
    if lone and node.op_type == Q:
        outputs.append(Operand(node.outputs[0], node.inputs[0] or node.outputs[0], Role.DATA, qparams_of(node)))
    else:
        for value in (activation or node).outputs:
            outputs.extend(_outputs_of(value, nodes, lone=lone))
    return Unit(node, activation, tuple(inputs), tuple(outputs), tuple(nodes), path)


def _outputs_of(value: ir.Value, nodes: list[ir.Node], *, lone: bool) -> Iterator[Operand]:
    quantize = None if lone else _first_q(value)
    if quantize is None:
        yield Operand(value, value, Role.DATA)
        return
    nodes.append(quantize)
    yield Operand(quantize.outputs[0], value, Role.DATA, qparams_of(quantize))
    if value.is_graph_output() or len(value.uses()) > 1:
        yield Operand(value, value, Role.DATA)


def _fused_activation(node: ir.Node) -> ir.Node | None:
    """The activation behind an accumulating op (or Add) when nothing else reads what is between them."""
    if not (info(op_key(node)).accumulates or op_key(node) == "Add"):
        return None
    value = node.outputs[0]
    uses = value.uses()
    if value.is_graph_output() or len(uses) != 1:
        return None
    (use,) = uses
    fits = use.idx == 0 and use.node.graph is node.graph and use.node.domain in ("", "ai.onnx")
    if not fits or use.node.op_type not in ACTIVATIONS:
        return None
    extra = [v for v in use.node.inputs[1:] if v is not None]
    return use.node if all(v.const_value is not None for v in extra) else None
