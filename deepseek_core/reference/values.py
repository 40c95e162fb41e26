"""What flows between operations: arrays, and real numbers that still know the integers behind them.

DequantizeLinear does not multiply and an integer convolution does not scale before somebody needs real numbers. So
an operation that accumulates finds the codes of its inputs, and the QuantizeLinear behind it finds the accumulator.
Which numerics apply follows from the edges between DQ, operation and Q alone: it does not matter whether a DQ is
shared or repeated, in which graph it stands, who else reads the result, or what is tapped.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek_core.reference.codes import dequantize, quantize, requantize, spread

__all__ = ["Accumulated", "Array", "Dequantized", "Value", "materialize", "real", "shape_of"]

Array = NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Dequantized:
    """(codes − zero) · scale, not multiplied out.

    Attributes:
        codes: integers or small floats, any shape.
        scale: broadcastable to `codes`.
        zero: broadcastable to `codes`; None counts as 0.
        dtype: element type of the real numbers.
    """

    codes: Array
    scale: Array
    zero: Array | None
    dtype: np.dtype[Any]

    @classmethod
    def of(cls, codes: Array, scale: Array, zero: Array | None, axis: int = 1, block: int = 0) -> Dequantized:
        """From the inputs of a DequantizeLinear.

        Raises:
            ModelError: scale or zero point do not fit the codes.
        """
        offset = None if zero is None else spread(zero, codes.shape, axis, block)
        return cls(codes, spread(scale, codes.shape, axis, block), offset, scale.dtype)

    def rearranged(self, change: Callable[[Array], Array]) -> Dequantized:
        """`change` (a transpose or reshape of full-rank arrays) applied to codes, scale and zero point alike."""
        scale = self.scale if self.scale.ndim == 0 else change(self.scale)
        zero = self.zero if self.zero is None or self.zero.ndim == 0 else change(self.zero)
        return replace(self, codes=change(self.codes), scale=scale, zero=zero)

    def real(self) -> Array:
        return dequantize(self.codes, self.scale, self.zero).astype(self.dtype, copy=False)


@dataclass(frozen=True, slots=True, eq=False)
class Accumulated:
    """clip(accumulator · scale, low, high), not multiplied out.

    Attributes:
        accumulator: int32, wrapped modulo 2^32.
        scale: float32, broadcastable to `accumulator`.
        dtype: element type of the real numbers.
        low, high: bounds that Relu and Clip have put on the real numbers.
    """

    accumulator: NDArray[np.int32]
    scale: NDArray[np.float32]
    dtype: np.dtype[Any]
    low: float = -np.inf
    high: float = np.inf

    def clipped(self, low: float, high: float) -> Accumulated:
        """min(max(x, low), high) of every real number x."""
        return replace(self, low=min(max(self.low, low), high), high=min(max(self.high, low), high))

    def real(self) -> Array:
        product = self.accumulator.astype(np.float32) * self.scale
        bounded = np.clip(product, np.float32(self.low), np.float32(self.high))
        return np.asarray(bounded.astype(self.dtype, copy=False))

    def quantized(self, scale: Array, zero: Array | None, dtype: np.dtype[Any]) -> Array:
        """Codes of an integer type, requantized from the accumulator; bounds become the codes of the bounds."""
        codes = requantize(self.accumulator, self.scale, scale, zero, dtype)
        if self.low == -np.inf and self.high == np.inf:
            return codes
        low, high = (quantize(np.asarray(bound, np.float32), scale, zero, dtype) for bound in (self.low, self.high))
        bounded = np.clip(codes.astype(np.int32), low.astype(np.int32), high.astype(np.int32))
        return np.asarray(bounded.astype(dtype))


Value = Array | Dequantized | Accumulated | list[Any] | None
"""Anything a graph edge carries; a list is a sequence, None an omitted or empty optional."""


def real(value: Value) -> Any:
    """The value as ONNX sees it: real numbers for lazy ones, anything else unchanged."""
    return value.real() if isinstance(value, Dequantized | Accumulated) else value


def shape_of(value: Value) -> tuple[int, ...]:
    """Shape of a tensor; a lazy one stays lazy."""
    if isinstance(value, Dequantized):
        return value.codes.shape
    return value.accumulator.shape if isinstance(value, Accumulated) else np.shape(real(value))


def materialize(value: Value) -> Any:
    """A copy that shares no memory with feeds, constants or other values."""
    value = real(value)
    if isinstance(value, list):
        return [materialize(item) for item in value]
    return None if value is None else np.array(value)
