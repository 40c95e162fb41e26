"""Ops on real numbers, float32 throughout."""

import triton
import triton.language as tl

from deepseek_backend_rocm.kernels.pointwise import _places

__all__ = ["binary_real", "cast", "layer_norm_real", "reduce_real", "softmax_real", "unary_real"]


@triton.jit
def binary_real(
    a, b, y,
    count, d1, d2, d3, d4, d5, a0, a1, a2, a3, a4, a5, b0, b1, b2, b3, b4, b5, low, high,
    OP: tl.constexpr, RANK: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """y = op(a, b), cut off to [low, high]; y lies in C order of the sizes."""
    index = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    exists = index < count
    left = tl.load(a + _places(index, d1, d2, d3, d4, d5, a0, a1, a2, a3, a4, a5, RANK), mask=exists, other=0.0)
    right = tl.load(b + _places(index, d1, d2, d3, d4, d5, b0, b1, b2, b3, b4, b5, RANK), mask=exists, other=1.0)
    if OP == "Add":
        real = left + right
    elif OP == "Sub":
        real = left - right
    elif OP == "Mul":
        real = left * right
    elif OP == "Div":
        real = tl.div_rn(left, right)
    elif OP == "Min":
        real = tl.where((left < right) | (left != left), left, right)
    else:
        real = tl.where((left > right) | (left != left), left, right)
    real = tl.where(real < low, low, real)
    tl.store(y + index, tl.where(real > high, high, real), mask=exists)


@triton.jit
def unary_real(x, y, count, low, high, OP: tl.constexpr, BLOCK: tl.constexpr):
    """y = op(x); Clip and Relu are the cut to [low, high], which lets NaN through."""
    index = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    exists = index < count
    real = tl.load(x + index, mask=exists, other=0.0)
    if OP == "Abs":
        real = tl.abs(real)
    elif OP == "Neg":
        real = -real
    elif OP == "Exp":
        real = tl.exp(real)
    elif OP == "Sqrt":
        real = tl.sqrt_rn(real)
    elif OP == "Erf":
        real = tl.erf(real)
    elif OP == "Gelu":
        real = 0.5 * real * (1.0 + tl.erf(real * 0.7071067811865476))
    elif OP == "Sigmoid":
        real = tl.div_rn(tl.zeros_like(real) + 1.0, 1.0 + tl.exp(-real))
    else:
        real = tl.where(real < low, low, real)
        real = tl.where(real > high, high, real)
    tl.store(y + index, real, mask=exists)


@triton.jit
def cast(x, y, count, BLOCK: tl.constexpr):
    """y = x as another type."""
    index = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    exists = index < count
    tl.store(y + index, tl.load(x + index, mask=exists, other=0).to(y.dtype.element_ty), mask=exists)


@triton.jit
def reduce_real(x, y, rows, count, OP: tl.constexpr, BM: tl.constexpr, BLOCK: tl.constexpr):
    """y [rows] = sum, mean or Euclidean length of each row of x [rows, count]."""
    row = tl.program_id(0) * BM + tl.arange(0, BM)
    column = tl.arange(0, BLOCK)
    sums = tl.zeros((BM, BLOCK), dtype=tl.float32)
    for first in range(0, count, BLOCK):
        mask = (row < rows)[:, None] & (first + column < count)[None, :]
        real = tl.load(x + row[:, None] * count + first + column[None, :], mask=mask, other=0.0)
        if OP == "ReduceL2":
            real = real * real
        sums += real
    total = tl.sum(sums, 1)
    if OP == "ReduceMean":
        total = tl.div_rn(total, tl.zeros_like(total) + count * 1.0)
    elif OP == "ReduceL2":
        total = tl.sqrt_rn(total)
    tl.store(y + row, total, mask=row < rows)


@triton.jit
def softmax_real(x, y, rows, count, BM: tl.constexpr, BLOCK: tl.constexpr):
    """y = softmax of each row of x [rows, count]."""
    row = tl.program_id(0) * BM + tl.arange(0, BM)
    column = tl.arange(0, BLOCK)
    places = row[:, None] * count + column[None, :]
    best = tl.zeros((BM, BLOCK), dtype=tl.float32) - float("inf")
    for first in range(0, count, BLOCK):
        mask = (row < rows)[:, None] & (first + column < count)[None, :]
        best = tl.maximum(best, tl.load(x + places + first, mask=mask, other=-float("inf")))
    highest = tl.max(best, 1)
    sums = tl.zeros((BM, BLOCK), dtype=tl.float32)
    for first in range(0, count, BLOCK):
        mask = (row < rows)[:, None] & (first + column < count)[None, :]
        powers = tl.exp(tl.load(x + places + first, mask=mask, other=0.0) - highest[:, None])
        sums += tl.where(mask, powers, 0.0)
    total = tl.sum(sums, 1)
    for first in range(0, count, BLOCK):
        mask = (row < rows)[:, None] & (first + column < count)[None, :]
        powers = tl.exp(tl.load(x + places + first, mask=mask, other=0.0) - highest[:, None])
        share = tl.div_rn(powers, tl.zeros_like(powers) + total[:, None])
        tl.store(y + places + first, share, mask=mask)


@triton.jit
def layer_norm_real(x, gain, shift, y, rows, count, epsilon, BM: tl.constexpr, BLOCK: tl.constexpr):
    """y = (x − mean) / sqrt(variance + epsilon) · gain + shift by row of x [rows, count]."""
    row = tl.program_id(0) * BM + tl.arange(0, BM)
    column = tl.arange(0, BLOCK)
    places = row[:, None] * count + column[None, :]
    parts = tl.zeros((BM,), dtype=tl.float32) + count * 1.0
    sums = tl.zeros((BM, BLOCK), dtype=tl.float32)
    for first in range(0, count, BLOCK):
        mask = (row < rows)[:, None] & (first + column < count)[None, :]
        sums += tl.load(x + places + first, mask=mask, other=0.0)
    middle = tl.div_rn(tl.sum(sums, 1), parts)
    squares = tl.zeros((BM, BLOCK), dtype=tl.float32)
    for first in range(0, count, BLOCK):
        mask = (row < rows)[:, None] & (first + column < count)[None, :]
        distance = tl.load(x + places + first, mask=mask, other=0.0) - middle[:, None]
        squares += tl.where(mask, distance * distance, 0.0)
    spread = tl.sqrt_rn(tl.div_rn(tl.sum(squares, 1), parts) + epsilon)
    for first in range(0, count, BLOCK):
        exists = first + column < count
        mask = (row < rows)[:, None] & exists[None, :]
        distance = tl.load(x + places + first, mask=mask, other=0.0) - middle[:, None]
        normal = tl.div_rn(distance, tl.zeros_like(distance) + spread[:, None])
        gains = tl.load(gain + first + column, mask=exists, other=0.0)
        shifts = tl.load(shift + first + column, mask=exists, other=0.0)
        tl.store(y + places + first, normal * gains[None, :] + shifts[None, :], mask=mask)
