"""Cut a placed model into one sub-model a part.

Parts are made of whole units, and a unit owns its Q and DQ nodes, so what crosses a border is the quantized codes
wherever both sides are quantized.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from deepseek_core.errors import ModelError, PlacementError
from deepseek_core.ir.model import QuantizedModel
from deepseek_core.partition.graph import UnitGraph, captured
from deepseek_core.placement import Placement
from deepseek_core.target import Target

__all__ = ["Part", "split"]

_RECOMPILE = "compile the model again"


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One piece of a placed model.

    Attributes:
        name: unique among the parts of a model.
        target: what it runs on.
        model: its graph; inputs and outputs have the names they have in the whole model.
    """

    name: str
    target: Target
    model: QuantizedModel


def split(model: QuantizedModel, placement: Placement) -> list[Part]:
    """Sub-models of a placement, in execution order; constant data is shared with `model`.

    Every constant comes with each part that reads it, and the bodies of a control-flow node stay with it: what they
    capture becomes an input of the part. Outputs of the model that no unit computes (an input or a constant passed
    through) are in no part.

    Raises:
        PlacementError: the placement is not one of this model.
        ModelError: a tensor that must cross between parts has no known type, or a part is dead code.
    """
    graph = UnitGraph(model)
    _check(graph, placement)
    needed, offered = _borders(graph, placement)
    position = {node: i for i, node in enumerate(model.graph)}
    parts = []
    for number, names in enumerate(placement.parts):
        nodes = [node for name in names for node in graph.units[graph.index[name]].nodes]
        nodes.sort(key=position.__getitem__)
        if not offered[number]:
            raise ModelError(f"nothing needs what '{names[-1]}' computes", fix="load the model with load_model")
        target = placement.units[names[0]]
        name = f"part{number}_{target.backend}"
        parts.append(Part(name, target, _extract(model, name, nodes, needed[number], offered[number])))
    return parts


def _borders(graph: UnitGraph, placement: Placement) -> tuple[list[list[ir.Value]], list[list[ir.Value]]]:
    """For each part, the values it needs from outside, and those that others or the caller need from it."""
    homes = {graph.index[name]: number for number, names in enumerate(placement.parts) for name in names}
    needed: list[dict[ir.Value, None]] = [{} for _ in placement.parts]
    offered: list[dict[ir.Value, None]] = [{} for _ in placement.parts]
    for value in graph.model.graph.outputs:  # the model's outputs first, in its order
        home = _home(graph, homes, value)
        if home is not None:
            offered[home][value] = None
    for unit, number in sorted(homes.items()):
        for value in graph.reads[unit]:
            home = _home(graph, homes, value)
            if home == number:
                continue
            needed[number][value] = None
            if home is not None:
                _check_order(value, home, number)
                offered[home][value] = None
    return [list(values) for values in needed], [list(values) for values in offered]


def _home(graph: UnitGraph, homes: dict[int, int], value: ir.Value) -> int | None:
    """Number of the part that computes a value; None for an input or a constant of the model."""
    producer = value.producer()
    return homes[graph.owner[producer]] if producer is not None else None


def _check(graph: UnitGraph, placement: Placement) -> None:
    listed = [name for names in placement.parts for name in names]
    if sorted(listed) != sorted(graph.index) or set(placement.units) != set(listed):
        raise PlacementError("the placement is of another model: its units differ", fix=_RECOMPILE)
    for names in placement.parts:
        if len({placement.units[name] for name in names}) != 1:
            raise PlacementError("a part of the placement has no units, or several targets", fix=_RECOMPILE)


def _check_order(value: ir.Value, home: int, number: int) -> None:
    if home > number:
        raise PlacementError(f"part {number} needs '{value.name}', which part {home} computes later", fix=_RECOMPILE)
    if value.type is None:
        raise ModelError(
            f"'{value.name}' crosses between parts and its type is unknown", fix="load the model with load_model"
        )


def _extract(
    model: QuantizedModel, name: str, nodes: Sequence[ir.Node], inputs: list[ir.Value], outputs: list[ir.Value]
) -> QuantizedModel:
    whole = model.model
    order = {value: position for position, value in enumerate(whole.graph.inputs)}
    inputs.sort(key=lambda value: order.get(value, len(order)))  # the model's inputs first, in its order
    used = (value for node in nodes for value in (*node.inputs, *captured(node)))
    constants = dict.fromkeys(value for value in used if value is not None and value.is_initializer())
    view = ir.GraphView(
        inputs, outputs, nodes=nodes, initializers=list(constants), opset_imports=dict(whole.opset_imports), name=name
    )
    clone = ir.Model(
        view.clone(),
        ir_version=whole.ir_version,
        producer_name=whole.producer_name,
        producer_version=whole.producer_version,
        metadata_props=dict(whole.metadata_props),
    )
    return QuantizedModel(clone, dict(model.metadata))
