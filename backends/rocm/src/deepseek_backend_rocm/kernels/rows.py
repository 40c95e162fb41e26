"""Rows that are summed: means, softmax, layer normalization. Each row is read in pieces, so it may have any length."""

import triton
import triton.language as tl

from deepseek_backend_rocm.kernels.numerics import codes_of

__all__ = ["layer_norm", "mean", "softmax"]


@triton.jit
def mean(x, y, rows, count, x_zero, zero, x_scale, y_scale, BM: tl.constexpr, BLOCK: tl.constexpr):
    """y [rows] = quantized(mean of x [rows, count]), int8 codes."""
    row = tl.program_id(0) * BM + tl.arange(0, BM)
    column = tl.arange(0, BLOCK)
    sums = tl.zeros((BM, BLOCK), dtype=tl.int32)
    for first in range(0, count, BLOCK):
        mask = (row < rows)[:, None] & (first + column < count)[None, :]
        codes = tl.load(x + row[:, None] * count + first + column[None, :], mask=mask, other=0).to(tl.int32)
        sums += tl.where(mask, codes - x_zero, 0)
    real = tl.sum(sums, 1).to(tl.float32) * x_scale
    parts = tl.zeros_like(real) + count * 1.0
    ratio = tl.div_rn(tl.div_rn(real, parts), tl.zeros_like(real) + y_scale)
    tl.store(y + row, codes_of(ratio, zero, -128, 127).to(tl.int8), mask=row < rows)


@triton.jit
def softmax(x, table, y, rows, count, zero, y_scale, BM: tl.constexpr, BLOCK: tl.constexpr):
    """y = quantized(softmax of each row of x [rows, count]), int8 codes; table [256] = exp(−i · s_x) in float32."""
    row = tl.program_id(0) * BM + tl.arange(0, BM)
    column = tl.arange(0, BLOCK)
    places = row[:, None] * count + column[None, :]
    best = tl.zeros((BM, BLOCK), dtype=tl.int32) - 128
    for first in range(0, count, BLOCK):
        mask = (row < rows)[:, None] & (first + column < count)[None, :]
        codes = tl.load(x + places + first, mask=mask, other=-128).to(tl.int32)
        best = tl.maximum(best, codes)
    highest = tl.max(best, 1)
    sums = tl.zeros((BM, BLOCK), dtype=tl.float32)
    for first in range(0, count, BLOCK):
        mask = (row < rows)[:, None] & (first + column < count)[None, :]
        codes = tl.load(x + places + first, mask=mask, other=-128).to(tl.int32)
        sums += tl.load(table + (highest[:, None] - codes), mask=mask, other=0.0)
    total = tl.sum(sums, 1)
    for first in range(0, count, BLOCK):
        mask = (row < rows)[:, None] & (first + column < count)[None, :]
        codes = tl.load(x + places + first, mask=mask, other=-128).to(tl.int32)
        powers = tl.load(table + (highest[:, None] - codes), mask=mask, other=0.0)
        share = tl.div_rn(powers, tl.zeros_like(powers) + total[:, None])
        ratio = tl.div_rn(share, tl.zeros_like(share) + y_scale)
        tl.store(y + places + first, codes_of(ratio, zero, -128, 127).to(tl.int8), mask=mask)


@triton.jit
def layer_norm(
    x, gain, shift, y, rows, count, x_zero, zero, x_scale, y_scale, epsilon, BM: tl.constexpr, BLOCK: tl.constexpr
):
    """y = quantized((x − mean) / sqrt(variance + epsilon) · gain + shift) by row of x [rows, count], int8 codes."""
    row = tl.program_id(0) * BM + tl.arange(0, BM)
    column = tl.arange(0, BLOCK)
    places = row[:, None] * count + column[None, :]
    sums = tl.zeros((BM, BLOCK), dtype=tl.int32)
    for first in range(0, count, BLOCK):
        mask = (row < rows)[:, None] & (first + column < count)[None, :]
        codes = tl.load(x + places + first, mask=mask, other=0).to(tl.int32)
        sums += tl.where(mask, codes - x_zero, 0)
    parts = tl.zeros((BM,), dtype=tl.float32) + count * 1.0
    middle = tl.div_rn(tl.sum(sums, 1).to(tl.float32) * x_scale, parts)
    squares = tl.zeros((BM, BLOCK), dtype=tl.float32)
    for first in range(0, count, BLOCK):
        mask = (row < rows)[:, None] & (first + column < count)[None, :]
        codes = tl.load(x + places + first, mask=mask, other=0).to(tl.int32)
        distance = (codes - x_zero).to(tl.float32) * x_scale - middle[:, None]
        squares += tl.where(mask, distance * distance, 0.0)
    spread = tl.sqrt_rn(tl.div_rn(tl.sum(squares, 1), parts) + epsilon)
    for first in range(0, count, BLOCK):
        exists = first + column < count
        mask = (row < rows)[:, None] & exists[None, :]
        codes = tl.load(x + places + first, mask=mask, other=0).to(tl.int32)
        distance = (codes - x_zero).to(tl.float32) * x_scale - middle[:, None]
        normal = tl.div_rn(distance, tl.zeros_like(distance) + spread[:, None])
        gains = tl.load(gain + first + column, mask=exists, other=0.0)
        shifts = tl.load(shift + first + column, mask=exists, other=0.0)
        ratio = tl.div_rn(normal * gains[None, :] + shifts[None, :], tl.zeros_like(normal) + y_scale)
        tl.store(y + places + first, codes_of(ratio, zero, -128, 127).to(tl.int8), mask=mask)
