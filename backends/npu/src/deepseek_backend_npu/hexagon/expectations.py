"""Where the HTP's numbers differ from the reference, as measured with the conformance kit's cases and random units.

Sums are exact and saturate; what rescales them is not public, and differs from the IR's by one code at most.
"""

from __future__ import annotations

from deepseek_backend_npu.hexagon.variants import architecture
from deepseek_core import Expectations, KnownFailure, Target, Tolerance

__all__ = ["hexagon_expectations"]

_EXACT = Tolerance()
_SUMS = ("Conv", "ConvTranspose", "Gemm")
_SATURATES = "sums saturate, where the reference's int32 wraps"
_SAME = (
    "Elu",
    "Flatten",
    "Gather",
    "Gelu",
    "GlobalMaxPool",
    "MaxPool",
    "Reshape",
    "Sigmoid",
    "Slice",
    "Split",
    "Squeeze",
    "Tanh",
    "Transpose",
    "Unsqueeze",
    "QuantizeLinear",
    "DequantizeLinear",
)


def hexagon_expectations(target: Target) -> Expectations:
    """The same for every version."""
    architecture(target)
    return Expectations(
        Tolerance(lsb=1),
        dict.fromkeys(_SAME, _EXACT),
        known_failures=tuple(KnownFailure(f"numerics/{op}/*/bias_wraps", _SATURATES) for op in _SUMS),
    )
