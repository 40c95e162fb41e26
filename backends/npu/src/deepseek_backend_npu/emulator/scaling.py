"""Scaling of int32 and int40 sums: a multiplication by scale / 2^shift, with the roundings that the hardware has."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek_backend_npu.emulator.isa import Round

__all__ = ["leading_zeros", "rescale", "wrap"]

Integers = NDArray[np.int64]
_HEADROOM = 1 << 62
_LOW_BITS = 20


def wrap(values: Integers, bits: int) -> Integers:
    """Two's complement of so many bits."""
    return values << (64 - bits) >> (64 - bits)


def leading_zeros(values: Integers) -> Integers:
    """Of each value as 32 bits in two's complement."""
    lengths = np.floor(np.log2(np.maximum(values, 1).astype(np.float64))).astype(np.int64)
    return np.where(values < 0, 0, np.where(values == 0, 32, 31 - lengths))


def rescale(values: Integers, scale: NDArray[Any] | int, shift: NDArray[Any] | int, mode: Round) -> Integers:
    """Values · scale / 2^shift, rounded; scale and shift are scalars or one a channel (last axis)."""
    scales, shifts = np.asarray(scale, np.int64), np.asarray(shift, np.int64)
    largest = int(np.abs(values).max(initial=0)) * int(np.abs(scales).max(initial=0))
    if largest >= _HEADROOM and mode is Round.NATURAL and bool((shifts > _LOW_BITS).all()):
        return _in_halves(values, scales, shifts)
    if largest >= _HEADROOM or (mode is Round.DOUBLE and bool((shifts < 31).any())):
        return _exactly(values, scales, shifts, mode)
    product = values * scales
    if mode is Round.NATURAL:
        return np.asarray((product + (np.int64(1) << shifts >> 1)) >> shifts)
    if mode is Round.TRUNCATE:
        return np.asarray(np.where(product < 0, -(-product >> shifts), product >> shifts))
    return _twice(product, shifts - 31)


def _in_halves(values: Integers, scales: NDArray[np.int64], shifts: NDArray[np.int64]) -> Integers:
    """Half up, where 64 bits are too few for the product of the whole value."""
    high, low = values >> _LOW_BITS, values & (1 << _LOW_BITS) - 1
    left = shifts - _LOW_BITS
    total = high * scales + (low * scales >> _LOW_BITS) + (np.int64(1) << left >> 1)
    return np.asarray(total >> left)


def _twice(product: Integers, rest: NDArray[np.int64]) -> Integers:
    """A saturating rounding doubling high multiplication, then a rounding right shift (gemmlowp's fixed point)."""
    nudged = product + np.where(product >= 0, 1 << 30, 1 - (1 << 30))
    high = np.where(nudged < 0, -(-nudged >> 31), nudged >> 31)
    mask = (np.int64(1) << rest) - 1
    threshold = (mask >> 1) + (high < 0)
    return np.asarray((high >> rest) + ((high & mask) > threshold))


def _exactly(values: Integers, scales: NDArray[np.int64], shifts: NDArray[np.int64], mode: Round) -> Integers:
    """The same in Python's integers, where 64 bits are too few."""
    function = np.frompyfunc(lambda v, s, h: _one(int(v), int(s), int(h), mode), 3, 1)
    return np.asarray(np.clip(function(values, scales, shifts), -_HEADROOM, _HEADROOM), np.int64)


def _one(value: int, scale: int, shift: int, mode: Round) -> int:
    if mode is Round.NATURAL:
        return (value * scale + (1 << shift >> 1)) >> shift
    if mode is Round.TRUNCATE:
        product = abs(value * scale) >> shift
        return product if value >= 0 else -product
    if shift < 31:
        value, shift = value << (31 - shift), 31
    product = value * scale
    nudged = product + ((1 << 30) if product >= 0 else 1 - (1 << 30))
    high = nudged >> 31 if nudged >= 0 else -(-nudged >> 31)
    rest = shift - 31
    mask = (1 << rest) - 1
    return (high >> rest) + ((high & mask) > (mask >> 1) + (high < 0))
