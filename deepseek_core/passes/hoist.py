"""What every trip of a loop computes alike is computed once, before the loop."""

from __future__ import annotations

import onnx_ir as ir

from deepseek_core.ir.model import QuantizedModel
from deepseek_core.ir.query import at, constant
from deepseek_core.passes.base import Pass
from deepseek_core.passes.bodies import body_of, control_nodes
from deepseek_core.passes.purity import cannot_fail, is_pure

__all__ = ["HoistInvariants"]


class HoistInvariants(Pass):
    """Move pure nodes that read nothing of their `Loop` or `Scan` body in front of it, innermost loops first.

    A node that may fail is moved only out of a loop that certainly makes a trip: otherwise a model that skips the
    loop today would fail tomorrow.
    """

    requires = frozenset({"constants folded"})
    ensures = frozenset({"invariants hoisted"})

    def run(self, model: QuantizedModel) -> bool:
        moved = False
        for loop in control_nodes(model.model, "Loop", "Scan"):
            for node in _invariant(loop):
                _move(node, loop)
                moved = True
        return moved

    def check(self, model: QuantizedModel) -> str | None:
        for loop in control_nodes(model.model, "Loop", "Scan"):
            for node in _invariant(loop):
                return f"'{node.name}' in the body of '{loop.name}' depends on nothing of it"
        return None


def _invariant(loop: ir.Node) -> list[ir.Node]:
    """Nodes to move, in order."""
    body, runs = body_of(loop), _makes_a_trip(loop)
    own = {*body.inputs, *(value for node in body for value in node.outputs)}
    own |= {value for value in body.initializers.values() if value.is_graph_output()}
    found = []
    for node in body:
        fixed = all(value is None or value not in own for value in node.inputs)
        given = any(value.is_graph_output() for value in node.outputs)
        if fixed and not given and is_pure(node) and (runs or cannot_fail(node)):
            own.difference_update(node.outputs)
            found.append(node)
    return found


def _move(node: ir.Node, loop: ir.Node) -> None:
    body, outer = node.graph, loop.graph
    assert isinstance(body, ir.Graph)
    assert isinstance(outer, ir.Graph)
    for value in node.inputs:
        if value is not None and value.is_initializer() and value.graph is body:
            del body.initializers[value.name or ""]
            outer.register_initializer(value)
    body.remove(node)
    outer.insert_before(loop, node)


def _makes_a_trip(loop: ir.Node) -> bool:
    if loop.op_type == "Scan":
        return _scanned_length(loop) > 0
    trips, condition = at(loop, 0), at(loop, 1)
    counted, allowed = constant(trips), constant(condition)
    enough = trips is None or (counted is not None and counted.item() > 0)
    return enough and (condition is None or (allowed is not None and bool(allowed.item())))


def _scanned_length(scan: ir.Node) -> int:
    """Slices of the first scanned input; 0 when nobody knows."""
    count = scan.attributes["num_scan_inputs"].as_int()
    source = scan.inputs[len(scan.inputs) - count]
    axis = (scan.attributes.get_ints("scan_input_axes", ()) or (0,))[0]
    if source is None or source.shape is None or not -len(source.shape) <= axis < len(source.shape):
        return 0
    length = source.shape[axis]
    return length if isinstance(length, int) else 0
