"""Apply a recipe: a float graph and its calibration become a canonical QDQ graph."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from deepseek_core.calibration import Calibration
from deepseek_core.ir.canonical import canonicalize
from deepseek_core.ir.model import QuantizedModel
from deepseek_core.ir.qparams import QParams
from deepseek_core.quantize.index import Index
from deepseek_core.quantize.insert import Inserter
from deepseek_core.quantize.narrow import narrow
from deepseek_core.quantize.numbers import Calibrators, Numbers
from deepseek_core.quantize.weights import QuantizedWeight, check_known
from deepseek_core.recipe import Recipe

__all__ = ["apply_recipe"]


def apply_recipe(
    model: QuantizedModel,
    recipe: Recipe,
    calibration: Calibration,
    calibrators: Calibrators | None = None,
    *,
    weights: Mapping[tuple[str, int], QuantizedWeight] | None = None,
) -> QuantizedModel:
    """A quantized copy of `model`.

    Float values keep their names, so that a quantized model can be compared with its origin tensor by tensor. Bodies
    of control flow are quantized like the main graph; what calibration never reached stays in float, and the recipe
    in the result's metadata says so.

    Args:
        model: the prepared float model that the recipe was made for.
        recipe: see `Recipe`.
        calibration: statistics of the recipe's `observed_values`.
        calibrators: further calibrators that the recipe may name, beside the core's.
        weights: codes that an algorithm chose, by node name and input position; every other weight of the recipe is
            rounded to nearest. Biases take the scales given here. `weight_params` has scales to start from.

    Raises:
        ModelError: the recipe names a node or value that the model does not have, or a given weight is not what
            the recipe says.
        CalibrationError: statistics of a value are missing or unusable.
    """
    given = weights or {}
    check_known(given, recipe)
    recipe = narrow(model, recipe, calibration)
    result = model.clone()
    index = Index(result.graph)
    numbers = Numbers(index, recipe, calibration, calibrators or {}, given)
    constants = {**numbers.weights, **numbers.biases}
    inserter = Inserter(result.model)
    for (name, position), weight in constants.items():
        inserter.constant(index.node(name), position, weight)
    for name, params in numbers.activations.items():
        _quantize_value(index, inserter, recipe, index.value(name), params)
    canonicalize(result.model)
    result.metadata |= {"recipe": recipe.to_json(), "calibration": calibration.digest()}
    return result


def _quantize_value(index: Index, inserter: Inserter, recipe: Recipe, value: ir.Value, params: QParams) -> None:
    """What a quantized unit makes is codes to every reader; what is made in float is codes to quantized readers."""

    def is_quantized(node: ir.Node) -> bool:
        return not {node.name, index.heads[node].name} & recipe.skipped.keys()

    producer = value.producer()
    everyone = producer is not None and is_quantized(producer)
    readers = [(use.node, use.idx) for use in value.uses() if everyone or is_quantized(use.node)]
    inserter.pair(value, params, readers, output=everyone and value.is_graph_output())
