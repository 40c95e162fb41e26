"""Housekeeping: one spelling of the default domain, topological order, no dead nodes."""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes import common

from deepseek_core.errors import ModelError
from deepseek_core.ir.canonical.edit import remove
from deepseek_core.ir.units import subgraphs

__all__ = ["remove_dead", "sort_if_needed", "use_default_domain"]


def use_default_domain(model: ir.Model) -> None:
    """Write the default domain as the empty string everywhere (`ai.onnx` is its other spelling)."""
    imports = model.opset_imports
    if "ai.onnx" in imports:
        imports.setdefault("", imports.pop("ai.onnx"))
    for node in model.graph.all_nodes():
        if node.domain == "ai.onnx":
            node.domain = ""


def sort_if_needed(model: ir.Model) -> None:
    """Put nodes in topological order where they are not; an ordered graph keeps its order.

    Raises:
        ModelError: the graph has a cycle.
    """
    if _is_sorted(model.graph):
        return
    try:
        model.graph.sort()
    except ValueError as error:
        raise ModelError("the graph has a cycle: a node reads its own output", fix="export the model again") from error


def _is_sorted(graph: ir.Graph) -> bool:
    seen: set[ir.Node] = set()
    own = set(graph.all_nodes())
    for node in graph.all_nodes():
        seen.add(node)
        for value in node.inputs:
            producer = value.producer() if value is not None else None
            if producer is not None and producer in own and producer not in seen:
                return False
    return True


def remove_dead(model: ir.Model) -> None:
    """Drop nodes, optional outputs, initializers and operator sets that nothing uses."""
    _sweep(model.graph)
    common.RemoveUnusedNodesPass()(model)
    common.RemoveUnusedOpsetsPass()(model)
    for graph in model.graphs():
        for name, value in list(graph.initializers.items()):
            if not value.uses() and not value.is_graph_output():
                del graph.initializers[name]


def _sweep(graph: ir.Graph) -> None:
    """Remove dead nodes from the last to the first, so that what only they read is dead when it is reached."""
    for node in reversed(graph):
        if any(value.uses() or value.is_graph_output() for value in node.outputs):
            for body in subgraphs(node):
                _sweep(body)
            continue
        remove(node)
