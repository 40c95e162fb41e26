"""The exported graph, cleaned: names of the user's modules, own copies of the weights, nothing of this machine."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping

import numpy as np
import onnx_ir as ir

from deepseek.quantization.frontends.torch.flat import MODULE

__all__ = ["tidy"]

_SCOPES = "pkg.torch.onnx.name_scopes"
_PREFIX = f"{MODULE}."


def tidy(model: ir.Model, symbols: Mapping[str, str]) -> None:
    """Clean an exported model, in place.

    Args:
        symbols: name of a symbolic size in the export → name to give it.
    """
    used: set[str] = set()
    for node in model.graph.all_nodes():
        node.name = _unique(_node_name(node), used)
    for graph in model.graphs():
        for value in _values(graph):
            _rename_sizes(value, symbols)
            value.metadata_props.clear()
            value.doc_string = None
        for name, value in list(graph.initializers.items()):
            _own_copy(value)
            if name.startswith(_PREFIX):
                value.name = name.removeprefix(_PREFIX)
        for node in graph:
            node.metadata_props.clear()
            node.doc_string = None
        graph.metadata_props.clear()
        graph.doc_string = None
    model.metadata_props.clear()


def _node_name(node: ir.Node) -> str:
    """`features.0/Conv`: the module that a weight belongs to, or in which the node was traced, and the op."""
    path = next((own for value in node.inputs if (own := _owner(value))), None) or _scope(node)
    return f"{path}/{node.op_type}" if path else node.op_type


def _owner(value: ir.Value | None) -> str | None:
    name = (value.name or "") if value is not None and value.is_initializer() else ""
    return name.removeprefix(_PREFIX).removesuffix(".weight") if name.startswith(_PREFIX) and "weight" in name else None


def _scope(node: ir.Node) -> str:
    try:
        scopes = ast.literal_eval(node.metadata_props.get(_SCOPES, "[]"))
    except (ValueError, SyntaxError):
        scopes = []
    inner = [str(scope) for scope in scopes[:-1] if str(scope).startswith(_PREFIX)]
    return inner[-1].removeprefix(_PREFIX) if inner else ""


def _unique(name: str, used: set[str]) -> str:
    number, candidate = 1, name
    while candidate in used:
        number += 1
        candidate = f"{name}_{number}"
    used.add(candidate)
    return candidate


def _values(graph: ir.Graph) -> Iterator[ir.Value]:
    yield from graph.inputs
    yield from graph.initializers.values()
    for node in graph:
        yield from node.outputs


def _rename_sizes(value: ir.Value, symbols: Mapping[str, str]) -> None:
    if value.shape is None or all(isinstance(size, int) for size in value.shape):
        return
    value.shape = ir.Shape([size if isinstance(size, int) else _renamed(size.value, symbols) for size in value.shape])


def _renamed(expression: str | None, symbols: Mapping[str, str]) -> str | None:
    """None, a size that nobody knows, stays so: two that bear one name would be equal."""
    return expression and re.sub(r"\b\w+\b", lambda found: symbols.get(found[0], found[0]), expression)


def _own_copy(value: ir.Value) -> None:
    """Weights of the module may be trained further; the graph keeps what they were."""
    tensor = value.const_value
    if tensor is not None and not isinstance(tensor, ir.StringTensor):
        value.const_value = ir.tensor(np.array(tensor.numpy()), dtype=tensor.dtype, name=value.name)
