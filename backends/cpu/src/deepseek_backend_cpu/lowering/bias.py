"""Let an integer product add the constant that a float Add behind it would."""

from __future__ import annotations

import onnx_ir as ir

__all__ = ["fold_bias"]

_PRODUCT, _BIAS = "MatMulIntegerToFloat", 6


def fold_bias(graph: ir.Graph) -> None:
    """Move `Add(product, constant)` into the product's bias input; in place, the same float32 sum."""
    for add in list(graph):
        if add.op_type != "Add" or add.domain != "":
            continue
        for value, bias in (add.inputs, reversed(add.inputs)):
            if value is not None and bias is not None and _fits(graph, value, bias):
                _fold(graph, add, value, bias)
                break


def _fits(graph: ir.Graph, value: ir.Value, bias: ir.Value) -> bool:
    product = value.producer()
    if product is None or product.op_type != _PRODUCT or product.graph is not graph:
        return False
    if len(value.uses()) != 1 or value.is_graph_output() or len(product.inputs) > _BIAS:
        return False
    weight = product.inputs[1]
    if weight is None or weight.const_value is None or bias.const_value is None:
        return False
    return list(bias.const_value.shape) == [weight.const_value.shape[-1]]


def _fold(graph: ir.Graph, add: ir.Node, value: ir.Value, bias: ir.Value) -> None:
    product, result = value.producer(), add.outputs[0]
    assert product is not None
    product.resize_inputs(_BIAS + 1)
    product.replace_input_with(_BIAS, bias)
    value.type, value.shape = result.type, result.shape
    ir.convenience.replace_all_uses_with(result, value, replace_graph_outputs=True)
    graph.remove(add, safe=True)
    value.name = result.name
