"""Front ends: how a float network gets in, and how it is called."""

from deepseek.quantization.frontends.network import Calls, Network, Tensors
from deepseek.quantization.frontends.onnx import open_onnx

__all__ = ["Calls", "Network", "Tensors", "open_onnx"]
