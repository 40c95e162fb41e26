"""From units of the IR to kernel launches: one family of ops a module."""

from deepseek_backend_rocm.lowering.lower import LOWERINGS, lower

__all__ = ["LOWERINGS", "lower"]
