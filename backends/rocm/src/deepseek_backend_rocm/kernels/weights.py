"""Products of real numbers with quantized weights: codes are read, and made numbers next to the matrix instruction."""

import triton
import triton.language as tl

__all__ = ["weight_only"]


@triton.jit
def _dot(x, codes, acc, EXACT: tl.constexpr):
    """acc + x [BM, K] · codes [K, BN]; float32 as three bfloat16 (8 bits each hold all 24), or rounded to float16."""
    if EXACT:
        weights = codes.to(tl.bfloat16)
        first = x.to(tl.bfloat16)
        left = x - first.to(tl.float32)
        second = left.to(tl.bfloat16)
        third = (left - second.to(tl.float32)).to(tl.bfloat16)
        acc = tl.dot(third, weights, acc)
        acc = tl.dot(second, weights, acc)
        return tl.dot(first, weights, acc)
    return tl.dot(x.to(tl.float16), codes.to(tl.float16), acc)


@triton.jit
def weight_only(
    x, w, scale, zero, bias, y,
    m, n, k, pitch, block, low, high,
    BM: tl.constexpr, BN: tl.constexpr, BITS: tl.constexpr, EXACT: tl.constexpr,
):  # fmt: skip
    """y[i, j] = Σ_k x[i, k] · (w[j, k] − zero) · scale + bias[j], cut off to [low, high]; program (i, j).

    Args:
        x: float32 or float16 [m, k].
        w: int8 [n, pitch] codes; with 4 bits uint8 [n, pitch / 2], where a byte has places p and p + 16 of 32, the
            first one in its low half. Zero from place k on.
        scale: float32 [ceil(k / block), n].
        zero: int8 of the same shape.
        bias: float32 [n].
        block: places that share a scale, a multiple of 32; or all of them.
    """
    row = tl.program_id(0) * BM + tl.arange(0, BM)
    column = tl.program_id(1) * BN + tl.arange(0, BN)
    exists = column < n
    inside = tl.minimum(row, m - 1)
    chosen = tl.minimum(column, n - 1)
    total = tl.zeros((BM, BN), dtype=tl.float32)
    for first in range(0, k, 32):
        group = first // block * n + column
        offset = tl.load(zero + group, mask=exists, other=0).to(tl.int32)
        acc = tl.zeros((BM, BN), dtype=tl.float32)
        if BITS == 8:
            place = first + tl.arange(0, 32)
            real = tl.load(x + inside[:, None] * k + place[None, :], mask=(place < k)[None, :], other=0.0)
            codes = tl.load(w + chosen[None, :] * pitch + place[:, None]).to(tl.int32) - offset[None, :]
            acc = _dot(real, codes.to(tl.float32), acc, EXACT)
        else:
            half = tl.arange(0, 16)
            place = first + half
            both = tl.load(w + chosen[None, :] * (pitch // 2) + first // 2 + half[:, None]).to(tl.int32)
            real = tl.load(x + inside[:, None] * k + place[None, :], mask=(place < k)[None, :], other=0.0)
            acc = _dot(real, ((both & 15) - offset[None, :]).to(tl.float32), acc, EXACT)
            real = tl.load(x + inside[:, None] * k + place[None, :] + 16, mask=(place + 16 < k)[None, :], other=0.0)
            acc = _dot(real, ((both >> 4) - offset[None, :]).to(tl.float32), acc, EXACT)
        total += acc * tl.load(scale + group, mask=exists, other=0.0)[None, :]
    total += tl.load(bias + column, mask=exists, other=0.0)[None, :]
    total = tl.where(total < low, low, total)
    total = tl.where(total > high, high, total)
    places = row[:, None] * n + column[None, :]
    tl.store(y + places, total.to(y.dtype.element_ty), mask=(row < m)[:, None] & exists[None, :])
