"""Store int8 activations as uint8, zero points moved by 128: the same real values.

ONNX Runtime's x86 kernels multiply uint8 activations; int8 ones take a path about ten times slower.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import onnx_ir as ir

from deepseek_backend_cpu.lowering.emitter import Constants
from deepseek_backend_cpu.lowering.operands import is_codes
from deepseek_core import DType, Operand, Role, Unit
from deepseek_core.ir import qparams_of, units

__all__ = ["store_unsigned"]

_Q, _DQ = "QuantizeLinear", "DequantizeLinear"
_OFFSET = 128


def store_unsigned(graph: ir.Graph, computes: Callable[[Unit], bool], constants: Constants) -> None:
    """Convert the int8 activations of one graph (its bodies are graphs of their own).

    Inputs and outputs of the graph keep their types: a DQ → Q pair converts at the border of a unit that computes.
    Tensors whose codes something else reads stay as they are.

    Args:
        computes: whether a unit does arithmetic, rather than move codes that may have any type.
    """
    chosen = [unit for unit in units(graph) if computes(unit)]
    read = [operand for unit in chosen for operand in unit.operands(Role.DATA) if _is_signed(operand)]
    for value in dict.fromkeys(o.value for o in read if o.value.is_graph_input() and o.value.graph is graph):
        _split_input(graph, value)
    written = [operand for unit in chosen for operand in unit.outputs if _is_signed(operand)]
    for value in dict.fromkeys(
        o.value for o in (*written, *read) if o.value.is_graph_output() and _is_made_in(graph, o)
    ):
        _split_output(graph, value)
    for value in dict.fromkeys(o.value for o in read if o.is_constant and o.value.graph is graph):
        _shift_constant(graph, value, constants)
    for node in graph:
        if node.op_type == _Q and node.domain == "" and _only_dequantized(node.outputs[0]):
            _shift(node.outputs[0], [node, *node.outputs[0].consumers()], constants)


def _is_signed(operand: Operand) -> bool:
    return is_codes(operand) and operand.dtype is DType.INT8


def _is_made_in(graph: ir.Graph, operand: Operand) -> bool:
    """Whether a Q of this graph writes the codes."""
    producer = operand.value.producer()
    return producer is not None and producer.graph is graph and producer.op_type == _Q


def _split_input(graph: ir.Graph, value: ir.Value) -> None:
    """Put DQ → Q behind a graph input, in front of its readers."""
    uses = list(value.uses())
    readers = {use.node for use in uses}
    params = next(n for n in readers if n.op_type == _DQ).inputs[1:]
    first = next((node for node in graph if node in readers), None)
    if first is None:  # only bodies read it; they convert for themselves
        return
    pair = _pair(value, params)
    graph.insert_before(first, pair)
    inner = pair[1].outputs[0]
    inner.name, inner.shape, inner.type = f"{value.name}/inner", value.shape, value.type
    for use in uses:
        use.node.replace_input_with(use.idx, inner)


def _split_output(graph: ir.Graph, value: ir.Value) -> None:
    """Put DQ → Q between the Q that makes a graph output and the output."""
    quantize = value.producer()
    assert quantize is not None
    pair = _pair(value, quantize.inputs[1:])
    graph.insert_after(quantize, pair)
    outer = pair[1].outputs[0]
    outer.shape, outer.type = value.shape, value.type
    outer.name, value.name = value.name, f"{value.name}/inner"
    for index, output in enumerate(graph.outputs):
        if output is value:
            graph.outputs[index] = outer


def _pair(value: ir.Value, params: Iterable[ir.Value | None]) -> list[ir.Node]:
    dequantize = ir.node(_DQ, [value, *params], name=f"{value.name}/{_DQ}")
    quantize = ir.node(_Q, [dequantize.outputs[0], *params], name=f"{value.name}/{_Q}")
    dequantize.outputs[0].name = f"{value.name}/real"
    dequantize.outputs[0].type, dequantize.outputs[0].shape = ir.TensorType(ir.DataType.FLOAT), value.shape
    return [dequantize, quantize]


def _shift_constant(graph: ir.Graph, value: ir.Value, constants: Constants) -> None:
    """Give the DQ nodes of a constant a shifted copy; other readers keep the constant."""
    assert value.const_value is not None
    codes = (value.const_value.numpy().astype(np.int16) + _OFFSET).astype(np.uint8)
    copy = constants.add(graph, codes)
    readers = [node for node in value.consumers() if _is_signed_conversion(node, _DQ) and node.graph is graph]
    for node in readers:
        node.replace_input_with(0, copy)
    _shift(copy, readers, constants)


def _only_dequantized(value: ir.Value) -> bool:
    producer = value.producer()
    readers = value.consumers()
    if value.is_graph_output() or producer is None or not _is_signed_conversion(producer, _Q):
        return False
    return all(_is_signed_conversion(node, _DQ) and node.inputs[0] is value for node in readers)


def _is_signed_conversion(node: ir.Node, op: str) -> bool:
    if node.op_type != op or node.domain != "" or (qparams := qparams_of(node)) is None:
        return False
    return qparams.scheme.dtype is DType.INT8 and qparams.scale.ndim == 0


def _shift(value: ir.Value, nodes: Iterable[ir.Node], constants: Constants) -> None:
    """Make `value` uint8 for the Q and DQ nodes that write and read it."""
    value.type = ir.TensorType(ir.DataType.UINT8)
    for node in dict.fromkeys(nodes):
        qparams = qparams_of(node)
        assert qparams is not None
        assert isinstance(node.graph, ir.Graph)
        zero = (qparams.zero_point.astype(np.int16) + _OFFSET).astype(np.uint8)
        node.resize_inputs(3)
        node.replace_input_with(2, constants.add(node.graph, zero))
        if "output_dtype" in node.attributes:
            node.attributes["output_dtype"] = ir.AttrInt64("output_dtype", int(ir.DataType.UINT8))
