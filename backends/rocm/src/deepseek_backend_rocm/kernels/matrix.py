"""Products of int8 matrices on matrix instructions: convolutions, and what is written as one; batched products."""

import triton
import triton.language as tl

from deepseek_backend_rocm.kernels.numerics import added, requantized, rounded

__all__ = ["conv", "matmul"]

POINT, TAPS, TABLE = tl.constexpr(0), tl.constexpr(1), tl.constexpr(2)
"""How rows of the left matrix are found: they lie in memory; tap by tap of a window; by a table of every product."""


@triton.jit
def conv(
    x, w, bias, factor, classes, table, addend, y,
    rows, n, c, depth, x_row, y_row, h, wide, oh, ow, kw, taps, sh, sw, dh, dw, top, left, columns,
    zero, low, high, addend_zero, sum_zero, sum_low, sum_high, own_scale, addend_scale, sum_scale, real_low, real_high,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, MODE: tl.constexpr, EVEN: tl.constexpr, ADD: tl.constexpr,
    REAL: tl.constexpr,
):  # fmt: skip
    """y[row, j] = requantized(Σ_k x[row, k] · w[j, k] + bias[class of row, j]), codes in NHWC; program (i, j, group).

    Args:
        x: int8 [images, h, wide, x_row]; a group reads `c` of the x_row channels.
        w: int8 [groups · n, depth], zero from the last product of a tap on up to a multiple of BK.
        bias: int32 [classes, groups · n], the input's zero point in it. Positions at the border have classes of their
            own, because products with padding are left out.
        factor: float32 [groups · n].
        classes: int32 [oh + ow]: class of each position along each axis; in POINT mode unused.
        table: int32 [3, depth] in TABLE mode: vertical and horizontal place, and offset, of each product.
        addend: int8 [rows, y_row].
        y: int8 [rows, y_row]; where REAL, float32(Σ) · factor, cut off to [real_low, real_high].
        rows: images · oh · ow.
        columns: classes along the horizontal axis.
    """
    group = tl.program_id(2)
    row = tl.program_id(0) * BM + tl.arange(0, BM)
    column = tl.program_id(1) * BN + tl.arange(0, BN)
    k = tl.arange(0, BK)
    x += group * c
    w += group * n * depth
    inside = tl.minimum(row, rows - 1)
    weights = w + tl.minimum(column, n - 1)[None, :] * depth + k[:, None]
    acc = tl.zeros((BM, BN), dtype=tl.int32)
    kind = tl.zeros((BM,), dtype=tl.int32)
    if MODE == POINT:
        places = x + inside[:, None] * x_row + k[None, :]
        for first in range(0, c, BK):
            if EVEN:
                a = tl.load(places + first)
            else:
                a = tl.load(places + first, mask=(first + k < c)[None, :], other=0)
            acc = tl.dot(a, tl.load(weights + first), acc, out_dtype=tl.int32)
    else:
        across, down, image = inside % ow, inside // ow % oh, inside // (ow * oh)
        kind = tl.load(classes + down) * columns + tl.load(classes + oh + across)
        start_down, start_across = down * sh - top, across * sw - left
        corner = ((image * h + start_down) * wide + start_across) * x_row
        if MODE == TAPS:
            step = depth // taps
            for tap in range(taps):
                move_down, move_across = tap // kw * dh, tap % kw * dw
                at_down, at_across = start_down + move_down, start_across + move_across
                valid = (at_down >= 0) & (at_down < h) & (at_across >= 0) & (at_across < wide)
                places = x + (corner + (move_down * wide + move_across) * x_row)[:, None] + k[None, :]
                for first in range(0, c, BK):
                    if EVEN:
                        a = tl.load(places + first, mask=valid[:, None], other=0)
                    else:
                        a = tl.load(places + first, mask=valid[:, None] & (first + k < c)[None, :], other=0)
                    acc = tl.dot(a, tl.load(weights + tap * step + first), acc, out_dtype=tl.int32)
        else:
            for first in range(0, depth, BK):
                at_down = start_down[:, None] + tl.load(table + first + k)[None, :]
                at_across = start_across[:, None] + tl.load(table + depth + first + k)[None, :]
                offset = tl.load(table + 2 * depth + first + k)
                valid = (at_down >= 0) & (at_down < h) & (at_across >= 0) & (at_across < wide)
                a = tl.load(x + corner[:, None] + offset[None, :], mask=valid, other=0)
                acc = tl.dot(a, tl.load(weights + first), acc, out_dtype=tl.int32)
    own = group * n + column
    exists = column < n
    acc += tl.load(bias + kind[:, None] * y_row + own[None, :], mask=exists[None, :], other=0)
    factors = tl.load(factor + own, mask=exists, other=0.0)
    places = row[:, None] * y_row + own[None, :]
    stored = (row < rows)[:, None] & exists[None, :]
    if REAL:
        real = acc.to(tl.float32) * factors[None, :]
        tl.store(y + places, tl.minimum(tl.maximum(real, real_low), real_high), mask=stored)
        return
    codes = requantized(acc, factors[None, :], zero, low, high)
    if ADD:
        other = tl.load(addend + places, mask=stored, other=0).to(tl.int32)
        codes = added(codes, other, zero, addend_zero, sum_zero, sum_low, sum_high, own_scale, addend_scale, sum_scale)
    tl.store(y + places, codes.to(tl.int8), mask=stored)


