"""From the QDQ form to the graph ONNX Runtime runs."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import onnx_ir as ir

from deepseek_backend_cpu.lowering.bias import fold_bias
from deepseek_backend_cpu.lowering.emitter import MICROSOFT, Constants, Emitter
from deepseek_backend_cpu.lowering.table import computes, integer_kernel
from deepseek_backend_cpu.lowering.transposes import quantize_first
from deepseek_backend_cpu.lowering.unsigned import store_unsigned
from deepseek_core import QuantizedModel, Unit

__all__ = ["lower", "normalize"]


def normalize(model: QuantizedModel, *, x86: bool) -> None:
    """Give activations the type that the integer kernels of the architecture want; in place, values unchanged."""
    if x86:
        constants = _constants(model)
        for graph in _graphs(model):
            store_unsigned(graph, computes, constants)


def lower(model: QuantizedModel, integer: Collection[str]) -> None:
    """Replace the units named in `integer` by integer operators; in place. Every other unit stays as it is."""
    _replace(model, [unit for unit in model.all_units() if unit.name in integer])
    for graph in _graphs(model):
        quantize_first(graph)


def _replace(model: QuantizedModel, chosen: Sequence[Unit]) -> None:
    if not chosen:
        return
    constants = _constants(model)
    for unit in reversed(chosen):  # readers first, so that units further up still hold the values they see
        emitter = Emitter(unit, constants)
        kernel = integer_kernel(unit)
        assert kernel is not None
        kernel.emit(unit, emitter)
        emitter.splice()
    for graph in _graphs(model):
        fold_bias(graph)
        _drop_unused(graph)
    model.model.opset_imports.setdefault(MICROSOFT, 1)


def _graphs(model: QuantizedModel) -> list[ir.Graph]:
    return [graph for graph in model.model.graphs() if isinstance(graph, ir.Graph)]


def _constants(model: QuantizedModel) -> Constants:
    graphs = _graphs(model)
    values = (v for g in graphs for v in (*g.inputs, *g.initializers.values()))
    made = (v for g in graphs for node in g for v in node.outputs)
    return Constants({v.name or "" for v in (*values, *made)})


def _drop_unused(graph: ir.Graph) -> None:
    """Remove constants that nothing reads any more, so that they take no room in the artifact."""
    for name, value in list(graph.initializers.items()):
        if not value.uses() and not value.is_graph_input() and not value.is_graph_output():
            del graph.initializers[name]
