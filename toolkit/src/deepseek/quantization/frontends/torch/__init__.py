"""The torch front end. torch is imported inside functions: ONNX models need none."""

from deepseek.quantization.frontends.torch.module import ModuleSource

__all__ = ["ModuleSource"]
