"""Diff: where two versions of a model drift apart, layer by layer."""

from deepseek_core.diff.compare import compare
from deepseek_core.diff.result import DEFAULT_THRESHOLD, Diff, TensorDiff

__all__ = ["DEFAULT_THRESHOLD", "Diff", "TensorDiff", "compare"]
