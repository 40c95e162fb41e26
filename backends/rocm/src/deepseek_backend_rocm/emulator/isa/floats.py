"""Arithmetic of floats as hardware does it: fused, correctly rounded, with its own rules for extremes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from deepseek_backend_rocm.emulator.arrays import Array

__all__ = [
    "divide_fixup",
    "divide_fmas",
    "divide_scale",
    "fma",
    "maximum",
    "median",
    "minimum",
    "through_f64",
]


def fma(x: Array, y: Array, z: Array, kind: Any = None) -> Array:
    """X · y + z rounded once to a type, or that of x: float16 or float32.

    In float64 the product is exact and the sum is rounded to odd, which a second rounding does not see (Boldo and
    Melquiond, "Emulation of FMA and correctly rounded sums: proved algorithms using rounding to odd", 2008).
    """
    product, addend = x.astype(np.float64) * y, z.astype(np.float64)
    total = product + addend
    back = total - product
    error = (product - (total - back)) + (addend - back)
    inexact = (error != 0) & np.isfinite(error)
    if inexact.any():
        bits = total.view(np.int64)
        away = (error > 0) == (total > 0)
        odd = np.where(bits & 1 == 0, np.where(away, bits + 1, bits - 1), bits)
        total = np.where(inexact, odd, bits).view(np.float64)
    return total.astype(x.dtype if kind is None else kind)


def maximum(x: Array, y: Array) -> Array:
    """The larger; a number rather than none; +0 rather than -0."""
    result = np.fmax(x, y)
    return np.where((x == 0) & (y == 0), x + y, result)


def minimum(x: Array, y: Array) -> Array:
    """The smaller; a number rather than none; -0 rather than +0."""
    result = np.fmin(x, y)
    return np.where((x == 0) & (y == 0), -(-x + -y), result)


def median(x: Array, y: Array, z: Array) -> Array:
    """The middle one; the smallest when one is no number."""
    middle = np.maximum(np.minimum(x, y), np.minimum(np.maximum(x, y), z))
    lowest = np.fmin(np.fmin(x, y), z)
    return np.where(np.isnan(x) | np.isnan(y) | np.isnan(z), lowest, middle)


def through_f64(function: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """A transcendental function, in float64 and rounded.

    Hardware's have errors of up to 1 ulp (CDNA 3 ISA 12.7) that are not published value by value.
    """
    return lambda x: function(x.astype(np.float64)).astype(x.dtype)


def _exponent(x: Array) -> Array:
    """Biased exponent of float32."""
    return (x.view(np.uint32) >> np.uint32(23) & np.uint32(255)).astype(np.int64)


def divide_scale(which: Array, denominator: Array, numerator: Array) -> tuple[Array, Array]:
    """V_DIV_SCALE_F32: the chosen operand, scaled where a quotient needs it, and whether the result needs it.

    CDNA 3 ISA 12.11, opcode 480; RDNA 3 ISA 16.9, V_DIV_SCALE_F32. Of a denominator whose reciprocal is denormal the
    documents print float64 and a scale of 2^64, which would overflow; quotients are right with float32 and 2^-64.
    """
    shape = np.broadcast(which, denominator, numerator).shape
    which, denominator, numerator = (np.broadcast_to(x, shape) for x in (which, denominator, numerator))
    up, down = np.float32(2.0**64), np.float32(2.0**-64)
    top, bottom = _exponent(numerator), _exponent(denominator)
    of_denominator = which.view(np.uint32) == denominator.view(np.uint32)
    of_numerator = which.view(np.uint32) == numerator.view(np.uint32)
    with np.errstate(all="ignore"):
        inverse = np.float64(1) / denominator.astype(np.float64)
        quotient = numerator.astype(np.float64) / denominator.astype(np.float64)
    tiny = np.float64(2.0**-126)
    scaled = which * up
    invalid = (denominator == 0) | (numerator == 0)
    large = top - bottom >= 96
    denormal_below = (denominator != 0) & (np.abs(denominator) < tiny)
    both = (np.abs(inverse) < tiny) & (np.abs(quotient) < tiny)
    inverse_only, quotient_only = np.abs(inverse) < tiny, np.abs(quotient) < tiny
    small_numerator = top <= 23
    result = np.select(
        [invalid, large, denormal_below, both, inverse_only, quotient_only, small_numerator],
        [
            np.full(shape, np.nan, np.float32),
            np.where(of_denominator, scaled, which),
            scaled,
            np.where(of_denominator, which * down, which),
            which * down,
            np.where(of_numerator, scaled, which),
            scaled,
        ],
        which,
    )
    cases = [invalid, large, denormal_below, both, inverse_only, quotient_only]
    return result.astype(np.float32), np.select(cases, [False, True, False, True, False, True], False)


def divide_fmas(x: Array, y: Array, z: Array, scaled: Array) -> Array:
    """V_DIV_FMAS_F32: fma, its result scaled back where V_DIV_SCALE said so."""
    result = fma(x, y, z)
    factor = np.where(_exponent(np.broadcast_to(z, result.shape)) > 127, np.float32(2.0**64), np.float32(2.0**-64))
    return np.where(scaled, result * factor, result)


def divide_fixup(quotient: Array, denominator: Array, numerator: Array) -> Array:
    """V_DIV_FIXUP: the quotient, or what the standard wants for special operands.

    Where the steps before overflowed, so that the quotient is no number, the result is infinite.
    """
    kind = quotient.dtype.type
    negative = np.signbit(denominator) ^ np.signbit(numerator)
    none = np.isnan(denominator) | np.isnan(numerator)
    none |= ((denominator == 0) & (numerator == 0)) | (np.isinf(denominator) & np.isinf(numerator))
    zero = (numerator == 0) | np.isinf(denominator)
    infinite = (denominator == 0) | np.isinf(numerator) | np.isnan(quotient)
    magnitude = np.select([none, zero, infinite], [kind(np.nan), kind(0), kind(np.inf)], np.abs(quotient))
    result: Array = np.where(negative, -magnitude, magnitude).astype(kind)
    return result
