"""Cut a graph into pieces that run natively, so that every watched value crosses a border where it can be seen.

A piece ends where a control-flow node holds watched values: that node is interpreted and its bodies are cut in turn.
What nothing watched depends on is left out. See docs/decisions/0006-observing-bodies.md.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from deepseek_core.errors import ModelError
from deepseek_core.ir.model import QuantizedModel
from deepseek_core.ir.units import subgraphs
from deepseek_core.partition.graph import captured

__all__ = ["Block", "Control", "Segment", "plan"]


@dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """Neighbouring nodes of one graph as a model of their own.

    Attributes:
        model: its inputs and outputs have the names of `reads` and `gives`.
        reads: values of this graph and the graphs around it.
        gives: what later pieces read, or what is watched.
        ends: values of this graph that nothing reads any more.
    """

    model: QuantizedModel
    reads: tuple[ir.Value, ...]
    gives: tuple[ir.Value, ...]
    ends: tuple[ir.Value, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Control:
    """An `If`, `Loop`, `Scan` or `SequenceMap` with watched values inside.

    Attributes:
        bodies: attribute name → the body, cut.
        ends: as in `Segment`.
    """

    node: ir.Node
    bodies: Mapping[str, Block]
    ends: tuple[ir.Value, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """A graph, cut.

    Attributes:
        pieces: in execution order.
    """

    graph: ir.Graph
    pieces: tuple[Segment | Control, ...]


def plan(model: QuantizedModel, watched: Collection[ir.Value]) -> Block:
    """Pieces of the main graph that show the watched values; the model's outputs are not computed for their own sake.

    Raises:
        ModelError: a value that crosses between pieces has no known type.
    """
    return _block(model, model.graph, frozenset(watched), ())


def _block(model: QuantizedModel, graph: ir.Graph, watched: frozenset[ir.Value], outputs: Sequence[ir.Value]) -> Block:
    groups = _groups(_live(graph, watched, outputs), watched)
    last: dict[ir.Value, int] = {}
    for number, group in enumerate(groups):
        for node in group:
            last.update(dict.fromkeys((*_reads(node), *node.outputs), number))
    own = {*graph.inputs, *(value for node in graph for value in node.outputs)} - {*outputs}
    pieces: list[Segment | Control] = []
    for number, group in enumerate(groups):
        ends = tuple(value for value, at in last.items() if at == number and value in own)
        if _is_interpreted(group[0], watched):
            bodies = {name: _block(model, body, watched, body.outputs) for name, body in _bodies(group[0])}
            pieces.append(Control(group[0], bodies, ends))
        else:
            wanted = watched | {*outputs} | {value for value, at in last.items() if at > number}
            pieces.append(_segment(model, group, wanted, ends))
    return Block(graph, tuple(pieces))


def _live(graph: ir.Graph, watched: frozenset[ir.Value], outputs: Sequence[ir.Value]) -> list[ir.Node]:
    """Nodes that make, hold or lead to a watched value or one of `outputs`, in order."""
    needed = {*watched, *outputs}
    kept = []
    for node in reversed(graph):
        if not needed.isdisjoint(node.outputs) or _is_interpreted(node, watched):
            kept.append(node)
            needed.update(_reads(node))
    return kept[::-1]


def _groups(nodes: Sequence[ir.Node], watched: frozenset[ir.Value]) -> list[list[ir.Node]]:
    """Runs of nodes between interpreted ones, each of which stands alone."""
    groups: list[list[ir.Node]] = [[]]
    for node in nodes:
        if _is_interpreted(node, watched):
            groups += [[node], []]
        else:
            groups[-1].append(node)
    return [group for group in groups if group]


def _is_interpreted(node: ir.Node, watched: frozenset[ir.Value]) -> bool:
    pending = list(subgraphs(node))
    while pending:
        body = pending.pop()
        if not watched.isdisjoint(body.inputs):
            return True
        for inner in body:
            if not watched.isdisjoint(inner.outputs):
                return True
            pending.extend(subgraphs(inner))
    return False


def _segment(
    model: QuantizedModel, nodes: Sequence[ir.Node], wanted: Collection[ir.Value], ends: tuple[ir.Value, ...]
) -> Segment:
    made = {value for node in nodes for value in node.outputs}
    used = dict.fromkeys(value for node in nodes for value in _reads(node) if value not in made)
    reads = tuple(value for value in used if not value.is_initializer())
    constants = [value for value in used if value.is_initializer()]
    gives = tuple(value for node in nodes for value in node.outputs if value in wanted)
    for value in (*reads, *gives):
        if value.type is None:
            raise ModelError(f"the type of '{value.name}' is unknown", fix="load the model with load_model")
    whole = model.model
    view = ir.GraphView(
        reads, gives, nodes=nodes, initializers=constants, opset_imports=dict(whole.opset_imports), name="piece"
    )
    graph = view.clone()
    inner = nodes[0].graph is not whole.graph
    for value in graph.inputs:
        # What a body declares about its inputs holds for the first trip only: carried values may change their shape.
        value.shape = None if inner else value.shape
    return Segment(QuantizedModel(ir.Model(graph, ir_version=whole.ir_version)), reads, gives, ends)


def _reads(node: ir.Node) -> Iterator[ir.Value]:
    """What a node reads, in its bodies too."""
    yield from (value for value in node.inputs if value is not None)
    yield from captured(node)


def _bodies(node: ir.Node) -> Iterator[tuple[str, ir.Graph]]:
    for name, attribute in node.attributes.items():
        if attribute.type == ir.AttributeType.GRAPH:
            yield name, attribute.as_graph()
