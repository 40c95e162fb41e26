"""The errors that a format makes by itself: of single values and of single units, all else in float."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from deepseek.quantization.search.formats import FLOAT16, Menu
from deepseek.quantization.work import Work
from deepseek_core import QuantizedModel, Recipe, Role, Unit
from deepseek_core.calibration import Calibration, activation_qparams, weight_qparams

__all__ = ["Rounding", "roundings", "twins"]

Array = NDArray[Any]

_TWIN = "/rounded"


@dataclass(frozen=True, slots=True, eq=False)
class Rounding:
    """What a format does to numbers.

    Attributes:
        name: of the format.
        values: value name → (type in words, function that rounds an array to that type).
        weights: unit name → rounded constants by input position.
    """

    name: str
    values: Mapping[str, tuple[str, Callable[[Array], Array]]]
    weights: Mapping[str, Mapping[int, Array]]


def roundings(work: Work, menu: Menu, calibration: Calibration) -> list[Rounding]:
    """Every format of a menu but float32, in the menu's order; of the main graph."""
    units = {unit.name: unit for unit in work.model.units()}
    found = [_quantized(name, work, recipe, calibration, units) for name, recipe in menu.recipes.items()]
    half = {name: own for name, own in units.items() if any(f.name == FLOAT16 for f in menu.units.get(name, ()))}
    if half:
        values = {o.real.name or "": (FLOAT16, _half) for unit in half.values() for o in _float_borders(unit)}
        constants = {name: _half_constants(unit) for name, unit in half.items()}
        found.append(Rounding(FLOAT16, values, {name: own for name, own in constants.items() if own}))
    return found


def twins(model: QuantizedModel, weights: Mapping[str, Mapping[int, Array]]) -> tuple[QuantizedModel, dict[str, str]]:
    """A copy of a model where each unit named has a twin with other constants that reads the same values.

    Returns:
        The copy, and unit name → (name of the twin's output).
    """
    copy = model.clone()
    names = {}
    for unit in copy.units():
        if unit.name in weights:
            names[unit.name] = _add_twin(copy.graph, unit, weights[unit.name])
    return copy, names


def _quantized(name: str, work: Work, recipe: Recipe, calibration: Calibration, units: Mapping[str, Unit]) -> Rounding:
    values: dict[str, tuple[str, Callable[[Array], Array]]] = {}
    graph = work.model.graph
    seen = {value.name for values in (graph.inputs, *(node.outputs for node in graph)) for value in values}
    for value, entry in recipe.activations.items():
        if value in seen and value in calibration and calibration[value].count:
            own = replace(entry, calibrator=work.ranges.get(value, entry.calibrator))
            params = activation_qparams(calibration[value], own, work.calibrators, name=value)
            values[value] = (str(entry.scheme), params.fake_quantize)
    weights: dict[str, dict[int, Array]] = {}
    by_node = {unit.node.name: unit for unit in units.values()}
    for (node, position), entry in recipe.weights.items():
        unit = by_node.get(node)
        tensor = None if unit is None else unit.node.inputs[position]
        if unit is None or tensor is None or tensor.const_value is None:
            continue
        chosen = work.weights.get((node, position))
        if chosen is not None and chosen.params.scheme == entry.scheme:
            rounded = chosen.params.dequantize(chosen.codes)
        else:
            array = tensor.const_value.numpy()
            rounded = weight_qparams(array, replace(entry, calibrator=work.weight_ranges)).fake_quantize(array)
        weights.setdefault(unit.name, {})[position] = rounded
    return Rounding(name, values, weights)


def _float_borders(unit: Unit) -> list[Any]:
    operands = (*unit.operands(Role.DATA), *unit.outputs)
    return [o for o in operands if not o.is_constant and o.real.dtype in (ir.DataType.FLOAT, None)]


def _half(array: Array) -> Array:
    with np.errstate(over="ignore"):
        return np.asarray(array.astype(np.float16).astype(np.float32))


def _half_constants(unit: Unit) -> dict[int, Array]:
    return {
        position: _half(value.const_value.numpy())
        for position, value in enumerate(unit.node.inputs)
        if value is not None and value.const_value is not None and value.const_value.dtype == ir.DataType.FLOAT
    }


def _add_twin(graph: ir.Graph, unit: Unit, constants: Mapping[int, Array]) -> str:
    inputs = list(unit.node.inputs)
    for position, array in constants.items():
        name = f"{unit.name}{_TWIN}/{position}"
        tensor = ir.tensor(np.ascontiguousarray(array), name=name)
        value = ir.Value(name=name, type=ir.TensorType(tensor.dtype), shape=ir.Shape(array.shape), const_value=tensor)
        graph.register_initializer(value)
        inputs[position] = value
    twin = _copied(unit.node, inputs, f"{unit.name}{_TWIN}")
    graph.insert_after(unit.nodes[-1], twin)
    if unit.activation is not None:
        activation = _copied(
            unit.activation, [twin.outputs[0], *unit.activation.inputs[1:]], f"{unit.name}{_TWIN}/then"
        )
        graph.insert_after(twin, activation)
        twin = activation
    return twin.outputs[0].name or ""


def _copied(node: ir.Node, inputs: list[ir.Value | None], name: str) -> ir.Node:
    copy = ir.Node(
        node.domain, node.op_type, inputs, list(node.attributes.values()), num_outputs=len(node.outputs), name=name
    )
    for number, (mine, theirs) in enumerate(zip(copy.outputs, node.outputs, strict=True)):
        mine.name, mine.type, mine.shape = f"{name}/{number}", theirs.type, theirs.shape
    return copy
