"""Moving nodes between a body and the graph around it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx_ir as ir

from deepseek_core.ir.canonical.edit import Editor, remove
from deepseek_core.ir.units import subgraphs

__all__ = ["all_nodes", "body_of", "control_nodes", "move_out", "size_of", "substitute"]


def control_nodes(model: ir.Model, *ops: str) -> list[ir.Node]:
    """Nodes of these default-domain operators, those inside bodies before the node around them."""
    return [node for node in all_nodes(model.graph)[::-1] if node.op_type in ops and node.domain == ""]


def all_nodes(graph: ir.Graph) -> list[ir.Node]:
    """Nodes of a graph and of its bodies, a node before those in its bodies."""
    return [inner for node in graph for inner in (node, *(n for body in subgraphs(node) for n in all_nodes(body)))]


def body_of(node: ir.Node, name: str = "body") -> ir.Graph:
    """The graph that an attribute of a control-flow node holds."""
    return node.attributes[name].as_graph()


def size_of(graph: ir.Graph) -> int:
    """Number of nodes, those of bodies included."""
    return len(all_nodes(graph))


def move_out(node: ir.Node, body: ir.Graph, arguments: Mapping[ir.Value, ir.Value]) -> list[ir.Value]:
    """Move everything in `body`, which `node` holds or which is a copy of that, in front of `node`.

    Args:
        arguments: input of the body → what it is bound to.

    Returns:
        What the body's outputs have become: values of the graph that holds `node`, or of one around it.
    """
    outer = node.graph
    assert isinstance(outer, ir.Graph)
    results = [arguments.get(value, value) for value in body.outputs]
    body.outputs.clear()
    for value, argument in arguments.items():
        value.replace_all_uses_with(argument)
    for name, value in list(body.initializers.items()):
        del body.initializers[name]
        outer.register_initializer(value)
    nodes = list(body)
    body.remove(nodes)
    outer.insert_before(node, nodes)
    return results


def substitute(editor: Editor, node: ir.Node, results: Sequence[ir.Value]) -> None:
    """Let `results` take the place of the outputs of `node`, and remove it; what is known by name keeps its name."""
    graph = node.graph
    assert isinstance(graph, ir.Graph)
    renamed: set[ir.Value] = set()
    for old, new in zip(node.outputs, results, strict=True):
        if not old.uses() and not old.is_graph_output():
            continue
        made = new.producer()
        if made is not None and made.graph is graph and not new.is_graph_output() and new not in renamed:
            _take_over(old, new)
            renamed.add(new)
        elif old.is_graph_output():
            copy = ir.node("Identity", [new], name=editor.name(f"{old.name}/copy"))
            graph.insert_before(node, copy)
            _take_over(old, copy.outputs[0])
        else:
            old.replace_all_uses_with(new)
    remove(node)


def _take_over(old: ir.Value, new: ir.Value) -> None:
    name = old.name
    new.type = new.type if new.type is not None else old.type
    new.shape = new.shape if new.shape is not None else old.shape
    old.replace_all_uses_with(new, replace_graph_outputs=True)
    old.name = f"{name}/replaced"
    new.name = name
