"""Attention in one launch: scores, softmax and the sum of values never leave the compute unit.

Dao et al., "FlashAttention: Fast and Memory-Efficient Exact Attention with IO-Awareness" (2022), section 3.1: a row's
largest score and the sum of its powers are kept up to date while keys come in blocks. Where probabilities are
quantized, their codes need the whole row's sum first: then keys are read twice, or once where one block has them all.
"""

import triton
import triton.language as tl

from deepseek_backend_rocm.kernels.numerics import codes_of

__all__ = ["attention", "attention_real"]

NONE, TIMES, OVER, CODES = tl.constexpr(0), tl.constexpr(1), tl.constexpr(2), tl.constexpr(3)
"""What becomes of scores before the mask: nothing, times a number, over a number, rounded to codes of that scale."""


@triton.jit
def _masked(
    scores, mask, row, column, m, n, scale, zero, mask_row, mask_column, SCALE: tl.constexpr, MASK: tl.constexpr
):
    """Scores scaled, with what is added to them; −∞ where there is no key."""
    if SCALE == TIMES:
        scores = scores * scale
    elif SCALE == OVER:
        scores = tl.div_rn(scores, tl.zeros_like(scores) + scale)
    elif SCALE == CODES:
        scores = (codes_of(scores, zero, -128, 127) - zero).to(tl.float32) * scale
    exists = (column < n)[None, :]
    if MASK:
        places = mask + row[:, None] * mask_row + column[None, :] * mask_column
        scores += tl.load(places, mask=exists & (row < m)[:, None], other=0.0)
    return tl.where(exists, scores, float("-inf"))


@triton.jit
def _largest(scores, best):
    """The largest score so far, and the same to subtract from scores: 0 where all of them are −∞."""
    best = tl.maximum(best, tl.max(scores, 1))
    return best, tl.where(best == float("-inf"), 0.0, best)


@triton.jit
def _scores(queries, sums, k, places, column, n, depth, at, q_zero, k_zero, factor):
    """Products of int8 queries with a block of keys, as real numbers."""
    mask = (at < depth)[:, None] & (column < n)[None, :]
    keys = tl.load(k + places, mask=mask, other=0)
    acc = tl.dot(queries, keys, out_dtype=tl.int32)
    acc += depth * q_zero * k_zero - sums[:, None] * k_zero - tl.sum(keys.to(tl.int32), 0)[None, :] * q_zero
    return acc.to(tl.float32) * factor


@triton.jit
def _codes(powers, total, column, n, p_scale, p_zero):
    """int8 codes of a block of probabilities; 0 where there is no key."""
    share = tl.div_rn(powers, tl.zeros_like(powers) + total[:, None])
    codes = codes_of(tl.div_rn(share, tl.zeros_like(powers) + p_scale), p_zero, -128, 127)
    return tl.where((column < n)[None, :], codes, 0).to(tl.int8)


