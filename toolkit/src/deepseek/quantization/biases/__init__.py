"""Biases that make up for the mean error of quantized layers."""

from deepseek.quantization.biases.correction import Correction, measured_shift
from deepseek.quantization.biases.means import mean_inputs
from deepseek.quantization.biases.places import drop_idle_adds, give_adds

__all__ = ["Correction", "drop_idle_adds", "give_adds", "mean_inputs", "measured_shift"]
