"""Where the NPU's numbers differ from the reference, as measured with the conformance kit's cases.

Sums are exact and rescaled by integer multipliers, which round ties up; the reference does so in float32, where a
product may land on the other side of a tie. Tables and conversions at the border round ties to even, as the IR does.
Ops that only move codes move them exactly.
"""

from __future__ import annotations

from deepseek_backend_npu.devices import device_of
from deepseek_core import Expectations, KnownFailure, Rounding, Target, Tolerance

__all__ = ["expectations"]

_ROUNDED = Tolerance(lsb=1)
_EXACT = Tolerance()
_MOVES = (
    "Flatten",
    "Gather",
    "Identity",
    "MaxPool",
    "Reshape",
    "Slice",
    "Split",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
)
_NO_WRAP = KnownFailure(
    "numerics/Conv/int8-*/bias_wraps",
    "the hardware adds its bias of 40 bits after the sum, where the reference's int32 wraps",
)
_NO_WRAP_GEMM = KnownFailure("numerics/Gemm/int8-*/bias_wraps", _NO_WRAP.reason)
_WIDE_SUMS = tuple(
    KnownFailure(f"numerics/{op}/int16-*/bias_wraps", "sums over int16 have 48 bits, where the reference's int32 wraps")
    for op in ("Conv", "ConvTranspose", "Gemm")
)


def expectations(target: Target) -> Expectations:
    """The same for every variant."""
    device_of(target)
    return Expectations(
        _ROUNDED,
        dict.fromkeys(_MOVES, _EXACT),
        rounding=Rounding.HALF_UP,
        known_failures=(*_WIDE_SUMS, _NO_WRAP, _NO_WRAP_GEMM),
    )