@triton.jit
def attention(
    q, k, v, mask, y,
    m, n, depth, wide, inner, q_outer, q_inner, q_row, q_k, k_outer, k_inner, k_column, k_k,
    v_outer, v_inner, v_row, v_column, y_outer, y_inner, y_row, mask_outer, mask_inner, mask_row, mask_column,
    q_zero, k_zero, s_zero, p_zero, v_zero, zero, low, high, factor, scale, p_scale, y_factor, real_low, real_high,
    BM: tl.constexpr, BN: tl.constexpr, BD: tl.constexpr, BV: tl.constexpr, Q_ROWS: tl.constexpr,
    K_ROWS: tl.constexpr, V_ROWS: tl.constexpr, SCALE: tl.constexpr, MASK: tl.constexpr, WHOLE: tl.constexpr,
    REAL: tl.constexpr,
):  # fmt: skip
    """y = requantized(P · v), P = quantized(softmax(scaled(q · kᵀ) + mask)) of int8 codes; program (rows, 1, batch).

    Every number is what separate launches make, but for the order in which a row's powers are summed.

    Args:
        q, k, v: [.., m, depth], [.., n, depth], [.., n, wide]; Q_ROWS, K_ROWS, V_ROWS say that the last axis has
            stride 1, else the one before it has.
        mask: float32, with strides of its own, 0 to repeat; unused without MASK.
        inner: sizes of the inner of two batch axes.
        factor: float32(s_q · s_k), over the scale of the scores where they are codes.
        scale, s_zero: of the scores.
        p_scale, p_zero: of the probabilities.
        y_factor: float32(float32(s_p · s_v) / s_y); where REAL, float32(s_p · s_v), and y is float32.
        WHOLE: one block has all keys.
    """
    outer_batch, inner_batch = tl.program_id(2) // inner, tl.program_id(2) % inner
    row, at, across = tl.program_id(0) * BM + tl.arange(0, BM), tl.arange(0, BD), tl.arange(0, BV)
    column = tl.arange(0, BN)
    q += outer_batch * q_outer + inner_batch * q_inner
    k += outer_batch * k_outer + inner_batch * k_inner
    v += outer_batch * v_outer + inner_batch * v_inner
    mask += outer_batch * mask_outer + inner_batch * mask_inner
    inside = tl.minimum(row, m - 1)
    q_places = inside[:, None] * (q_row if Q_ROWS else 1) + at[None, :] * (1 if Q_ROWS else q_k)
    queries = tl.load(q + q_places, mask=(at < depth)[None, :], other=0)
    sums_q = tl.sum(queries.to(tl.int32), 1)
    step_k = k_column if K_ROWS else 1
    places_k = column[None, :] * step_k + at[:, None] * (1 if K_ROWS else k_k)
    step_v = v_row if V_ROWS else 1
    places_v = column[:, None] * step_v + across[None, :] * (1 if V_ROWS else v_column)
    best = tl.zeros((BM,), dtype=tl.float32) - float("inf")
    acc = tl.zeros((BM, BV), dtype=tl.int32)
    if WHOLE:
        real = _scores(queries, sums_q, k, places_k, column, n, depth, at, q_zero, k_zero, factor)
        real = _masked(real, mask, row, column, m, n, scale, s_zero, mask_row, mask_column, SCALE, MASK)
        best, origin = _largest(real, best)
        powers = tl.exp(real - origin[:, None])
        codes = _codes(powers, tl.sum(powers, 1), column, n, p_scale, p_zero)
        values = tl.load(v + places_v, mask=(column < n)[:, None] & (across < wide)[None, :], other=0)
        acc = tl.dot(codes, values, acc, out_dtype=tl.int32)
        sums_p = tl.sum(codes.to(tl.int32), 1)
        sums_v = tl.sum(values.to(tl.int32), 0)
    else:
        total = tl.zeros((BM,), dtype=tl.float32)
        for first in range(0, n, BN):
            own, places = first + column, places_k + first * step_k
            real = _scores(queries, sums_q, k, places, own, n, depth, at, q_zero, k_zero, factor)
            real = _masked(real, mask, row, own, m, n, scale, s_zero, mask_row, mask_column, SCALE, MASK)
            higher, origin = _largest(real, best)
            total = total * tl.exp(best - origin) + tl.sum(tl.exp(real - origin[:, None]), 1)
            best = higher
        origin = tl.where(best == float("-inf"), 0.0, best)
        sums_p = tl.zeros((BM,), dtype=tl.int32)
        sums_v = tl.zeros((BV,), dtype=tl.int32)
        for first in range(0, n, BN):
            own, places = first + column, places_k + first * step_k
            real = _scores(queries, sums_q, k, places, own, n, depth, at, q_zero, k_zero, factor)
            real = _masked(real, mask, row, own, m, n, scale, s_zero, mask_row, mask_column, SCALE, MASK)
            codes = _codes(tl.exp(real - origin[:, None]), total, own, n, p_scale, p_zero)
            exists = (own < n)[:, None] & (across < wide)[None, :]
            values = tl.load(v + places_v + first * step_v, mask=exists, other=0)
            acc = tl.dot(codes, values, acc, out_dtype=tl.int32)
            sums_p += tl.sum(codes.to(tl.int32), 1)
            sums_v += tl.sum(values.to(tl.int32), 0)
    acc += n * p_zero * v_zero - sums_p[:, None] * v_zero - sums_v[None, :] * p_zero
    ratio = acc.to(tl.float32) * y_factor
    y += outer_batch * y_outer + inner_batch * y_inner
    stored = (row < m)[:, None] & (across < wide)[None, :]
    if REAL:
        real = tl.minimum(tl.maximum(ratio, real_low), real_high)
        tl.store(y + row[:, None] * y_row + across[None, :], real, mask=stored)
        return
    tl.store(y + row[:, None] * y_row + across[None, :], codes_of(ratio, zero, low, high).to(tl.int8), mask=stored)


