"""If, Loop, Scan and SequenceMap.

onnx.reference's Scan reads forwards along axis 0 only, and its Loop stacks scalars into columns; bodies here are
programs like the main graph, so units inside them have the same numerics.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
import onnx_ir as ir

from deepseek_core.errors import ModelError
from deepseek_core.reference.values import Array, Value, real

__all__ = ["CONTROL", "Body", "Controlled"]

Scope = dict[ir.Value, Value]


class Body(Protocol):
    """A body graph ready to run."""

    @property
    def graph(self) -> ir.Graph: ...

    def call(self, scope: Scope, arguments: list[Value]) -> list[Value]:
        """Bind the body's inputs to `arguments`, run it in `scope`, give its outputs."""
        ...


Bodies = Mapping[str, Body]
Controlled = Callable[[ir.Node, Bodies, Scope, list[Value]], list[Value]]


def _if(node: ir.Node, bodies: Bodies, scope: Scope, inputs: list[Value]) -> list[Value]:
    """If-25: the outputs of the branch that the condition picks."""
    return bodies["then_branch" if real(inputs[0]).item() else "else_branch"].call(scope, [])


def _loop(node: ir.Node, bodies: Bodies, scope: Scope, inputs: list[Value]) -> list[Value]:
    """Loop-25. Inputs: trip count and condition (each optional), then the carried values.

    Outputs: the carried values after the last trip, then what each trip gave, stacked along a new first axis.
    """
    body = bodies["body"]
    limit, condition, *carried = inputs
    proceed = condition is None or bool(real(condition).item())
    trips = None if limit is None else int(real(limit).item())
    columns: list[list[Any]] = [[] for _ in body.graph.outputs[1 + len(carried) :]]
    count = 0
    while proceed and (trips is None or count < trips):
        results = body.call(scope, [np.array(count, np.int64), np.array(True), *carried])
        proceed = bool(real(results[0]).item())
        carried = results[1 : 1 + len(carried)]
        for column, result in zip(columns, results[1 + len(carried) :], strict=True):
            column.append(real(result))
        count += 1
    declared = body.graph.outputs[1 + len(carried) :]
    return [*carried, *(_stacked(c, value, 0) for c, value in zip(columns, declared, strict=True))]


def _scan(node: ir.Node, bodies: Bodies, scope: Scope, inputs: list[Value]) -> list[Value]:
    """Scan-25: state values, then arrays that are read slice by slice along their axes, forwards or backwards.

    Outputs: the states after the last slice, then what each slice gave, stacked along the output axes.
    """
    body = bodies["body"]
    count = node.attributes["num_scan_inputs"].as_int()
    states, scanned = inputs[: len(inputs) - count], [real(v) for v in inputs[len(inputs) - count :]]
    made = len(body.graph.outputs) - len(states)
    columns: list[list[Any]] = [[] for _ in range(made)]
    for slices in zip(*_streams(node, scanned), strict=True):
        results = body.call(scope, [*states, *slices])
        states = results[: len(states)]
        for column, result in zip(columns, results[len(states) :], strict=True):
            column.append(real(result))
    outputs = zip(
        columns,
        body.graph.outputs[len(states) :],
        _list(node, "scan_output_axes", made),
        _list(node, "scan_output_directions", made),
        strict=True,
    )
    return [*states, *(_stacked(_directed(c, back), value, axis) for c, value, axis, back in outputs)]


def _streams(node: ir.Node, scanned: list[Array]) -> list[Array]:
    """Each scanned input with its slices along the first axis, in the order they are read."""
    axes, directions = (_list(node, f"scan_input_{what}", len(scanned)) for what in ("axes", "directions"))
    rows = zip(scanned, axes, directions, strict=True)
    streams = [_directed(np.moveaxis(x, axis, 0), back) for x, axis, back in rows]
    if len({len(stream) for stream in streams}) != 1:
        raise ModelError(
            f"node '{node.name}' (Scan): its inputs have {[len(s) for s in streams]} slices",
            fix="feed inputs of equal length along the scanned axes",
        )
    return streams


def _sequence_map(node: ir.Node, bodies: Bodies, scope: Scope, inputs: list[Value]) -> list[Value]:
    """SequenceMap-17: the body over the elements of the first sequence and of every other sequence beside it."""
    first, *others = inputs
    assert isinstance(first, list)
    results = [
        bodies["body"].call(scope, [item, *(other[i] if isinstance(other, list) else other for other in others)])
        for i, item in enumerate(first)
    ]
    return [[real(row[i]) for row in results] for i in range(len(node.outputs))]


def _list(node: ir.Node, name: str, length: int) -> list[int]:
    return list(node.attributes.get_ints(name, ())) or [0] * length


def _directed(items: Any, backwards: int) -> Any:
    return items[::-1] if backwards else items


def _stacked(items: list[Any], value: ir.Value, axis: int) -> Array:
    """Results of all trips; after none, an empty array of the shape that the body declares."""
    if items:
        return np.stack(items, axis)
    sizes = [size if isinstance(size, int) else 0 for size in value.shape or ()]
    sizes.insert(axis if axis >= 0 else len(sizes) + 1 + axis, 0)
    return np.zeros(sizes, value.dtype.numpy() if value.dtype is not None else np.float32)


CONTROL: dict[str, Controlled] = {"If": _if, "Loop": _loop, "Scan": _scan, "SequenceMap": _sequence_map}
