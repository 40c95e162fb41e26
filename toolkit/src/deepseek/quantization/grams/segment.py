"""A part of a network as a model of its own, float or quantized."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import onnx_ir as ir
from numpy.typing import NDArray

from deepseek_core import CalibratorSpec, QParams, QuantizedModel, QuantScheme, Recipe, TensorRecipe
from deepseek_core.calibration import Calibration, TensorStats, activation_qparams
from deepseek_core.quantize import Calibrators, QuantizedWeight, apply_recipe, weight_params

__all__ = ["Numbers", "part"]

Key = tuple[str, int]


def part(model: QuantizedModel, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str]) -> QuantizedModel:
    """What computes `outputs` from `inputs`, values of the main graph; a model that can be changed.

    Args:
        model: whole.
        inputs: an example of each; types that the model does not tell are taken from there.
        outputs: names.
    """
    graph = ir.convenience.extract(model.graph, list(inputs), list(outputs))
    for value in graph.inputs:
        if value.type is None:
            value.type = ir.TensorType(ir.DataType.from_numpy(inputs[value.name or ""].dtype))
    return QuantizedModel(ir.Model(graph, ir_version=model.model.ir_version))


@dataclass(frozen=True, slots=True)
class _Known:
    """A calibrator whose range was found before."""

    low: float
    high: float

    def range(self, stats: TensorStats, scheme: QuantScheme) -> tuple[float, float]:
        return self.low, self.high


_KNOWN = "known"


@dataclass(frozen=True, slots=True, eq=False)
class Numbers:
    """A recipe with the ranges of its activations, ready to be applied to parts of the model it was made for.

    Attributes:
        recipe: every activation by its own name, none shared.
        calibration: statistics under the same names.
        params: value name → scale and zero point.
        weights: node name and input position → scales that cover every value of a weight.
    """

    recipe: Recipe
    calibration: Calibration
    params: Mapping[str, QParams]
    weights: Mapping[Key, QParams]

    @classmethod
    def of(cls, model: QuantizedModel, recipe: Recipe, calibration: Calibration, calibrators: Calibrators) -> Self:
        """Find every range once, and resolve what values share."""
        own = {
            name: _known(entry, calibration.range(name, entry, calibrators))
            for name, entry in recipe.activations.items()
        }
        roots = {name: _root(recipe, name) for name in (*recipe.activations, *recipe.shared)}
        activations = {name: own[root] for name, root in roots.items()}
        stats = Calibration({name: calibration[root] for name, root in roots.items()})
        found = {name: activation_qparams(stats[name], own[name], {_KNOWN: _Known}) for name in own}
        flat = replace(recipe, activations=activations, shared={})
        weights = weight_params(model, flat, stats, {_KNOWN: _Known})
        return cls(flat, stats, {name: found[root] for name, root in roots.items()}, weights)

    def quantize(self, model: QuantizedModel, weights: Mapping[Key, QuantizedWeight]) -> QuantizedModel:
        """A part quantized as far as `weights` goes: other weights of the recipe stay float, activations do not."""
        graph = model.graph
        nodes = {node.name for node in graph}
        values = {value.name for value in (*graph.inputs, *(v for node in graph for v in node.outputs))}
        chosen = {key: weight for key, weight in weights.items() if key[0] in nodes}
        names = {key[0] for key in chosen}
        recipe = Recipe(
            {name: entry for name, entry in self.recipe.activations.items() if name in values},
            {key: entry for key, entry in self.recipe.weights.items() if key in chosen},
            frozenset(key for key in self.recipe.biases if key[0] in names),
            {},
            self.recipe.skipped,
        )
        return apply_recipe(model, recipe, self.calibration, {_KNOWN: _Known}, weights=chosen)


def _known(entry: TensorRecipe, ends: tuple[float, float]) -> TensorRecipe:
    low, high = ends
    return TensorRecipe(entry.scheme, CalibratorSpec(_KNOWN, (("high", high), ("low", low))))


def _root(recipe: Recipe, name: str) -> str:
    while name in recipe.shared:
        name = recipe.shared[name]
    return name
