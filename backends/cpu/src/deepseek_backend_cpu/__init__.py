"""CPU backend of DeepSeek: ONNX Runtime's integer and float kernels, chosen per unit by measurement."""

__version__ = "0.1.0"
