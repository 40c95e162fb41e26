"""Quantization: a network in, a quantized network out; algorithms are steps of a recipe, which searches find."""

from deepseek.quantization.config import QuantizerConfig
from deepseek.quantization.data import Folder
from deepseek.quantization.precision import Precision
from deepseek.quantization.quantized import QuantizedNetwork
from deepseek.quantization.quantizer import QuantizationWarning, Quantizer
from deepseek.quantization.recipe import QuantizationRecipe
from deepseek.quantization.report import QuantizationReport
from deepseek.quantization.work import Work

__all__ = [
    "Folder",
    "Precision",
    "QuantizationRecipe",
    "QuantizationReport",
    "QuantizationWarning",
    "QuantizedNetwork",
    "Quantizer",
    "QuantizerConfig",
    "Work",
]
