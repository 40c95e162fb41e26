"""Factors with which the NPU's integer sums have the IR's codes for every pair of int8 codes, but for true ties.

The IR adds and divides in float32 and rounds ties to even; the NPU rounds exact integers, ties up. The two differ only
for the few of 65,536 pairs whose sum lies within a float32's rounding of a tie. A multiplier has 31 bits where the IR's
numbers have 24, so there is room: every pair bounds the last multiplier from below and above, and a number within all
bounds takes every pair to its code. The sides keep the plain common scale: others were tried, and cost cycles.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from deepseek_backend_npu.lowering.numbers import multiplier

__all__ = ["Factors", "exact_sum", "plain_sum"]

Factors = tuple[float, float, float]
"""Of both sides to their common scale, and of their sum to the result's."""
Scales = tuple[np.float32, np.float32, np.float32]
"""Of both sides and of the result."""
_Integers = NDArray[np.int64]

_LEAST, _MOST = 1 << 30, (1 << 31) - 1
_MOST_SHIFT = 53
_FAR = 1 << 62
"""No bound: beyond every product of a multiplier and a sum. Bounds of shifts up to `_MOST_SHIFT` stay below it."""


def plain_sum(scales: Scales, bits: int) -> Factors:
    """The factors of a common scale of 2^-bits of twice the larger side's."""
    common = 2.0 * float(max(scales[:2]))
    one, other = (float(scale) / common * 2**bits for scale in scales[:2])
    return one, other, common / 2**bits / float(scales[2])


@lru_cache(256)
def exact_sum(scales: Scales, zeros: tuple[int, int], ends: tuple[int, int], sign: int, bits: int) -> Factors:
    """Factors of a sum of int8 codes.

    Args:
        zeros: zero points of the sides.
        ends: lowest and highest code of the result, less its zero point; beyond them codes are cut.
        sign: 1 for a sum, -1 for a difference.
        bits: fraction bits of the sides at their common scale.

    Returns:
        Those that give the IR's code for every pair; where there are none, the plain ones, with which a few pairs
        differ by one.
    """
    sides = [np.arange(-128, 128, dtype=np.int64) - zero for zero in zeros]
    a, b = (side.astype(np.float32) * scale for side, scale in zip(sides, scales, strict=False))
    with np.errstate(over="ignore"):
        codes = np.clip(np.rint((a[:, None] + np.float32(sign) * b) / scales[2]), *ends).astype(np.int64)
    one, other, total = plain_sum(scales, bits)
    sums = _rescaled(sides[0], one)[:, None] + sign * _rescaled(sides[1], other)
    last = _admitted(sums.reshape(-1), codes.reshape(-1), ends, total)
    return one, other, total if last is None else last


def _admitted(sums: _Integers, codes: _Integers, ends: tuple[int, int], factor: float) -> float | None:
    """The factor nearest to the given one that takes each sum to its code; None where there is none.

    A sum has its code when low ≤ sum · multiplier ≤ high, without a bound where codes are cut.
    """
    number, shift = multiplier(factor)
    if shift > _MOST_SHIFT:
        return None
    half = 1 << (shift - 1)
    low = np.where(codes > ends[0], (2 * codes - 1) * half, -_FAR)
    high = np.where(codes < ends[1], (2 * codes + 1) * half - 1, _FAR)
    low, high = np.where(sums < 0, -high, low), np.where(sums < 0, -low, high)
    sizes, some = np.abs(sums), sums != 0
    if (low[~some] > 0).any() or (high[~some] < 0).any():
        return None
    least = int((-(-low[some] // sizes[some])).max(initial=_LEAST))
    most = int((high[some] // sizes[some]).min(initial=_MOST))
    return float(np.ldexp(min(max(number, least), most), -shift)) if least <= most else None


def _rescaled(values: _Integers, factor: float) -> _Integers:
    """RESCALE with one rounding, ties up."""
    number, shift = multiplier(factor)
    return (values * number + (1 << (shift - 1))) >> shift
