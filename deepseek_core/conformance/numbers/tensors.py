"""Codes and parameters of single tensors, chosen to break things."""

from __future__ import annotations

from dataclasses import replace
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek_core.conformance.forms.base import Shape
from deepseek_core.conformance.graph import Tensor
from deepseek_core.ir import QParams
from deepseek_core.ir.qparams import numpy_dtype
from deepseek_core.scheme import DType, Granularity, QuantScheme
from deepseek_core.target import TensorType

__all__ = ["SPREAD", "codes", "default_zero", "grid", "is_integer", "numbers_of", "parameters", "reals", "tensor"]

SPREAD = (1.0, 0.375, 2.25, 0.8125, 1.4375)
"""Factors between neighbouring channels: far apart, each exact in few bits, none a power of two of another."""


def is_integer(kind: TensorType | None) -> bool:
    """Whether codes of this type are integers with a zero point."""
    return isinstance(kind, QuantScheme) and kind.dtype.is_integer


def grid(scheme: QuantScheme) -> tuple[int, int]:
    """Smallest and largest code of an integer scheme."""
    return int(scheme.qmin), int(scheme.qmax)


def default_zero(scheme: QuantScheme) -> int:
    """An odd zero point off the middle, or the only one a symmetric scheme allows."""
    low, high = grid(scheme)
    if scheme.symmetric:
        return 0 if scheme.dtype.is_signed else (low + high + 1) // 2
    return low + (high - low) * 2 // 5 | 1


def parameters(
    scheme: QuantScheme,
    shape: Shape,
    *,
    scale: float,
    zero: int | None = None,
    axis: int = 0,
    spread: tuple[float, ...] = SPREAD,
) -> QParams:
    """Parameters for a tensor of `shape`; scales differ between channels or blocks by `spread`.

    Args:
        axis: what a scheme without an axis means.
        zero: None takes `default_zero`; a symmetric scheme keeps its own.
    """
    dtype = numpy_dtype(scheme.dtype)
    if scheme.granularity is not Granularity.PER_TENSOR and scheme.axis is None:
        scheme = replace(scheme, axis=axis)
    form = _scale_shape(scheme, shape)
    count = int(np.prod(form, dtype=np.int64))
    factors = np.resize(np.array(spread), count) if form else np.ones(())
    scales = (factors.reshape(form) * scale).astype(np.float32)
    code = 0
    if scheme.dtype.is_integer:
        code = default_zero(scheme) if zero is None or scheme.symmetric else zero
    return QParams(scheme, scales, np.full(form, code).astype(dtype))


def _scale_shape(scheme: QuantScheme, shape: Shape) -> Shape:
    if scheme.granularity is Granularity.PER_TENSOR:
        return ()
    assert scheme.axis is not None
    axis = scheme.axis % len(shape)
    if scheme.block_size is None:
        return (shape[axis],)
    return tuple(ceil(n / scheme.block_size) if i == axis else n for i, n in enumerate(shape))


def codes(rng: np.random.Generator, scheme: QuantScheme, shape: Shape, reach: int | None = None) -> NDArray[Any]:
    """Random codes in the scheme's dtype over its whole range, both ends included.

    Args:
        reach: largest distance from the zero point of `default_zero`, None for no bound.

    float8 codes are multiples of 1/4 up to 3.5, so that sums of products are exact in float32.
    """
    dtype = numpy_dtype(scheme.dtype)
    if not scheme.dtype.is_integer:
        return np.asarray(rng.integers(-14, 15, shape) / 4).astype(dtype)
    low, high = grid(scheme)
    if reach is not None:
        zero = default_zero(scheme)
        low, high = max(low, zero - reach), min(high, zero + reach)
    values = rng.integers(low, high + 1, shape)
    if values.size > 3:
        values.reshape(-1)[:2] = high, low
    return np.asarray(values).astype(dtype)


def reals(rng: np.random.Generator, dtype: DType, shape: Shape) -> NDArray[Any]:
    """Random multiples of 1/4 (few bits each), so that float sums of products are exact in any order."""
    reach = 40 if dtype is DType.FLOAT32 else 4
    return np.asarray(rng.integers(-reach, reach + 1, shape) / 4).astype(numpy_dtype(dtype))


def tensor(
    rng: np.random.Generator,
    kind: TensorType,
    shape: Shape,
    *,
    scale: float,
    zero: int | None = None,
    axis: int = 0,
    reach: int | None = None,
) -> Tensor:
    """A random tensor of a type: floats from `reals`, or codes with `parameters`."""
    if not isinstance(kind, QuantScheme):
        return Tensor(reals(rng, kind, shape))
    spread = SPREAD if kind.dtype.is_integer else (1.0, 0.5, 2.0, 4.0)
    return Tensor(
        codes(rng, kind, shape, reach), parameters(kind, shape, scale=scale, zero=zero, axis=axis, spread=spread)
    )


def numbers_of(dtype: DType) -> NDArray[Any]:
    """Every finite code of a dtype of 8 bits or less, in ascending order."""
    storage = numpy_dtype(dtype)
    if dtype.is_integer:
        low, high = dtype.range
        return np.arange(int(low), int(high) + 1).astype(storage)
    every = np.arange(256, dtype=np.uint8).view(storage)
    return np.sort(every[np.isfinite(every.astype(np.float32))].astype(np.float32)).astype(storage)
