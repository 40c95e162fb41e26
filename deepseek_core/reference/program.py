"""A graph ready to run: its operations in order, bodies of control flow included."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from deepseek_core.errors import DeepseekError, ModelError
from deepseek_core.ir.ops import op_key
from deepseek_core.reference.control_flow import CONTROL, Scope
from deepseek_core.reference.ops import bind
from deepseek_core.reference.values import Array, Value

__all__ = ["Program", "Scope"]

_Run = Callable[[Scope, list[Value]], Sequence[Value]]


@dataclass(frozen=True, slots=True)
class _Step:
    """One node.

    Attributes:
        ends: values that nothing reads after it.
    """

    node: ir.Node
    run: _Run
    ends: tuple[ir.Value, ...]


class Program:
    """The steps of one graph. A scope maps values, not names, so that bodies see the values around them.

    Args:
        keep: values that stay in the scope after their last reader.
        outer: values that the graphs around this one give.

    Attributes:
        constants: initializers of the graph and of every body below it.

    Raises:
        ModelError: a node reads what nothing makes, or nobody implements its operator; the message names it.
    """

    def __init__(
        self,
        graph: ir.Graph,
        opsets: Mapping[str, int],
        *,
        keep: Sequence[ir.Value] = (),
        outer: frozenset[ir.Value] = frozenset(),
    ) -> None:
        self.graph = graph
        self.constants: dict[ir.Value, Array] = {v: _constant(v) for v in graph.initializers.values()}
        last = _last_readers(graph)
        kept = {*graph.outputs, *keep}
        known = {*outer, *graph.inputs, *self.constants}
        self._steps: list[_Step] = []
        for node in graph:
            _require(known, (v for v in node.inputs if v is not None), f"node '{node.name}' ({op_key(node)})")
            ends = tuple(v for v in _touched(node) if last.get(v) is node and v not in kept)
            self._steps.append(_Step(node, self._bind(node, opsets, known), ends))
            known.update(node.outputs)
        _require(known, graph.outputs, f"graph '{graph.name}'")

    def run(self, scope: Scope) -> None:
        """Run every step; `scope` holds the constants and the graph's inputs, and takes the results.

        Raises:
            ModelError: a node cannot run on its inputs; the message names it.
        """
        for step in self._steps:
            inputs = [None if value is None else scope[value] for value in step.node.inputs]
            try:
                results = step.run(scope, inputs)
            except DeepseekError:
                raise
            except Exception as error:  # of NumPy or onnx.reference, about inputs that do not fit the operator
                raise _failure(step.node, error) from error
            scope.update(zip(step.node.outputs, results, strict=False))
            for value in step.ends:
                scope.pop(value, None)

    def call(self, scope: Scope, arguments: list[Value]) -> list[Value]:
        """Run as a body."""
        scope.update(zip(self.graph.inputs, arguments, strict=False))
        self.run(scope)
        return [scope[value] for value in self.graph.outputs]

    def _bind(self, node: ir.Node, opsets: Mapping[str, int], known: set[ir.Value]) -> _Run:
        control = CONTROL.get(op_key(node))
        if control is None:
            operation = bind(node, opsets)
            return lambda _, inputs: operation(*inputs)
        if node.op_type == "Scan" and opsets.get("", 9) < 9:
            raise ModelError(f"node '{node.name}' is the batched Scan of opset 8", fix="export with opset 9 or newer")
        bodies = {
            name: Program(attribute.as_graph(), opsets, outer=frozenset(known))
            for name, attribute in node.attributes.items()
            if attribute.type == ir.AttributeType.GRAPH
        }
        for body in bodies.values():
            self.constants.update(body.constants)
        return lambda scope, inputs: control(node, bodies, scope, inputs)


def _require(known: set[ir.Value], wanted: Iterable[ir.Value], reader: str) -> None:
    for value in wanted:
        if value not in known:
            raise ModelError(
                f"{reader} reads '{value.name}', which nothing before it makes", fix="export the model again"
            )


def _failure(node: ir.Node, error: BaseException) -> ModelError:
    root = error
    while root.__cause__ is not None:
        root = root.__cause__
    reason = " ".join(str(root).split())[:300] or type(root).__name__
    return ModelError(f"node '{node.name}' ({op_key(node)}) failed: {reason}", fix="correct the model or its inputs")


def _constant(value: ir.Value) -> Array:
    if value.const_value is None:
        raise ModelError(f"initializer '{value.name}' has no data", fix="save the model with its weights")
    array = value.const_value.numpy().view()
    array.flags.writeable = False
    return array


def _last_readers(graph: ir.Graph) -> dict[ir.Value, ir.Node]:
    """For each value that `graph` itself makes or is given, the last of its nodes that touches it."""
    own = {*graph.inputs, *(value for node in graph for value in node.outputs)}
    return {value: node for node in graph for value in _touched(node) if value in own}


def _touched(node: ir.Node) -> Iterator[ir.Value]:
    """What a node reads, in its bodies too, and what it makes."""
    yield from (value for value in node.inputs if value is not None)
    yield from node.outputs
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            for inner in attribute.as_graph():
                yield from _touched(inner)
            yield from attribute.as_graph().outputs
