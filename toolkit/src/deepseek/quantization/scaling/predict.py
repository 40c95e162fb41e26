"""The noise function of a group, from calibration statistics and a recipe."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from deepseek.quantization.scaling.groups import Group
from deepseek.quantization.scaling.noise import Member, Noise, Weight
from deepseek.quantization.scaling.observe import ChannelStats
from deepseek.quantization.scaling.sweep import Touch
from deepseek_core import Granularity, QuantizedModel, Recipe
from deepseek_core.ir.query import constant

__all__ = ["predictor", "shapes_to_observe"]

Vector = NDArray[np.float64]


def shapes_to_observe(group: Group) -> dict[str, tuple[int, ...]]:
    """Every value of a group with the shape of its variables."""
    return {name: ids.shape for name, ids in group.values.items()}


def predictor(group: Group, model: QuantizedModel, recipe: Recipe, stats: Mapping[str, ChannelStats]) -> Noise | None:
    """The noise of a group as a function of its factors; None where nothing of it is quantized or was ever seen."""
    nodes = {node.name or "": node for node in model.graph}
    readers = [reader for touch in group.readers if (reader := _reader(touch, nodes, group, stats)) is not None]
    if not readers:
        return None
    loss = np.zeros(len(group.variables))
    columns = np.zeros(len(group.variables))
    weights = []
    for touch, array, square, variance in readers:
        power = float((np.square(array, dtype=np.float64) * square).sum()) or 1.0
        loss += _by_variable(np.square(array, dtype=np.float64) / power, touch, len(loss), np.add)
        largest = _by_variable(np.abs(array).astype(np.float64), touch, len(loss), np.maximum)
        columns = np.maximum(columns, largest / max(largest.max(), 1e-30))
        key = (touch.node, touch.position)
        if key in recipe.weights:
            weights.append(Weight(array, recipe.weights[key], touch, variance / power))
    weights += _makers(group, nodes, recipe, stats, loss)
    relative = all(nodes[touch.node].op_type in ("MatMul", "Gemm") for touch in group.readers)
    members = [
        Member(stats[name], recipe.activations[name].scheme, ids.reshape(-1), _spread(loss, ids.reshape(-1)), relative)
        for name, ids in group.values.items()
        if name in recipe.activations and name in stats
    ]
    if not members and not weights:
        return None
    return Noise(group, tuple(members), tuple(weights), _ranges(group, members), columns)


def _reader(
    touch: Touch, nodes: Mapping[str, ir.Node], group: Group, stats: Mapping[str, ChannelStats]
) -> tuple[Touch, NDArray[np.float32], NDArray[np.float64], NDArray[np.float64]] | None:
    """A reader's constant, and mean square and variance of what each of its elements is multiplied with."""
    node = nodes[touch.node]
    source = next((v for i, v in enumerate(node.inputs) if i != touch.position and v is not None), None)
    array = constant(node.inputs[touch.position])
    name = "" if source is None else source.name or ""
    if array is None or name not in stats or name not in group.values:
        return None
    found, ids, count = stats[name], group.values[name], len(group.variables)
    square = _average(found.square, ids, count)
    variance = _average(np.maximum(found.square - found.mean**2, 0.0), ids, count)
    return touch, array, _spread(square, touch.ids), _spread(variance, touch.ids)


def _average(numbers: Vector, ids: NDArray[np.intp], count: int) -> Vector:
    """Mean by variable of one number for each channel; the overall mean for what is not in the value."""
    flat = ids.reshape(-1)
    inside = flat >= 0
    total = np.bincount(flat[inside], numbers[inside], count)
    seen = np.bincount(flat[inside], minlength=count)
    return np.where(seen > 0, total / np.maximum(seen, 1), numbers.mean())


def _spread(by_variable: Vector, ids: NDArray[np.intp]) -> Vector:
    """Numbers of variables at the places of `ids`; their mean where the factor is fixed."""
    return np.append(by_variable, by_variable.mean())[ids.reshape(-1)].reshape(ids.shape)


def _by_variable(array: NDArray[np.float64], touch: Touch, count: int, reduce: np.ufunc) -> Vector:
    """Sum or maximum of the elements that belong to each variable."""
    result = np.zeros(count + 1)
    reduce.at(result, np.broadcast_to(touch.ids, array.shape).reshape(-1), array.reshape(-1))
    return result[:-1]


def _makers(
    group: Group, nodes: Mapping[str, ir.Node], recipe: Recipe, stats: Mapping[str, ChannelStats], loss: Vector
) -> Iterator[Weight]:
    """Constants with one scale for all that they make; with one for each output, factors change nothing."""
    for touch in group.makers:
        entry = recipe.weights.get((touch.node, touch.position))
        node = nodes[touch.node]
        array, made = constant(node.inputs[touch.position]), node.outputs[0].name or ""
        if entry is None or array is None or entry.scheme.granularity is not Granularity.PER_TENSOR:
            continue
        if made in stats and made in group.values:
            square = stats[made].square.mean()
            input_power = square * array.size / max(len(loss) * float(np.square(array, dtype=np.float64).sum()), 1e-30)
            full = np.broadcast_to(touch.ids, np.broadcast_shapes(touch.ids.shape, array.shape))
            yield Weight(array, entry, touch, _spread(loss, full) * input_power)


def _ranges(group: Group, members: list[Member]) -> Vector:
    """Largest magnitude of each variable in any quantized value."""
    result = np.zeros(len(group.variables) + 1)
    for member in members:
        np.maximum.at(result, member.ids, np.maximum(-member.stats.low, member.stats.high))
    return result[:-1]
