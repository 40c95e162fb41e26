"""Change biases of a model that one owns."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from deepseek.quantization.grams.sites import Site
from deepseek_core import QuantizedModel

__all__ = ["add_missing", "change_bias"]

_WITH_BIAS = ("Conv", "ConvTranspose", "Gemm")


def add_missing(model: QuantizedModel, sites: Iterable[Site]) -> bool:
    """Give units that could have a bias, and have none, one of zeros; in place.

    Returns:
        Whether there was any.
    """
    nodes = {node.name: node for node in model.graph}
    lacking = [site for site in sites if site.unit.op in _WITH_BIAS and site.bias is None]
    for site in lacking:
        node = nodes[site.key[0]]
        if len(node.inputs) < 3:
            node.resize_inputs(3)
        if node.inputs[2] is None:
            outputs = site.weight.shape[0] * site.weight.shape[1]
            node.replace_input_with(2, _initializer(model.graph, f"{node.name}_bias", np.zeros(outputs, np.float32)))
    return bool(lacking)


def change_bias(model: QuantizedModel, site: Site, values: NDArray[np.float64]) -> None:
    """Set a site's bias; in place. Other readers of the same constant keep the old one.

    Args:
        values: as the unit's outputs see them, [G, M].
    """
    assert site.bias is not None
    node = next(node for node in model.graph if node.name == site.bias.node)
    old = node.inputs[site.bias.position]
    assert old is not None
    assert old.const_value is not None
    array = old.const_value.numpy()
    scale = site.layout.bias_scale if site.bias.inside else 1.0
    new = (values / scale).reshape(array.shape).astype(array.dtype)
    node.replace_input_with(site.bias.position, _initializer(model.graph, f"{old.name}_corrected", new))
    if not old.uses() and not old.is_graph_output():
        model.graph.initializers.pop(old.name or "", None)


def _initializer(graph: ir.Graph, base: str, array: NDArray[np.floating]) -> ir.Value:
    taken = {value.name for node in graph.all_nodes() for value in node.outputs} | set(graph.initializers)
    name = base
    while name in taken:
        name += "_"
    value = ir.Value(name=name, const_value=ir.tensor(array, name=name))
    value.shape, value.type = ir.Shape(array.shape), ir.TensorType(ir.tensor(array).dtype)
    graph.register_initializer(value)
    return value
