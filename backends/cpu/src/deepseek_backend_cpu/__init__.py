"""CPU backend of DeepSeek: ONNX Runtime's integer and float kernels, chosen per unit by measurement."""

__all__ = ["__version__"]

__version__ = "0.1.0"
