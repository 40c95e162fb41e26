"""Units of a main graph with the dependencies between them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property

import onnx_ir as ir

from deepseek_core.errors import ModelError
from deepseek_core.ir.model import QuantizedModel
from deepseek_core.ir.units import Unit, subgraphs

__all__ = ["UnitGraph", "bits", "captured", "strict_descendants"]


class UnitGraph:
    """The units of a model's main graph and what each needs from the others.

    Attributes:
        units: in topological order.
        index: unit name → position.
        reads: per unit, the values it needs from outside itself, constants left out.

    Raises:
        ModelError: two units have one name, or the nodes are not in topological order.
    """

    def __init__(self, model: QuantizedModel) -> None:
        self.model = model
        self.units: tuple[Unit, ...] = tuple(model.units())
        self.index = {unit.name: i for i, unit in enumerate(self.units)}
        if len(self.index) != len(self.units):
            raise ModelError("two nodes have one name", fix="load the model with load_model, which names every node")
        self.owner = {node: i for i, unit in enumerate(self.units) for node in unit.nodes}
        self.reads = tuple(tuple(reads(unit)) for unit in self.units)

    @cached_property
    def predecessors(self) -> tuple[frozenset[int], ...]:
        """Per unit, the units whose results it reads."""
        found = []
        for position, values in enumerate(self.reads):
            producers = frozenset(self.owner[p] for v in values if (p := v.producer()) in self.owner and p is not None)
            if any(p >= position for p in producers):
                name = self.units[position].name
                raise ModelError(f"node '{name}' comes before its inputs", fix="sort the nodes topologically")
            found.append(producers)
        return tuple(found)

    @cached_property
    def successors(self) -> tuple[frozenset[int], ...]:
        """Per unit, the units that read its results."""
        return _inverse(self.predecessors)

    def is_convex(self, members: Iterable[int]) -> bool:
        """Whether no path leaves the set of units and comes back to it."""
        inside = frozenset(members)
        tainted: set[int] = set()
        for unit in range(min(inside, default=0), len(self.units)):
            before = self.predecessors[unit]
            if unit in inside:
                if before & tainted:
                    return False
            elif before & inside or before & tainted:
                tainted.add(unit)
        return True


def reads(unit: Unit) -> Iterator[ir.Value]:
    """Values a unit needs from outside itself, each once, constants left out."""
    own = set(unit.nodes)
    seen: set[ir.Value] = set()
    for node in unit.nodes:
        for value in (*node.inputs, *captured(node)):
            if value is None or value in seen or value.is_initializer() or value.producer() in own:
                continue
            seen.add(value)
            yield value


def captured(node: ir.Node) -> Iterator[ir.Value]:
    """Values of outer graphs, constants included, that the bodies of a control-flow node read."""
    inner: set[ir.Graph | None] = set()
    used: list[ir.Value] = []
    pending = list(subgraphs(node))
    while pending:
        body = pending.pop()
        inner.add(body)
        for child in body:
            used.extend(v for v in child.inputs if v is not None)
            pending.extend(subgraphs(child))
        used.extend(body.outputs)
    yield from (v for v in dict.fromkeys(used) if v.graph not in inner)


def strict_descendants(successors: tuple[frozenset[int], ...]) -> list[int]:
    """Per node of a topologically ordered graph, a bit set of the nodes that a path leads to."""
    reach = [0] * len(successors)
    for node in range(len(successors) - 1, -1, -1):
        for after in successors[node]:
            reach[node] |= reach[after] | 1 << after
    return reach


def bits(mask: int) -> Iterator[int]:
    """Positions of the set bits, lowest first."""
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


def _inverse(edges: tuple[frozenset[int], ...]) -> tuple[frozenset[int], ...]:
    found: list[set[int]] = [set() for _ in edges]
    for node, others in enumerate(edges):
        for other in others:
            found[other].add(node)
    return tuple(map(frozenset, found))
