"""From a float model to the IR: derive a recipe from capability tables, apply it with calibrated ranges."""

from deepseek_core.quantize.apply import Calibrators, apply_recipe
from deepseek_core.quantize.derive import derive_recipe

__all__ = ["Calibrators", "apply_recipe", "derive_recipe"]
