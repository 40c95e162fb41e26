"""How many trips a loop makes, where that follows from constants alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from deepseek_core.ir.query import at, constant
from deepseek_core.passes.bodies import body_of
from deepseek_core.passes.purity import is_pure

__all__ = ["trip_count"]

_SLICE = 32
"""Nodes that may decide about a loop's end; a counter and a comparison are three."""

_ELEMENTS = 64
"""Elements of a constant that may."""


def trip_count(loop: ir.Node, limit: int, opset: int) -> int | None:
    """Trips of a `Loop`, when they do not depend on data and are at most `limit`; else None.

    The trip count and the first condition must be constants or absent, and what the body says about going on must
    follow from constants, the trip's number, and carried values that follow from the same: `while i < 5` with a
    counter. These nodes are evaluated (onnx.reference) trip by trip; nothing else of the loop is.

    Args:
        opset: version of the default domain; a body does not know it.
    """
    most, first = at(loop, 0), at(loop, 1)
    trips, condition = constant(most), constant(first)
    if (most is not None and trips is None) or (first is not None and condition is None):
        return None
    bound = None if trips is None else max(int(trips.item()), 0)
    if condition is not None and not condition.item():
        return 0
    body = body_of(loop)
    if _goes_on(body):
        return bound if bound is not None and bound <= limit else None
    return _simulate(loop, body, limit if bound is None else min(bound, limit), bound, opset)


def _goes_on(body: ir.Graph) -> bool:
    """Whether the body always says to go on: it gives True, or the condition that it was given."""
    value = body.outputs[0]
    producer = value.producer()
    while producer is not None and producer.op_type == "Identity" and producer.inputs[0] is not None:
        value = producer.inputs[0]
        producer = value.producer()
    always = constant(value)
    return value is body.inputs[1] or (always is not None and bool(always.item()))


def _simulate(loop: ir.Node, body: ir.Graph, limit: int, bound: int | None, opset: int) -> int | None:
    found = _slice(loop, body)
    if found is None:
        return None
    nodes, carried = found
    later = [body.outputs[position - 1] for position in carried]
    inputs = [*body.inputs[:2], *(body.inputs[position] for position in carried)]
    evaluator = _Evaluator(nodes, inputs, [body.outputs[0], *later], opset)
    state: list[NDArray[Any] | None] = [constant(loop.inputs[position]) for position in carried]
    for trip in range(limit):
        try:
            proceed, *following = evaluator.run([np.array(trip, np.int64), np.array(True), *state])
        except Exception:  # onnx.reference fails as it likes on what it does not take; then nothing is known
            return None
        if not proceed.item():
            return trip + 1
        state = [*following]
    return limit if limit == bound else None


def _slice(loop: ir.Node, body: ir.Graph) -> tuple[list[ir.Node], list[int]] | None:
    """Nodes behind the condition, and the positions of the carried values among the loop's inputs that they read."""
    inputs = {value: position for position, value in enumerate(body.inputs)}
    pending, nodes, carried = [body.outputs[0]], set[ir.Node](), set[int]()
    while pending:
        value = pending.pop()
        producer = value.producer()
        if value in inputs:
            position = inputs[value]
            if position >= 2 and position not in carried:
                carried.add(position)
                pending.append(body.outputs[position - 1])
                if not _is_small(loop.inputs[position]):
                    return None
        elif producer is not None and producer.graph is body and is_pure(producer):
            if producer not in nodes:
                nodes.add(producer)
                pending.extend(v for v in producer.inputs if v is not None)
        elif not _is_small(value):
            return None
    return ([node for node in body if node in nodes], sorted(carried)) if len(nodes) <= _SLICE else None


def _is_small(value: ir.Value | None) -> bool:
    """Whether a value is a constant that costs nothing to compute with."""
    array = constant(value)
    return array is not None and array.size <= _ELEMENTS


class _Evaluator:
    """Nodes of a body on their own.

    Args:
        inputs, outputs: values of the body; an output may be an input or a constant.
    """

    def __init__(self, nodes: list[ir.Node], inputs: list[ir.Value], outputs: list[ir.Value], opset: int) -> None:
        from onnx.reference import ReferenceEvaluator

        self._inputs, self._outputs = inputs, outputs
        made = {value for node in nodes for value in node.outputs}
        self._computed = [value for value in dict.fromkeys(outputs) if value in made]
        read = dict.fromkeys(value for node in nodes for value in node.inputs if value is not None)
        self._fed = [value for value in inputs if value in read]
        view = ir.GraphView(
            self._fed,
            self._computed,
            nodes=nodes,
            initializers=[value for value in read if value.is_initializer()],
            opset_imports={"": opset},
            name="condition",
        )
        self._reference = ReferenceEvaluator(ir.to_proto(ir.Model(view.clone(), ir_version=10))) if nodes else None

    def run(self, arrays: list[Any]) -> list[NDArray[Any]]:
        """The outputs, for arrays of the inputs."""
        known: dict[ir.Value, Any] = dict(zip(self._inputs, arrays, strict=True))
        if self._reference is not None:
            results = self._reference.run(None, {value.name or "": known[value] for value in self._fed})
            known.update(zip(self._computed, results, strict=True))
        return [np.asarray(known[v] if v in known else constant(v)) for v in self._outputs]
