"""From units of the IR to kernels of the runtime: one family of ops a module."""

from deepseek_backend_arm.lowering.lower import lower

__all__ = ["lower"]
