"""Names that are unique over the whole model, bodies included."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

import onnx_ir as ir

__all__ = ["unify_names"]

_Named = TypeVar("_Named", ir.Value, ir.Node, ir.Graph)


def unify_names(model: ir.Model) -> None:
    """Name what has no name and rename what shares one; the first holder of a name keeps it.

    Inputs and outputs of the main graph come first, so a caller's names never change.
    """
    _rename(_values(model))
    _rename(node for graph in model.graphs() for node in graph)
    _rename(model.graphs())


def _rename(items: Iterable[_Named]) -> None:
    distinct = list(dict.fromkeys(items))
    taken = {item.name for item in distinct if item.name}
    seen: set[str] = set()
    counts: dict[str, int] = {}
    for item in distinct:
        if item.name and item.name not in seen:
            seen.add(item.name)
            continue
        base = item.name or _default(item)
        name = base
        while name in taken:
            counts[base] = counts.get(base, 1) + 1
            name = f"{base}_{counts[base]}"
        taken.add(name)
        item.name = name


def _default(item: ir.Value | ir.Node | ir.Graph) -> str:
    if isinstance(item, ir.Node):
        return item.op_type
    return "graph" if isinstance(item, ir.Graph) else "value"


def _values(model: ir.Model) -> Iterator[ir.Value]:
    """Values in the order of their right to a name; an omitted optional output has none."""
    yield from model.graph.inputs
    yield from model.graph.outputs
    for graph in model.graphs():
        yield from graph.inputs
        yield from graph.initializers.values()
        for node in graph:
            yield from (v for v in node.outputs if v.name or v.uses() or v.is_graph_output())
