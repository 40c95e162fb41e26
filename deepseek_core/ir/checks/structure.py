"""The graph is well formed: single assignment, topological order, scopes, unique names (ONNX IR specification)."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from deepseek_core.ir.checks.report import Problem, where
from deepseek_core.ir.units import subgraphs

__all__ = ["scope_problems", "structure_problems"]

_AGAIN = "export the model again, or correct the tool that wrote it"
_CANONICAL = "run deepseek_core.ir.canonical.canonicalize on the model"


def structure_problems(model: ir.Model) -> Iterator[Problem]:
    """Problems of the graph as a graph, bodies included."""
    if not model.graph.outputs:
        yield Problem("the graph", "has no outputs", _AGAIN)
    if not model.opset_imports:
        yield Problem("the model", "imports no operator set", _AGAIN)
    for domain, version in model.opset_imports.items():
        if version < 1:
            yield Problem("the model", f"imports version {version} of domain '{domain}'", _AGAIN)
    for value in model.graph.inputs:
        if value.type is None or value.dtype is ir.DataType.UNDEFINED:
            yield Problem(where(value), "is an input without an element type", _AGAIN)
    for node in model.graph.all_nodes():
        for attribute in node.attributes.values():
            if attribute.is_ref():
                yield Problem(where(node), f"attribute '{attribute.name}' refers to a function's, outside one", _AGAIN)
    yield from _name_problems(model)
    yield from scope_problems(model.graph)


def scope_problems(graph: ir.Graph, visible: set[ir.Value] | None = None) -> Iterator[Problem]:
    """Values that a node reads before, or without, their being there, in execution order.

    Args:
        visible: values of the outer scopes that exist so far.
    """
    visible = set() if visible is None else visible
    own = {*graph.inputs, *graph.initializers.values()} - visible
    visible |= own
    for value in graph.initializers.values():
        if value.const_value is None:
            yield Problem(where(value), "is an initializer without data", _AGAIN)
        elif value.producer() is not None:
            yield Problem(where(value), "is an initializer and the output of a node", _AGAIN)
        elif (found := _mismatch(value, value.const_value)) is not None:
            yield Problem(where(value), found, "give the initializer the type and shape of its data")
    for node in graph:
        yield from _node_problems(node, visible)
        for body in subgraphs(node):
            yield from scope_problems(body, visible)
        visible.update(node.outputs)
        own.update(node.outputs)
    for value in graph.outputs:
        if value not in own:
            what = f"output '{value.name}' is produced by no node of it"
            yield Problem(where(graph), what, "add an Identity node that gives it")
    visible -= own


def _mismatch(value: ir.Value, tensor: ir.TensorProtocol) -> str | None:
    """How an initializer's data differs from what is said about it."""
    if value.dtype is not None and value.dtype != tensor.dtype:
        return f"is said to be {value.dtype.name} and holds {tensor.dtype.name}"
    sizes = tuple(tensor.shape.numpy())
    if value.shape is not None and value.shape.is_static() and tuple(value.shape.numpy()) != sizes:
        return f"is said to have shape {list(value.shape)} and holds {list(sizes)}"
    return None


def _node_problems(node: ir.Node, visible: set[ir.Value]) -> Iterator[Problem]:
    for value in node.inputs:
        if value is not None and value not in visible:
            produced = value.producer() is not None
            reason = "is produced later or in another scope" if produced else "nothing produces"
            fix = "sort the nodes" if produced else _AGAIN
            yield Problem(where(node), f"reads '{value.name}', which {reason}", fix)


def _name_problems(model: ir.Model) -> Iterator[Problem]:
    values: dict[str, ir.Value] = {}
    nodes: set[str] = set()
    for graph in model.graphs():
        produced = (v for node in graph for v in node.outputs if v.name or v.uses() or v.is_graph_output())
        for value in (*graph.inputs, *graph.initializers.values(), *produced):
            if not value.name:
                yield Problem(where(graph), "holds a value without a name", _CANONICAL)
            elif values.setdefault(value.name, value) is not value:
                yield Problem(where(value), "is defined more than once", _CANONICAL)
        for node in graph:
            if not node.name:
                yield Problem(where(node), "has no name", _CANONICAL)
            elif node.name in nodes:
                yield Problem(where(node), "shares its name with another node", _CANONICAL)
            nodes.add(node.name or "")
        names = [v.name for v in graph.outputs]
        if len(set(names)) != len(names):
            yield Problem(where(graph), "lists an output twice", "add an Identity node for the second one")
