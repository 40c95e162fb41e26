"""If, Loop and Scan: bodies in line, with steps that pass over them or go back."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx_ir as ir

from deepseek_backend_arm.lowering.emitter import Emitter, dtype_of, static_shape
from deepseek_backend_arm.lowering.moves import filled
from deepseek_backend_arm.lowering.tensor import SIZES, Tensor
from deepseek_backend_arm.settle import is_closed
from deepseek_core import Unit
from deepseek_core.lowering import canonical

__all__ = ["CONTROL", "control_problem"]

_IMPOSSIBLE = 1
"""A branch was taken that the shapes of the inputs rule out."""
Body = Callable[[ir.Graph], None]
"""Lowers the units of a body."""


def control_problem(unit: Unit) -> str | None:
    """Why control flow is not built; None when it is."""
    graphs = [a.as_graph() for a in unit.node.attributes.values() if a.type == ir.AttributeType.GRAPH]
    values = [*unit.node.outputs, *(v for graph in graphs for v in (*graph.inputs, *graph.outputs))]
    loose = next((v for v in values if v.shape is None or not v.shape.is_static()), None)
    if loose is not None:
        return f"the shape of '{loose.name}' is not known"
    if unit.op == "SequenceMap":
        return "it maps a sequence"
    return None


def _if(unit: Unit, emitter: Emitter, body: Body) -> None:
    condition = unit.node.inputs[0]
    assert condition is not None
    results = [emitter.new(dtype_of(value), static_shape(value)) for value in unit.node.outputs]
    branch = emitter.step("branch", {"c": emitter.tensor(condition).memory}, {"count": 0})
    first = len(emitter.steps)
    _branch(emitter, unit.node.attributes["then_branch"].as_graph(), results, body)
    jump = emitter.step("jump", {}, {"count": 0})
    second = len(emitter.steps)
    branch.values["count"] = second - first
    _branch(emitter, unit.node.attributes["else_branch"].as_graph(), results, body)
    jump.values["count"] = len(emitter.steps) - second
    for value, result in zip(unit.node.outputs, results, strict=True):
        emitter.define(value, result)


def _branch(emitter: Emitter, graph: ir.Graph, results: Sequence[Tensor], body: Body) -> None:
    if is_closed(graph):
        emitter.step("fail", {}, {"code": _IMPOSSIBLE})
        return
    with emitter.branch():
        body(graph)
        for value, result in zip(graph.outputs, results, strict=True):
            _put(emitter, emitter.tensor(value), result)


def _put(emitter: Emitter, source: Tensor, result: Tensor) -> None:
    emitter.move(source, result, source.shape, source.strides, result.strides)


def _loop(unit: Unit, emitter: Emitter, body: Body) -> None:
    """Loop-25: trips while the count and the condition allow."""
    limit, condition, *carried = unit.node.inputs
    graph = unit.node.attributes["body"].as_graph()
    goes = filled(emitter, "bool", (), True)
    if condition is not None:
        _put(emitter, emitter.tensor(condition), goes)
    states = [_state(emitter, emitter.tensor(value)) for value in carried if value is not None]
    made = [emitter.new(dtype_of(value), static_shape(value)) for value in unit.node.outputs[len(states) :]]
    trip = _Trip(emitter, None if limit is None else emitter.tensor(limit), goes)
    with emitter.branch():
        for value, tensor in zip(graph.inputs, (trip.counter, goes, *states), strict=True):
            emitter.define(value, tensor)
        body(graph)
        results = [emitter.tensor(value) for value in graph.outputs]
        _carry(emitter, results[: 1 + len(states)], [goes, *states])
        for tensor, whole in zip(results[1 + len(states) :], made, strict=True):
            trip.keep(tensor, whole, 0, backwards=False)
    trip.end()
    for value, tensor in zip(unit.node.outputs, (*states, *made), strict=True):
        emitter.define(value, tensor)


def _scan(unit: Unit, emitter: Emitter, body: Body) -> None:
    """Scan-25: a trip for each slice of the scanned inputs."""
    node, graph = unit.node, unit.node.attributes["body"].as_graph()
    count = node.attributes.get_int("num_scan_inputs", 1)
    inputs = [emitter.tensor(value) for value in node.inputs if value is not None]
    states = [_state(emitter, tensor) for tensor in inputs[: len(inputs) - count]]
    scanned = [emitter.ordered(tensor, canonical(len(tensor.shape))) for tensor in inputs[len(inputs) - count :]]
    axes = [axis % len(x.shape) for axis, x in zip(_list(node, "scan_input_axes", count), scanned, strict=True)]
    made = [emitter.new(dtype_of(value), static_shape(value)) for value in node.outputs[len(states) :]]
    to = [axis % len(y.shape) for axis, y in zip(_list(node, "scan_output_axes", len(made)), made, strict=True)]
    slices = [
        emitter.new(x.dtype, (*x.shape[:axis], *x.shape[axis + 1 :])) for x, axis in zip(scanned, axes, strict=True)
    ]
    limit = emitter.constant(np.array(scanned[0].shape[axes[0]], np.int64))
    trip = _Trip(emitter, limit, None)
    with emitter.branch():
        rows = zip(scanned, slices, axes, _list(node, "scan_input_directions", count), strict=True)
        for whole, tensor, axis, backwards in rows:
            trip.take(whole, tensor, axis, backwards=bool(backwards))
        for value, tensor in zip(graph.inputs, (*states, *slices), strict=True):
            emitter.define(value, tensor)
        body(graph)
        results = [emitter.tensor(value) for value in graph.outputs]
        _carry(emitter, results[: len(states)], states)
        kept = zip(results[len(states) :], made, to, _list(node, "scan_output_directions", len(made)), strict=True)
        for tensor, whole, axis, backwards in kept:
            trip.keep(tensor, whole, axis, backwards=bool(backwards))
    trip.end()
    for value, tensor in zip(node.outputs, (*states, *made), strict=True):
        emitter.define(value, tensor)


def _list(node: ir.Node, name: str, length: int) -> list[int]:
    return list(node.attributes.get_ints(name, ())) or [0] * length


def _state(emitter: Emitter, start: Tensor) -> Tensor:
    """What a loop carries, in C order, in memory of its own."""
    state = emitter.new(start.dtype, start.shape)
    _put(emitter, start, state)
    return state


def _carry(emitter: Emitter, results: Sequence[Tensor], states: Sequence[Tensor]) -> None:
    """Results of a trip become the states of the next; those that are states themselves are put aside first."""
    own = [state.memory for state in states]
    safe = [
        _state(emitter, tensor) if tensor.memory in own and tensor.memory is not state.memory else tensor
        for tensor, state in zip(results, states, strict=True)
    ]
    for tensor, state in zip(safe, states, strict=True):
        if tensor.memory is not state.memory:
            _put(emitter, tensor, state)


class _Trip:
    """The head of a loop and its end, and what passes between slices and whole tensors in each trip."""

    def __init__(self, emitter: Emitter, limit: Tensor | None, goes: Tensor | None) -> None:
        self.counter = filled(emitter, "int64", (), -1)
        self._emitter, self._head = emitter, len(emitter.steps)
        places = {"y": self.counter.memory, "limit": None if limit is None else limit.memory}
        self._step = emitter.step("trip", {**places, "c": None if goes is None else goes.memory}, {"count": 0})

    def take(self, whole: Tensor, part: Tensor, axis: int, *, backwards: bool) -> None:
        """The slice of this trip."""
        self._slot(whole, part, whole.shape, axis, whole.dtype, backwards=backwards, puts=False)

    def keep(self, part: Tensor, whole: Tensor, axis: int, *, backwards: bool) -> None:
        """Store the slice of this trip."""
        source = self._emitter.ordered(part, canonical(len(part.shape)))
        self._slot(source, whole, whole.shape, axis, whole.dtype, backwards=backwards, puts=True)

    def _slot(
        self, x: Tensor, y: Tensor, shape: tuple[int, ...], axis: int, dtype: str, *, backwards: bool, puts: bool
    ) -> None:
        outer, inner = (int(np.prod(part, dtype=np.int64)) for part in (shape[:axis], shape[axis + 1 :]))
        values = {"size": SIZES[dtype], "outer": outer, "axis": shape[axis], "inner": inner}
        places = {"x": x, "trip": self.counter, "y": y}
        self._emitter.emit("slot", places, {**values, "reverse": int(backwards), "puts": int(puts)})

    def end(self) -> None:
        """Go back to the head, which passes over everything up to here at last."""
        here = len(self._emitter.steps)
        self._emitter.step("jump", {}, {"count": self._head - here - 1})
        self._step.values["count"] = here - self._head


CONTROL: dict[str, Callable[[Unit, Emitter, Body], None]] = {"If": _if, "Loop": _loop, "Scan": _scan}
