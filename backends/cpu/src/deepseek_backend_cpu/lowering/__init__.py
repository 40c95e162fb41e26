"""Lowering: chosen units become ONNX Runtime's integer operators; the others stay DQ → op → Q."""

from deepseek_backend_cpu.lowering.lower import lower, normalize
from deepseek_backend_cpu.lowering.rounding import float_differs
from deepseek_backend_cpu.lowering.table import INTEGER_KERNELS, computes, integer_kernel, integer_problem
from deepseek_backend_cpu.lowering.taps import expose

__all__ = [
    "INTEGER_KERNELS",
    "computes",
    "expose",
    "float_differs",
    "integer_kernel",
    "integer_problem",
    "lower",
    "normalize",
]
