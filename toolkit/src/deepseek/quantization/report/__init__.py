"""What a quantization did: per-layer noise, precision and size, as data, text and a page."""

from deepseek.quantization.report.layers import Layer
from deepseek.quantization.report.result import Attempt, QuantizationReport

__all__ = ["Attempt", "Layer", "QuantizationReport"]
