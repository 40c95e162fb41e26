"""From units of the IR to TOSA: one family of ops a module."""

from deepseek_backend_npu.lowering.lower import LOWERINGS, lower
from deepseek_backend_npu.lowering.program import Border, HostStep, Lowered

__all__ = ["LOWERINGS", "Border", "HostStep", "Lowered", "lower"]
