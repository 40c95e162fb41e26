"""Ops that TVM compiles here, by name: the capability table is asked for before anything heavy is imported."""

from __future__ import annotations

__all__ = ["OPS"]

OPS = (
    *("Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Cosh", "Sinh", "Tan", "Shrink", "IsNaN"),
    *("ArgMax", "ArgMin", "CumSum", "Einsum", "Hardmax", "ReduceLogSumExp", "TopK"),
    *("GroupNormalization", "LRN", "MeanVarianceNormalization"),
    *("AffineGrid", "GlobalLpPool", "GridSample", "LpPool", "MaxUnpool", "RoiAlign"),
    *("ScatterElements", "ScatterND"),
)
"""Without any kernel of this backend. `table` has what of them is left out, and of which other ops TVM takes a part."""