@triton.jit
def attention_real(
    q, k, v, mask, y,
    m, n, depth, wide, inner, q_outer, q_inner, q_row, q_k, k_outer, k_inner, k_column, k_k,
    v_outer, v_inner, v_row, v_column, y_outer, y_inner, y_row, mask_outer, mask_inner, mask_row, mask_column,
    scale,
    BM: tl.constexpr, BN: tl.constexpr, BD: tl.constexpr, BV: tl.constexpr, Q_ROWS: tl.constexpr,
    K_ROWS: tl.constexpr, V_ROWS: tl.constexpr, SCALE: tl.constexpr, MASK: tl.constexpr,
):  # fmt: skip
    """The same of float32, the products included; arguments as `attention` has them."""
    outer_batch, inner_batch = tl.program_id(2) // inner, tl.program_id(2) % inner
    row, at, across = tl.program_id(0) * BM + tl.arange(0, BM), tl.arange(0, BD), tl.arange(0, BV)
    column = tl.arange(0, BN)
    q += outer_batch * q_outer + inner_batch * q_inner
    k += outer_batch * k_outer + inner_batch * k_inner
    v += outer_batch * v_outer + inner_batch * v_inner
    mask += outer_batch * mask_outer + inner_batch * mask_inner
    inside = tl.minimum(row, m - 1)
    q_places = inside[:, None] * (q_row if Q_ROWS else 1) + at[None, :] * (1 if Q_ROWS else q_k)
    queries = tl.load(q + q_places, mask=(at < depth)[None, :], other=0.0)
    step_k = k_column if K_ROWS else 1
    places_k = column[None, :] * step_k + at[:, None] * (1 if K_ROWS else k_k)
    step_v = v_row if V_ROWS else 1
    places_v = column[:, None] * step_v + across[None, :] * (1 if V_ROWS else v_column)
    best = tl.zeros((BM,), dtype=tl.float32) - float("inf")
    total = tl.zeros((BM,), dtype=tl.float32)
    acc = tl.zeros((BM, BV), dtype=tl.float32)
    for first in range(0, n, BN):
        exists = first + column < n
        keys = tl.load(k + places_k + first * step_k, mask=(at < depth)[:, None] & exists[None, :], other=0.0)
        real = tl.dot(queries, keys, input_precision="ieee")
        real = _masked(real, mask, row, first + column, m, n, scale, 0, mask_row, mask_column, SCALE, MASK)
        higher, origin = _largest(real, best)
        less = tl.exp(best - origin)
        powers = tl.exp(real - origin[:, None])
        values = tl.load(v + places_v + first * step_v, mask=exists[:, None] & (across < wide)[None, :], other=0.0)
        acc = tl.dot(powers, values, acc * less[:, None], input_precision="ieee")
        total = total * less + tl.sum(powers, 1)
        best = higher
    y += outer_batch * y_outer + inner_batch * y_inner
    stored = (row < m)[:, None] & (across < wide)[None, :]
    share = tl.div_rn(acc, tl.zeros_like(acc) + total[:, None])
    tl.store(y + row[:, None] * y_row + across[None, :], share, mask=stored)
