"""Qualcomm's Hexagon Tensor Processor, through the QNN plugin of ONNX Runtime (extra `[qnn]`, proprietary)."""

from deepseek_backend_npu.hexagon.variants import VARIANTS, is_hexagon

__all__ = ["VARIANTS", "is_hexagon"]
