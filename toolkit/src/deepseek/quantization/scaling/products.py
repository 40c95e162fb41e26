"""Tensors that quantized matrix products read, and where factors on them can go."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from deepseek.quantization.scaling.groups import Group, groups
from deepseek.quantization.scaling.sweep import Freedom, Touch
from deepseek_core import QuantizedModel, Recipe
from deepseek_core.ir.query import constant

__all__ = ["Products", "products"]


@dataclass(frozen=True, slots=True, eq=False)
class Products:
    """Matrix products with constant weights that read one tensor.

    Attributes:
        value: name of the tensor.
        nodes: names of the products, in the order of the graph.
        group: the factors to choose.
        needs_node: nothing can take the factors in; a Mul must be put in front of the products.
    """

    value: str
    nodes: tuple[str, ...]
    group: Group
    needs_node: bool


def products(model: QuantizedModel, recipe: Recipe, found: Freedom) -> list[Products]:
    """One entry for each quantized tensor that products read, in the order of the graph.

    Left out are tensors with factors that other layers than matrix products would have to undo, and tensors that a
    quantized unit makes and that cannot be scaled there: a Mul behind them would add noise of its own.
    """
    readers: dict[ir.Value, list[ir.Node]] = {}
    for node in model.graph:
        value = node.inputs[0] if node.inputs else None
        if value is not None and _is_product(node, recipe):
            readers.setdefault(value, []).append(node)
    by_value = {name: group for group in groups(found) for name in group.values}
    result: list[Products] = []
    taken: set[int] = set()
    for value, nodes in readers.items():
        entry = _entry(value, nodes, by_value.get(value.name or ""), recipe)
        if entry is not None and id(entry.group) not in taken:
            taken.add(id(entry.group))
            result.append(entry)
    return result


def _is_product(node: ir.Node, recipe: Recipe) -> bool:
    weight = constant(node.inputs[1]) if node.op_type in ("MatMul", "Gemm") else None
    fits = weight is not None and weight.ndim == 2 and not node.attributes.get_int("transA", 0)
    return fits and (node.name or "", 1) in recipe.weights


def _entry(value: ir.Value, nodes: list[ir.Node], group: Group | None, recipe: Recipe) -> Products | None:
    names = tuple(node.name or "" for node in nodes)
    if group is not None and {touch.node for touch in group.readers} <= set(names):
        return Products(value.name or "", names, group, needs_node=False)
    if value.name is None or value.name not in recipe.activations or not _made_in_float(value, recipe):
        return None
    return Products(value.name, names, _own_group(value, nodes), needs_node=True)


def _made_in_float(value: ir.Value, recipe: Recipe) -> bool:
    """Whether no quantized unit makes the value: a unit's reason to stay in float is under its compute node's name."""
    producer = value.producer()
    before = None if producer is None or not producer.inputs or producer.inputs[0] is None else producer.inputs[0]
    head = None if before is None else before.producer()
    return producer is None or producer.name in recipe.skipped or (head is not None and _fuses(head, producer, recipe))


def _fuses(head: ir.Node, activation: ir.Node, recipe: Recipe) -> bool:
    """Whether the activation belongs to a unit that stays in float."""
    alone = len(head.outputs[0].uses()) == 1 and activation.op_type in ("Relu", "Clip")
    return alone and head.name in recipe.skipped


def _own_group(value: ir.Value, nodes: list[ir.Node]) -> Group:
    """A factor for each channel of the tensor, for these readers only."""
    touches = []
    for node in nodes:
        flipped = node.op_type == "Gemm" and bool(node.attributes.get_int("transB", 0))
        shape = constant(node.inputs[1]).shape  # type: ignore[union-attr]
        ids = np.arange(shape[1] if flipped else shape[0])
        touches.append(Touch(node.name or "", 1, ids.reshape((1, -1) if flipped else (-1, 1)), -1))
    return Group(ids, {value.name or "": ids}, (), tuple(touches))
