"""Name the unit that TensorRT does not build, by building less and less of the model."""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir

from deepseek_core import QuantizedModel
from deepseek_core.errors import BackendError

__all__ = ["failing_unit", "first_units"]


def failing_unit(model: QuantizedModel, builds: Callable[[QuantizedModel], bool]) -> str | None:
    """The unit without which the model's beginning builds and with which it does not; None where that cannot be told.

    Args:
        model: what does not build.
        builds: tries one.
    """
    names = [unit.name for unit in model.units()]
    low, high = 0, len(names)  # the first `low` units build, the first `high` do not
    while high - low > 1:
        middle = (low + high) // 2
        if builds(first_units(model, middle)):
            low = middle
        else:
            high = middle
    return names[high - 1] if names and not (high == 1 and builds(first_units(model, 1))) else None


def first_units(model: QuantizedModel, count: int) -> QuantizedModel:
    """The first units in topological order, with everything they leave as outputs."""
    result = model.clone()
    graph = result.graph
    kept = {node for unit in result.units()[:count] for node in unit.nodes}
    if not kept:
        raise BackendError("no unit is left", fix="give a count of at least 1")
    wanted = {value for value in graph.outputs if value.producer() in kept}
    outputs = [
        value
        for node in graph
        if node in kept
        for value in node.outputs
        if value in wanted or any(reader not in kept for reader in value.consumers())
    ]
    graph.outputs.clear()
    graph.outputs.extend(outputs)
    for node in reversed(list(graph)):
        if node not in kept:
            graph.remove(node, safe=True)
    _drop_inputs(graph)
    return result


def _drop_inputs(graph: ir.Graph) -> None:
    used = [value for value in graph.inputs if value.uses()]
    graph.inputs.clear()
    graph.inputs.extend(used)
    for name, value in list(graph.initializers.items()):
        if not value.uses() and not value.is_graph_output():
            del graph.initializers[name]
