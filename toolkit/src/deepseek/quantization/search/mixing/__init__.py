"""Mixed precision: each unit in the format that the latency goal and the accuracy budget together want."""

from deepseek.quantization.search.mixing.search import mixed

__all__ = ["mixed"]
