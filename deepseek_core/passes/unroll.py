"""Short loops become straight code, in which every trip has ranges of its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from deepseek_core.ir.canonical.edit import Editor
from deepseek_core.ir.model import QuantizedModel
from deepseek_core.passes.base import Pass
from deepseek_core.passes.bodies import all_nodes, body_of, control_nodes, move_out, size_of, substitute
from deepseek_core.passes.trips import trip_count

__all__ = ["UnrollLimits", "UnrollLoops"]


@dataclass(frozen=True, slots=True)
class UnrollLimits:
    """How long a loop may be to be unrolled.

    Attributes:
        trips: at most so many trips; 0 leaves every loop as it is.
        nodes: at most so many nodes in all trips together.
    """

    trips: int = 8
    nodes: int = 256


class UnrollLoops(Pass):
    """Write a `Loop` out, trip after trip, when constants alone say how many trips it makes and they are few.

    Nodes and values of the first trip keep their names, those of trip k get `_k` behind theirs. Constants stay shared.
    """

    requires = frozenset({"conditions folded"})
    ensures = frozenset({"short loops unrolled"})
    breaks = frozenset({"constants folded"})

    def __init__(self, limits: UnrollLimits | None = None) -> None:
        self._limits = limits or UnrollLimits()

    def run(self, model: QuantizedModel) -> bool:
        changed = False
        for loop in control_nodes(model.model, "Loop"):
            trips = self._trips(loop, model.opset)
            if trips is not None:
                _unroll(Editor(model.model), loop, trips)
                changed = True
        return changed

    def check(self, model: QuantizedModel) -> str | None:
        loops = control_nodes(model.model, "Loop")
        left = next((loop for loop in loops if self._trips(loop, model.opset) is not None), None)
        return None if left is None else f"Loop '{left.name}' is short and not unrolled"

    def _trips(self, loop: ir.Node, opset: int) -> int | None:
        trips = trip_count(loop, self._limits.trips, opset)
        if trips is None or trips == 0 or trips * size_of(body_of(loop)) > self._limits.nodes:
            return None
        stacked = loop.outputs[len(loop.inputs) - 2 :]
        # Only tensors can be stacked; a carried value that is absent has nothing to start from.
        plain = all(isinstance(value.type, ir.TensorType) for value in stacked if value.uses())
        return trips if plain and None not in loop.inputs[2:] else None


def _unroll(editor: Editor, loop: ir.Node, trips: int) -> None:
    main, body = editor.model.graph, body_of(loop)
    always = editor.initializer(main, f"{loop.name}_always", np.array(True))
    bodies = [body, *(_copy(editor, body, trip) for trip in range(1, trips))]
    carried = [value for value in loop.inputs[2:] if value is not None]
    stacked: list[list[ir.Value]] = [[] for _ in loop.outputs[len(carried) :]]
    for trip, copy in enumerate(bodies):
        number = editor.initializer(main, f"{loop.name}_trip_{trip}", np.array(trip, np.int64))
        arguments = dict(zip(copy.inputs, [number, always, *carried], strict=True))
        results = move_out(loop, copy, arguments)[1:]
        carried, given = results[: len(carried)], results[len(carried) :]
        for column, value in zip(stacked, given, strict=True):
            column.append(value)
    columns = zip(stacked, loop.outputs[len(carried) :], strict=True)
    substitute(editor, loop, [*carried, *(_stack(editor, loop, values, output) for values, output in columns)])


def _copy(editor: Editor, body: ir.Graph, trip: int) -> ir.Graph:
    """The body again, with names that tell the trip; its constants are read where they are."""
    for name, value in list(body.initializers.items()):
        if not value.is_graph_output():
            del body.initializers[name]
            editor.model.graph.register_initializer(value)
    copy = body.clone(allow_outer_scope_values=True)
    nodes = all_nodes(copy)
    graphs = [copy, *copy.subgraphs()]
    for value in (v for graph in graphs for v in (*graph.inputs, *graph.initializers.values())):
        value.name = editor.name(f"{value.name}_{trip}")
    for node in nodes:
        node.name = editor.name(f"{node.name}_{trip}")
        for value in node.outputs:
            value.name = editor.name(f"{value.name}_{trip}") if value.name else value.name
    return copy


def _stack(editor: Editor, loop: ir.Node, values: list[ir.Value], output: ir.Value) -> ir.Value:
    """What every trip gave, along a new first axis."""
    main, dtype = editor.model.graph, output.dtype
    axes = editor.initializer(main, f"{output.name}_axes", np.array([0], np.int64))
    rows = [
        editor.node(
            "Unsqueeze", [value, axes], before=loop, name=f"{output.name}/row", output=f"{output.name}_row", dtype=dtype
        )
        for value in values
    ]
    return editor.node(
        "Concat",
        rows,
        before=loop,
        name=f"{output.name}/stack",
        output=f"{output.name}_stack",
        dtype=dtype,
        attributes={"axis": 0},
    )
