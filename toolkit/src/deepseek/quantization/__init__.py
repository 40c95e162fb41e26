"""Quantization: algorithms as steps of a recipe, and the searches that find one within an accuracy budget."""

from deepseek.quantization.recipe import QuantizationRecipe
from deepseek.quantization.work import Work

__all__ = ["QuantizationRecipe", "Work"]
