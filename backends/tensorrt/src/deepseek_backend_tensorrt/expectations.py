"""Where TensorRT differs from the reference.

Sums of codes are exact in int32, and are rescaled in float32 with the scales as they are, where the reference uses one
rounded factor: a code may fall on the other side of a tie. Float units may sum in another order.
"""

from __future__ import annotations

from deepseek_backend_tensorrt.toolchain import toolchain
from deepseek_core import Expectations, KnownFailure, Target, Tolerance

__all__ = ["expectations"]

_SUMS = Tolerance(lsb=1, rtol=1e-4, atol=1e-4)
_ROUNDED = Tolerance(lsb=1, rtol=1e-5, atol=1e-5)
_OLD = (KnownFailure("numerics/*float8*", "TensorRT 8.6 has no float8 codes; 10 and newer have"),)
_BY_OP = dict.fromkeys(("Conv", "ConvTranspose", "Gemm", "MatMul", "Selu"), _SUMS)


def expectations(target: Target) -> Expectations:
    """One code where numbers are rounded; moves give the reference's codes exactly."""
    known = _OLD if toolchain().versions.get("tensorrt", "").startswith("8.") else ()
    by_op = {**_BY_OP, **dict.fromkeys(("Add", "AveragePool", "GlobalAveragePool", "Concat"), _ROUNDED)}
    return Expectations(by_op=by_op, known_failures=known)
