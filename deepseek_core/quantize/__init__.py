"""From a float model to the IR: derive a recipe from capability tables, apply it with calibrated ranges."""

from deepseek_core.quantize.apply import apply_recipe
from deepseek_core.quantize.derive import derive_recipe
from deepseek_core.quantize.narrow import narrow, observed_values
from deepseek_core.quantize.numbers import Calibrators, weight_params
from deepseek_core.quantize.weights import QuantizedWeight

__all__ = [
    "Calibrators",
    "QuantizedWeight",
    "apply_recipe",
    "derive_recipe",
    "narrow",
    "observed_values",
    "weight_params",
]
