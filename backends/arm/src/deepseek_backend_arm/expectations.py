"""Where results differ from the reference: not at all, except where it sums in float32 and the kernels sum exactly.

Sums of codes, requantization, elementwise functions, tables and moves are bit for bit the IR's. Means are sums of codes
that are rounded once, and softmax and layer normalization add in another order: a result on a tie may be the next code.
Real numbers are within the default tolerance: sums are in another order, and functions are good to some units in the
last place.
"""

from __future__ import annotations

from deepseek_core import Expectations, Tolerance

__all__ = ["expectations"]

_OF_SUMS = Tolerance(atol=2e-5)
"""Sixteen pixels with weights of both signs: sums that cancel keep the error of their largest term."""
_ROUNDED = ("AveragePool", "GlobalAveragePool", "LayerNormalization", "ReduceMean", "Softmax")


def expectations() -> Expectations:
    """The same for every CPU."""
    return Expectations(by_op={**dict.fromkeys(_ROUNDED, Tolerance(lsb=1)), "GridSample": _OF_SUMS})
