"""Weights as codes that keep a layer's output, not the weights themselves."""

from deepseek.quantization.weights.choose import choose
from deepseek.quantization.weights.layer import Method, Solution, solve

__all__ = ["Method", "Solution", "choose", "solve"]