@triton.jit
def matmul(
    a, b, y,
    m, n, k, inner, a_outer, a_inner, b_outer, b_inner, y_outer, y_inner, a_row, a_k, b_k, b_column, y_row,
    a_zero, b_zero, zero, low, high, factor, real_low, real_high,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, A_ROWS: tl.constexpr, B_COLUMNS: tl.constexpr,
    REAL: tl.constexpr,
):  # fmt: skip
    """y[i, j] = requantized(Σ_k (a[i, k] − a_zero) · (b[k, j] − b_zero)) of int8 codes; program (i, j, batch).

    Args:
        inner: sizes of the inner of two batch axes; both have strides of their own, 0 to repeat a matrix.
        a_row, a_k, b_k, b_column: strides. A_ROWS says that a_k is 1, B_COLUMNS that b_k is 1, else b_column is.
        factor: float32(float32(s_a · s_b) / s_y); where REAL, float32(s_a · s_b), and y is float32.
    """
    outer_batch, inner_batch = tl.program_id(2) // inner, tl.program_id(2) % inner
    row = tl.program_id(0) * BM + tl.arange(0, BM)
    column = tl.program_id(1) * BN + tl.arange(0, BN)
    at = tl.arange(0, BK)
    a += outer_batch * a_outer + inner_batch * a_inner + tl.minimum(row, m - 1)[:, None] * a_row
    b += outer_batch * b_outer + inner_batch * b_inner
    if B_COLUMNS:
        b += tl.minimum(column, n - 1)[None, :] * b_column
    else:
        b += tl.minimum(column, n - 1)[None, :]
    acc = tl.zeros((BM, BN), dtype=tl.int32)
    sums_a = tl.zeros((BM,), dtype=tl.int32)
    sums_b = tl.zeros((BN,), dtype=tl.int32)
    for first in range(0, k, BK):
        index = first + at
        step_a = index if A_ROWS else index * a_k
        step_b = index if B_COLUMNS else index * b_k
        left = tl.load(a + step_a[None, :], mask=(index < k)[None, :], other=0)
        right = tl.load(b + step_b[:, None], mask=(index < k)[:, None], other=0)
        acc = tl.dot(left, right, acc, out_dtype=tl.int32)
        sums_a += tl.sum(left.to(tl.int32), 1)
        sums_b += tl.sum(right.to(tl.int32), 0)
    acc += k * a_zero * b_zero - sums_a[:, None] * b_zero - sums_b[None, :] * a_zero
    ratio = acc.to(tl.float32) * factor
    y += outer_batch * y_outer + inner_batch * y_inner
    stored = (row < m)[:, None] & (column < n)[None, :]
    if REAL:
        real = tl.minimum(tl.maximum(ratio, real_low), real_high)
        tl.store(y + row[:, None] * y_row + column[None, :], real, mask=stored)
        return
    bounded = tl.minimum(tl.maximum(ratio, (low - zero).to(tl.float32)), (high - zero).to(tl.float32))
    codes = rounded(bounded) + zero
    tl.store(y + row[:, None] * y_row + column[None, :], codes.to(tl.int8), mask=stored)
