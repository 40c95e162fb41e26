"""Functions of 32-bit integers, on whole arrays."""

from __future__ import annotations

import numpy as np

from deepseek_backend_rocm.emulator.arrays import Array

__all__ = [
    "align_bit",
    "align_byte",
    "bit_field",
    "bit_field_mask",
    "extract_signed",
    "extract_unsigned",
    "leading_signs",
    "leading_zeros",
    "median",
    "mul_hi_i32",
    "mul_hi_u32",
    "permute_bytes",
    "reverse_bits",
    "saturated_bytes",
    "signed_24",
    "sum_of_differences",
    "trailing_zeros",
    "unsigned_24",
]

_U, _W = np.uint32, np.uint64
_31 = np.uint32(31)


def mul_hi_u32(x: Array, y: Array) -> Array:
    """Upper half of the product."""
    return (x.astype(_W) * y >> _W(32)).astype(_U)


def mul_hi_i32(x: Array, y: Array) -> Array:
    """Upper half of the signed product."""
    return ((x.view(np.int32).astype(np.int64) * y.view(np.int32)) >> 32).astype(np.int32).view(_U)


def unsigned_24(x: Array) -> Array:
    return x & _U(0xFFFFFF)


def signed_24(x: Array) -> Array:
    """The lowest 24 bits as a signed number, int32."""
    return (x << _U(8)).view(np.int32) >> np.int32(8)


def median(x: Array, y: Array, z: Array) -> Array:
    """The middle one of three."""
    return np.maximum(np.minimum(x, y), np.minimum(np.maximum(x, y), z))


def extract_unsigned(x: Array, offset: Array, width: Array) -> Array:
    """A bit field, by the five lowest bits of offset and width."""
    result: Array = x >> (offset & _31) & ((_U(1) << (width & _31)) - _U(1))
    return result


def extract_signed(x: Array, offset: Array, width: Array) -> Array:
    """A bit field, extended with its sign; a width of 0 gives 0."""
    width = width & _31
    if offset.size == width.size == 1 and 0 < width.flat[0] <= 32 - (offset.flat[0] & _31):
        left = _U(32) - width - (offset & _31)
        return ((x << left).view(np.int32) >> (_U(32) - width).view(np.int32)).view(_U)
    field = (x.view(np.int32) >> (offset & _31).view(np.int32)).view(_U) & ((_U(1) << width) - _U(1))
    sign = np.where(width == 0, _U(0), _U(1) << (width - _U(1) & _31))
    return (field ^ sign) - sign


def bit_field(mask: Array, ones: Array, zeros: Array) -> Array:
    """The second where the mask has ones, else the third."""
    return (mask & ones) | (~mask & zeros)


def bit_field_mask(width: Array, offset: Array) -> Array:
    return ((_U(1) << (width & _31)) - _U(1)) << (offset & _31)


def permute_bytes(x: Array, y: Array, select: Array) -> Array:
    """Each byte chosen of the eight of x (upper) and y.

    Codes: 0 to 7 a byte; 8 to 11 the sign of a byte pair; 12 zeros; more than that ones.
    """
    if select.size == 1:
        return _permute_fixed(x, y, int(select.flat[0]))
    pair = x.astype(_W) << _W(32) | y
    result = np.zeros(np.broadcast(pair, select).shape, _U)
    for byte in range(4):
        code = select >> _U(8 * byte) & _U(255)
        value = (pair >> (np.minimum(code, 7).astype(_W) * _W(8)) & _W(255)).astype(_U)
        place = (code.astype(_W) - _W(8) & _W(3)) * _W(16) + _W(15)
        sign = (pair >> place & _W(1)).astype(_U) * _U(255)
        value = np.where(code < 8, value, np.where(code < 12, sign, np.where(code == 12, _U(0), _U(255))))
        result |= value << _U(8 * byte)
    return result


def _permute_fixed(x: Array, y: Array, select: int) -> Array:
    """The same with one choice for all: much the most frequent case."""
    result: Array = np.zeros((1, 1), _U)
    for byte in range(4):
        code = select >> 8 * byte & 255
        source = x if 4 <= code < 8 or code in (10, 11) else y
        if code < 8:
            value: Array = source >> _U(8 * (code & 3)) & _U(255)
        elif code < 12:
            value = (source >> _U(16 * (code & 1) + 15) & _U(1)) * _U(255)
        else:
            value = np.full((1, 1), 0 if code == 12 else 255, _U)
        result = result | value << _U(8 * byte)
    return result


def align_bit(x: Array, y: Array, count: Array) -> Array:
    """32 bits of the 64 of x (upper) and y, from a bit on."""
    return ((x.astype(_W) << _W(32) | y) >> (count & _31).astype(_W)).astype(_U)


def align_byte(x: Array, y: Array, count: Array) -> Array:
    """32 bits of the 64 of x (upper) and y, from a byte on."""
    return ((x.astype(_W) << _W(32) | y) >> ((count & _U(3)) * _U(8)).astype(_W)).astype(_U)


def reverse_bits(x: Array) -> Array:
    for shift, mask in ((1, 0x55555555), (2, 0x33333333), (4, 0x0F0F0F0F), (8, 0x00FF00FF)):
        x = (x >> _U(shift) & _U(mask)) | (x & _U(mask)) << _U(shift)
    return x >> _U(16) | x << _U(16)


def leading_zeros(x: Array) -> Array:
    """Zeros before the first one, all ones for 0."""
    return np.where(x == 0, _U(0xFFFFFFFF), (32 - np.frexp(x.astype(np.float64))[1]).astype(_U))


def trailing_zeros(x: Array) -> Array:
    """Place of the lowest one, all ones for 0."""
    lowest = x & (~x + _U(1))
    return np.where(x == 0, _U(0xFFFFFFFF), (np.frexp(lowest.astype(np.float64))[1] - 1).astype(_U))


def leading_signs(x: Array) -> Array:
    """Bits before the first that differs from the sign, all ones when none does."""
    return leading_zeros(np.where(x.view(np.int32) < 0, ~x, x))


def sum_of_differences(x: Array, y: Array, z: Array) -> Array:
    """Z plus the absolute differences of four bytes."""
    for shift in (0, 8, 16, 24):
        p, q = x >> _U(shift) & _U(255), y >> _U(shift) & _U(255)
        z = z + np.maximum(p, q) - np.minimum(p, q)
    return z


def saturated_bytes(x: Array) -> Array:
    """Two signed halves, saturated to unsigned bytes."""
    low = np.clip((x << _U(16)).view(np.int32) >> np.int32(16), 0, 255)
    high = np.clip(x.view(np.int32) >> np.int32(16), 0, 255)
    result: Array = (low | high << np.int32(8)).view(_U)
    return result
