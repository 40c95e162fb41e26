"""All the numbers that a recipe and its calibration imply, before the graph is touched."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from deepseek_core.calibration import Calibration, Calibrator, weight_qparams
from deepseek_core.errors import ModelError
from deepseek_core.ir.model import QuantizedModel
from deepseek_core.ir.ops import Role, roles
from deepseek_core.ir.qparams import QParams
from deepseek_core.quantize.index import Index
from deepseek_core.quantize.narrow import narrow
from deepseek_core.quantize.weights import QuantizedWeight, check_weight
from deepseek_core.recipe import Recipe
from deepseek_core.scheme import DType, Granularity, QuantScheme

__all__ = ["Calibrators", "Numbers", "weight_params"]

Calibrators = Mapping[str, Callable[..., Calibrator]]
"""Factories by the name that a `CalibratorSpec` gives."""

Key = tuple[str, int]
"""Node name and input position."""


def weight_params(
    model: QuantizedModel, recipe: Recipe, calibration: Calibration, calibrators: Calibrators | None = None
) -> dict[Key, QParams]:
    """The scales and zero points that `apply_recipe` would give each weight that it would quantize.

    Where an algorithm that chooses codes itself should start: these scales leave the biases room in their int32.

    Raises:
        ModelError: the recipe names a node or value that the model does not have.
        CalibrationError: statistics of a value are missing or unusable.
    """
    recipe = narrow(model, recipe, calibration)
    numbers = Numbers(Index(model.graph), recipe, calibration, calibrators or {}, {})
    return {key: numbers.weight_params(key) for key in recipe.weights}


class Numbers:
    """Parameters of the activations, and codes of the constants, that a recipe names."""

    def __init__(
        self,
        index: Index,
        recipe: Recipe,
        calibration: Calibration,
        calibrators: Calibrators,
        given: Mapping[Key, QuantizedWeight],
    ) -> None:
        self._index, self._recipe, self._given = index, recipe, given
        self._calibration, self._calibrators = calibration, calibrators

    @cached_property
    def activations(self) -> dict[str, QParams]:
        """Value name → parameters."""
        return {name: self._activation(name) for name in (*self._recipe.activations, *self._recipe.shared)}

    @cached_property
    def weights(self) -> dict[Key, QuantizedWeight]:
        """Node name and input position → codes of a weight (or of a constant operand)."""
        return {key: self._weight(key) for key in self._recipe.weights}

    @cached_property
    def biases(self) -> dict[Key, QuantizedWeight]:
        """Node name and input position → int32 codes of a bias, in units of input scale × weight scale."""
        return {key: self._bias(*key) for key in sorted(self._recipe.biases)}

    def weight_params(self, key: Key) -> QParams:
        """Parameters of one weight, found from its values."""
        recipe = self._recipe.weights[key]
        params = weight_qparams(self._index.constant(*key), recipe)
        if recipe.scheme.granularity is Granularity.PER_BLOCK:
            return params
        return self._leave_room_for_bias(key, params)

    def _activation(self, name: str) -> QParams:
        source = name
        while source in self._recipe.shared:
            source = self._recipe.shared[source]
        recipe = self._recipe.activations[source]
        return self._calibration.qparams(source, recipe, self._calibrators)

    def _weight(self, key: Key) -> QuantizedWeight:
        array = self._index.constant(*key)
        if key in self._given:
            return check_weight(self._given[key], self._recipe.weights[key], array.shape, key)
        params = self.weight_params(key)
        return QuantizedWeight(params.quantize(array), params)

    def _leave_room_for_bias(self, key: Key, params: QParams) -> QParams:
        """Widen the scales of channels whose int32 bias would otherwise saturate (dead channels, mostly)."""
        for name, at in self._recipe.biases:
            if name != key[0] or roles(self._index.node(name))[key[1]] is not Role.WEIGHT:
                continue
            bias = np.abs(self._index.constant(name, at).reshape(-1)).astype(np.float64)
            least = bias / (float(self._input_scale(name)) * 2.0**30)
            if params.scale.ndim == 0:
                least = least.max(initial=0.0)
            if params.scale.shape in ((), bias.shape):
                scale = np.maximum(params.scale, least).astype(np.float32)
                return QParams(params.scheme, scale, params.zero_point)
        return params

    def _bias(self, name: str, position: int) -> QuantizedWeight:
        weight = next(i for i, role in enumerate(roles(self._index.node(name))) if role is Role.WEIGHT)
        bias = self._index.constant(name, position)
        scale = np.asarray(self._input_scale(name) * self.weights[name, weight].params.scale, np.float32)
        if scale.ndim and scale.shape != bias.shape:
            raise ModelError(
                f"bias of '{name}' has shape {bias.shape} but its weight {scale.shape} scales",
                fix="leave the bias out of the recipe",
            )
        if (name, weight) in self._given and _saturates(bias, scale):
            raise ModelError(
                f"the scales given for the weight of '{name}' are so small that its bias saturates int32",
                fix="start from deepseek_core.quantize.weight_params, which leaves room",
            )
        granularity = Granularity.PER_CHANNEL if scale.ndim else Granularity.PER_TENSOR
        scheme = QuantScheme(DType.INT32, granularity, symmetric=True, axis=0 if scale.ndim else None)
        params = QParams(scheme, np.maximum(scale, np.finfo(np.float32).tiny), np.zeros(scale.shape, np.int32))
        return QuantizedWeight(params.quantize(bias), params)

    def _input_scale(self, name: str) -> np.float32:
        value = self._index.node(name).inputs[0]
        assert value is not None
        return np.float32(self.activations[value.name or ""].scale)


def _saturates(bias: NDArray[np.generic], scale: NDArray[np.float32]) -> bool:
    return bool((np.abs(bias.astype(np.float64)) > scale.astype(np.float64) * 2.0**31).any())
