"""Every other operator, by onnx.reference: each node is a model of its own for the ONNX project's evaluator."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import onnx
import onnx_ir as ir
from onnx.reference import ReferenceEvaluator

from deepseek_core.errors import ModelError
from deepseek_core.ir.ops import op_key
from deepseek_core.reference.values import Array, Value, real

__all__ = ["Operation", "standard"]

Operation = Callable[..., tuple[Value, ...]]
"""A node ready to run: inputs by position (None where omitted) → outputs."""

_COERCED = frozenset(("Softmax", "LogSoftmax", "Hardmax"))


def standard(node: ir.Node, opsets: Mapping[str, int]) -> Operation:
    """The operator as onnx.reference defines it in the version that `opsets` selects.

    Raises:
        ModelError: onnx.reference has no such operator.
    """
    coerced = node.op_type in _COERCED and node.domain == "" and opsets.get("", 13) < 13
    graph = _graph(node)
    if coerced:
        del graph.node[0].attribute[:]  # the last axis is the default
    try:
        evaluator = ReferenceEvaluator(graph, opsets=dict(opsets))
    except Exception as error:  # whatever its operator classes raise
        raise ModelError(
            f"node '{node.name}' ({op_key(node)}) has no reference implementation",
            fix="use operators of the ONNX standard that onnx.reference implements",
        ) from error

    def run(*inputs: Value) -> tuple[Value, ...]:
        return tuple(evaluator.run(None, {f"in{i}": real(value) for i, value in enumerate(inputs)}))

    return _coerced(run, node.attributes.get_int("axis", 1)) if coerced else run


def _graph(node: ir.Node) -> onnx.GraphProto:
    proto = ir.serde.serialize_node(node)
    inputs = [("" if value is None else f"in{i}") for i, value in enumerate(node.inputs)]
    outputs = [(f"out{i}" if value.name else "") for i, value in enumerate(node.outputs)]
    del proto.input[:], proto.output[:]
    proto.input.extend(inputs)
    proto.output.extend(outputs)
    graph = onnx.GraphProto(name="node", node=[proto])
    graph.output.extend(onnx.ValueInfoProto(name=name) for name in outputs)
    return graph


def _coerced(run: Operation, axis: int) -> Operation:
    """Softmax, LogSoftmax and Hardmax before opset 13 see a matrix: everything from `axis` on is one row.

    onnx.reference knows the newest form only.
    """

    def matrix(x: Value) -> tuple[Value, ...]:
        values: Array = real(x)
        split = axis if axis >= 0 else axis + values.ndim
        rows = values.reshape(math.prod(values.shape[:split]), math.prod(values.shape[split:]))
        return (real(run(rows)[0]).reshape(values.shape),)

    return matrix
