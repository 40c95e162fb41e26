"""The part of the emulator that is Ethos-U85's own: registers, order of weights, chained operations."""

from deepseek_backend_npu.emulator.u85.isa import U85
from deepseek_backend_npu.emulator.u85.operation import ChainedOperation

__all__ = ["U85", "ChainedOperation"]
