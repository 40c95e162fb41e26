"""TOSA graphs: what the compiler and the reference model read."""

from deepseek_backend_npu.tosa.graph import Graph, Tensor
from deepseek_backend_npu.tosa.schema import DType, Op, Rounding

__all__ = ["DType", "Graph", "Op", "Rounding", "Tensor"]
