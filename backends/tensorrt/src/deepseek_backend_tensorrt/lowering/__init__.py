"""From the IR to the ONNX that TensorRT fuses."""

from deepseek_backend_tensorrt.lowering.lower import Lowering, lower

__all__ = ["Lowering", "lower"]
