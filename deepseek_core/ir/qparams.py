"""Scale and zero point with their defining numerics (ONNX QuantizeLinear-21 / DequantizeLinear-21).

quantize:   q = saturate(round_half_even(x / scale) + zero_point), the division in float32
dequantize: x = (q − zero_point) · scale, the difference in int32, the product in float32

float8_e4m3fn has no zero point: q = saturate_cast(x / scale).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from deepseek_core.errors import ModelError
from deepseek_core.scheme import DType, Granularity, QuantScheme

__all__ = ["QParams", "expand", "numpy_dtype"]

_NUMPY: dict[DType, np.dtype[Any]] = {
    DType.BFLOAT16: np.dtype(ml_dtypes.bfloat16),
    DType.FLOAT8E4M3FN: np.dtype(ml_dtypes.float8_e4m3fn),
    DType.INT4: np.dtype(ml_dtypes.int4),
    DType.UINT4: np.dtype(ml_dtypes.uint4),
}


def numpy_dtype(dtype: DType) -> np.dtype[Any]:
    """The NumPy (or ml_dtypes) dtype of the same name."""
    return _NUMPY.get(dtype) or np.dtype(str(dtype))


@dataclass(frozen=True, slots=True, eq=False)
class QParams:
    """A scheme with its numbers.

    Attributes:
        scheme: how the numbers apply.
        scale: float32; shape () per tensor, (C,) per channel, and the tensor's shape with `axis` divided by
            `block_size` (rounded up) per block. Positive and finite.
        zero_point: same shape as `scale`, in the scheme's dtype; zero for float8 and for symmetric signed types.
    """

    scheme: QuantScheme
    scale: NDArray[np.float32]
    zero_point: NDArray[Any]

    def __post_init__(self) -> None:
        if self.scale.shape != self.zero_point.shape:
            raise ModelError(
                f"scale has shape {self.scale.shape} but zero point {self.zero_point.shape}",
                fix="give both the same shape",
            )
        if not (np.isfinite(self.scale).all() and (self.scale > 0).all()):
            raise ModelError("scale is not positive and finite", fix="recalibrate, or check the exporting tool")

    @classmethod
    def from_range(cls, scheme: QuantScheme, low: object, high: object) -> QParams:
        """Parameters that map [low, high] onto the scheme's codes; the range is widened to hold 0.

        Args:
            low, high: scalars or (C,) arrays in real units.

        A range of zero width gets scale 1, so that a constant-zero tensor stays exact. The zero point is
        rounded half to even, so real 0 is always a code exactly (Jacob et al., 2018, section 2.1).
        """
        lo = np.minimum(np.asarray(low, np.float64), 0.0)
        hi = np.maximum(np.asarray(high, np.float64), 0.0)
        if not (np.isfinite(lo).all() and np.isfinite(hi).all()):
            raise ModelError("range is not finite", fix="remove NaN and infinity from the calibration data")
        qmin, qmax = scheme.qmin, scheme.qmax
        storage = numpy_dtype(scheme.dtype)
        if scheme.symmetric or not scheme.dtype.is_integer:
            middle = 0.0 if scheme.dtype.is_signed else (qmin + qmax + 1) / 2
            scale = np.maximum(-lo, hi) / (qmax - middle)
            zero = np.full(scale.shape, middle)
        else:
            scale = (hi - lo) / (qmax - qmin)
            zero = np.zeros(scale.shape)
        # float32 is what the graph stores, so the zero point must belong to the rounded scale.
        scale32 = scale.astype(np.float32)
        scale32 = np.where(scale32 < np.finfo(np.float32).tiny, np.float32(1), scale32)
        if not scheme.symmetric and scheme.dtype.is_integer:
            zero = np.clip(np.rint(qmin - lo / scale32.astype(np.float64)), qmin, qmax)
        return cls(scheme, scale32, zero.astype(storage))

    def quantize(self, x: NDArray[Any]) -> NDArray[Any]:
        """Codes of `x` (float, any shape that fits the scheme) in the scheme's dtype.

        Infinities saturate; NaN becomes the code of 0, and stays NaN in float8.
        """
        scale, zero = self._expanded(x.shape)
        storage = numpy_dtype(self.scheme.dtype)
        with np.errstate(over="ignore", invalid="ignore"):
            ratio = np.asarray(np.asarray(x, np.float32) / scale)
        if not self.scheme.dtype.is_integer:
            return np.asarray(np.clip(ratio, self.scheme.qmin, self.scheme.qmax).astype(storage))
        # Codes of up to 16 bits and their differences are exact in float32; those of a bias need float64.
        exact = np.float32 if self.scheme.dtype.bits <= 16 else np.float64
        steps: NDArray[Any] = np.rint(ratio, out=ratio).astype(exact, copy=False)
        middle: NDArray[Any] = zero.astype(exact)
        np.clip(steps, self.scheme.qmin - middle, self.scheme.qmax - middle, out=steps)
        np.add(steps, middle, out=steps)
        np.copyto(steps, middle, where=np.isnan(steps))
        return steps.astype(np.int64 if exact is np.float64 else np.int32).astype(storage)

    def dequantize(self, q: NDArray[Any]) -> NDArray[np.float32]:
        """Real values of codes `q`, float32."""
        scale, zero = self._expanded(q.shape)
        if not self.scheme.dtype.is_integer:
            return np.asarray(q.astype(np.float32) * scale, np.float32)
        real = (q.astype(np.int32) - zero.astype(np.int32)).astype(np.float32)
        return np.asarray(np.multiply(real, scale, dtype=np.float32))

    def fake_quantize(self, x: NDArray[Any]) -> NDArray[np.float32]:
        """`dequantize(quantize(x))`."""
        return self.dequantize(self.quantize(x))

    def equals(self, other: QParams) -> bool:
        """Same codes for every input: dtype, granularity, axis and numbers agree (symmetry flags may not)."""
        mine, theirs = self.scheme, other.scheme
        return (
            (mine.dtype, mine.granularity, mine.axis, mine.block_size)
            == (theirs.dtype, theirs.granularity, theirs.axis, theirs.block_size)
            and np.array_equal(self.scale, other.scale)
            and np.array_equal(self.zero_point, other.zero_point)
        )

    def _expanded(self, shape: tuple[int, ...]) -> tuple[NDArray[np.float32], NDArray[Any]]:
        return expand(self.scale, shape, self.scheme), expand(self.zero_point, shape, self.scheme)


def expand(values: NDArray[Any], shape: tuple[int, ...], scheme: QuantScheme) -> NDArray[Any]:
    """`values` (a scale or zero point of `scheme`) broadcastable to a tensor of `shape`."""
    if scheme.granularity is Granularity.PER_TENSOR:
        return values.reshape(())
    axis = scheme.axis if scheme.axis is not None else 0
    if not -len(shape) <= axis < len(shape):
        raise ModelError(
            f"quantized axis {axis} of a tensor of shape {shape}", fix="use an axis inside the tensor's rank"
        )
    axis %= len(shape)
    if scheme.block_size is not None:
        wanted = tuple(-(-n // scheme.block_size) if i == axis else n for i, n in enumerate(shape))
        if values.shape != wanted:
            raise ModelError(
                f"scales of shape {values.shape} for blocks of {scheme.block_size} along axis {axis} of {shape}",
                fix=f"give scales of shape {wanted}",
            )
        # No more copies than the axis is long, whatever a file says about its blocks.
        blocks = np.repeat(values, min(scheme.block_size, max(shape[axis], 1)), axis=axis)
        return blocks[tuple(slice(0, n) if i == axis else slice(None) for i, n in enumerate(shape))]
    if values.shape != (shape[axis],):
        raise ModelError(
            f"{values.size} scales for axis {axis} of a tensor of shape {shape}",
            fix="give one scale for each index of the axis",
        )
    return values.reshape([-1 if i == axis else 1 for i in range(len(shape))])
