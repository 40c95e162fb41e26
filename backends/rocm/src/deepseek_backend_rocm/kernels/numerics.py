"""Rounding as the IR defines it, on every GPU alike."""

import triton
import triton.language as tl

__all__ = ["added", "codes_of", "requantized", "rounded"]

MAGIC = tl.constexpr(12582912.0)
"""1.5 · 2^23: a float32 near it has a unit in the last place of 1."""


@triton.jit
def rounded(x):
    """The integer next to a float32 of magnitude up to 2^22, ties to even, as int32.

    Adding 1.5 · 2^23 leaves no fraction in the sum, which the addition rounds to even; the integer is in its low bits.
    (Warren, Hacker's Delight, 2nd edition, section 17-2.)
    """
    return (x + MAGIC).to(tl.int32, bitcast=True) - 0x4B400000


@triton.jit
def codes_of(ratio, zero, low, high):
    """saturate(round_half_even(ratio) + zero) to [low, high], as int32; NaN becomes `zero`.

    Bounds are whole numbers, so it makes no difference whether they apply before rounding or after.
    """
    ratio = tl.where(ratio != ratio, 0.0, ratio)
    bounded = tl.minimum(tl.maximum(ratio, (low - zero).to(tl.float32)), (high - zero).to(tl.float32))
    return rounded(bounded) + zero


@triton.jit
def requantized(acc, factors, zero, low, high):
    """Codes of accumulators: saturate(round_half_even(float32(acc) · factor) + zero) to [low, high]."""
    ratio = acc.to(tl.float32) * factors
    bounded = tl.minimum(tl.maximum(ratio, (low - zero).to(tl.float32)), (high - zero).to(tl.float32))
    return rounded(bounded) + zero


@triton.jit
def added(codes, other, zero, addend_zero, sum_zero, sum_low, sum_high, own_scale, addend_scale, sum_scale):
    """Codes of the sum of two tensors of codes, in float32."""
    total = (codes - zero).to(tl.float32) * own_scale + (other - addend_zero).to(tl.float32) * addend_scale
    ratio = tl.div_rn(total, total * 0.0 + sum_scale)
    bounded = tl.minimum(tl.maximum(ratio, (sum_low - sum_zero).to(tl.float32)), (sum_high - sum_zero).to(tl.float32))
    return rounded(bounded) + sum_zero
