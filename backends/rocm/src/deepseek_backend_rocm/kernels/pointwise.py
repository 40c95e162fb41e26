"""Element by element: binary ops with broadcasting, tables of codes, conversions."""

import triton
import triton.language as tl

from deepseek_backend_rocm.kernels.numerics import codes_of

__all__ = ["binary", "dequantize", "lookup", "quantize"]


@triton.jit
def _places(index, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, RANK: tl.constexpr):
    """Where elements of a tensor of `RANK` axes lie, given their index in C order; d1 … are sizes behind the first."""
    if RANK == 1:
        return index * s0
    if RANK == 3:
        return index // (d1 * d2) * s0 + index // d2 % d1 * s1 + index % d2 * s2
    low, high = index % (d4 * d5), index // (d4 * d5)
    inner = low // d5 * s4 + low % d5 * s5
    return high // (d1 * d2 * d3) * s0 + high // (d2 * d3) % d1 * s1 + high // d3 % d2 * s2 + high % d3 * s3 + inner


@triton.jit
def binary(
    a, b, y,
    count, d1, d2, d3, d4, d5, a0, a1, a2, a3, a4, a5, b0, b1, b2, b3, b4, b5,
    a_zero, b_zero, zero, low, high, a_scale, b_scale, y_scale,
    OP: tl.constexpr, RANK: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """y = quantized(op(dequantized a, dequantized b)) of int8 codes, in float32; y lies in C order of the sizes."""
    index = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    exists = index < count
    at_a = _places(index, d1, d2, d3, d4, d5, a0, a1, a2, a3, a4, a5, RANK)
    at_b = _places(index, d1, d2, d3, d4, d5, b0, b1, b2, b3, b4, b5, RANK)
    left = (tl.load(a + at_a, mask=exists, other=0).to(tl.int32) - a_zero).to(tl.float32) * a_scale
    right = (tl.load(b + at_b, mask=exists, other=0).to(tl.int32) - b_zero).to(tl.float32) * b_scale
    if OP == "Add":
        real = left + right
    elif OP == "Sub":
        real = left - right
    elif OP == "Mul":
        real = left * right
    elif OP == "Div":
        real = tl.div_rn(left, right)
    elif OP == "Min":
        real = tl.minimum(left, right)
    else:
        real = tl.maximum(left, right)
    ratio = tl.div_rn(real, tl.zeros_like(real) + y_scale)
    tl.store(y + index, codes_of(ratio, zero, low, high).to(tl.int8), mask=exists)


@triton.jit
def lookup(x, table, y, count, BLOCK: tl.constexpr):
    """y = table[x]: int8 codes by a table of 256 in the order of the byte."""
    index = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    exists = index < count
    byte = tl.load(x + index, mask=exists, other=0).to(tl.int32) & 255
    tl.store(y + index, tl.load(table + byte, mask=exists, other=0), mask=exists)


@triton.jit
def quantize(x, scale, zero, y, count, channels, inner, BLOCK: tl.constexpr):
    """y = saturate(round_half_even(x / scale) + zero): float32 [outer, channels, inner] to int8."""
    index = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    exists = index < count
    channel = index // inner % channels
    divisor = tl.load(scale + channel, mask=exists, other=1.0)
    ratio = tl.div_rn(tl.load(x + index, mask=exists, other=0.0).to(tl.float32), divisor)
    offset = tl.load(zero + channel, mask=exists, other=0)
    tl.store(y + index, codes_of(ratio, offset, -128, 127).to(tl.int8), mask=exists)


@triton.jit
def dequantize(x, scale, zero, y, count, channels, inner, BLOCK: tl.constexpr):
    """y = (x − zero) · scale: int8 or int32 [outer, channels, inner] to float32."""
    index = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    exists = index < count
    channel = index // inner % channels
    offset = tl.load(zero + channel, mask=exists, other=0)
    codes = tl.load(x + index, mask=exists, other=0).to(tl.int32) - offset
    real = codes.to(tl.float32) * tl.load(scale + channel, mask=exists, other=1.0)
    tl.store(y + index, real.to(y.dtype.element_ty), mask=exists)
