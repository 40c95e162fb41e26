"""Ranges of activations by what they do to the layers that read them."""

from deepseek.quantization.ranges.readers import Reader, readers
from deepseek.quantization.ranges.search import Range, find_range

__all__ = ["Range", "Reader", "find_range", "readers"]
