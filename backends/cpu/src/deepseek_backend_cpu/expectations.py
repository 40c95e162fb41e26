"""Where ONNX Runtime differs from the reference, as measured with the conformance kit's cases.

Integer kernels of Conv, Gemm and MatMul are exact, wrapping included. Their float kernels, chosen where they are
faster, sum in float32: a code may fall on the other side of a rounding tie.
"""

from __future__ import annotations

from deepseek_core import Expectations, KnownFailure, Target, Tolerance

__all__ = ["expectations"]

_SUMS = Tolerance(lsb=1, rtol=1e-5, atol=1e-5)
_ROUNDED = Tolerance(lsb=1)
_BY_OP = {
    **dict.fromkeys(("Conv", "ConvTranspose", "Gemm", "MatMul"), _SUMS),
    **dict.fromkeys(("Add", "AveragePool", "Mul", "Softmax"), _ROUNDED),
}

_NO_WRAP = KnownFailure(
    "numerics/*/*int16-*/bias_wraps",
    "16-bit activations are summed in float32, which does not wrap where the reference's int32 does",
)


def expectations(target: Target) -> Expectations:
    """Every op not named here gives the reference's codes exactly."""
    return Expectations(by_op=_BY_OP, known_failures=(_NO_WRAP,))
