"""One product in two launches, where few workgroups would sum for long: parts of every sum, then their sums.

Sums are integers modulo 2^32, so parts may be added in any order.
"""

import triton
import triton.language as tl

from deepseek_backend_rocm.kernels.numerics import added, requantized

__all__ = ["join", "part"]


@triton.jit
def part(
    x, w, y, rows, n, c, depth, x_row, span,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, EVEN: tl.constexpr,
):  # fmt: skip
    """y[s, row, j] = Σ x[row, k] · w[j, k] over the `span` places k from s · span on; program (i, j, s).

    Args:
        x: int8 [rows, x_row], of which `c` places count.
        w: int8 [n, depth], zero from place c on.
        y: int32 [parts, rows, n].
        span: a multiple of BK. EVEN says that BK divides c.
    """
    row = tl.program_id(0) * BM + tl.arange(0, BM)
    column = tl.program_id(1) * BN + tl.arange(0, BN)
    k = tl.arange(0, BK)
    start = tl.program_id(2) * span
    places = x + tl.minimum(row, rows - 1)[:, None] * x_row + k[None, :]
    weights = w + tl.minimum(column, n - 1)[None, :] * depth + k[:, None]
    acc = tl.zeros((BM, BN), dtype=tl.int32)
    for first in range(start, tl.minimum(start + span, c), BK):
        if EVEN:
            a = tl.load(places + first)
        else:
            a = tl.load(places + first, mask=(first + k < c)[None, :], other=0)
        acc = tl.dot(a, tl.load(weights + first), acc, out_dtype=tl.int32)
    y += tl.program_id(2) * rows * n
    tl.store(y + row[:, None] * n + column[None, :], acc, mask=(row < rows)[:, None] & (column < n)[None, :])


@triton.jit
def join(
    x, bias, factor, addend, y, count, n, parts,
    zero, low, high, addend_zero, sum_zero, sum_low, sum_high, own_scale, addend_scale, sum_scale, real_low, real_high,
    BLOCK: tl.constexpr, ADD: tl.constexpr, REAL: tl.constexpr,
):  # fmt: skip
    """y[i] = requantized(Σ_s x[s, i] + bias[i mod n]); numbers as `matrix.conv` has them.

    Args:
        x: int32 [parts, count].
        count: rows · n.
    """
    index = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    exists = index < count
    acc = tl.load(bias + index % n, mask=exists, other=0)
    for s in range(parts):
        acc += tl.load(x + s * count + index, mask=exists, other=0)
    factors = tl.load(factor + index % n, mask=exists, other=0.0)
    if REAL:
        real = acc.to(tl.float32) * factors
        tl.store(y + index, tl.minimum(tl.maximum(real, real_low), real_high), mask=exists)
        return
    codes = requantized(acc, factors, zero, low, high)
    if ADD:
        other = tl.load(addend + index, mask=exists, other=0).to(tl.int32)
        codes = added(codes, other, zero, addend_zero, sum_zero, sum_low, sum_high, own_scale, addend_scale, sum_scale)
    tl.store(y + index, codes.to(tl.int8), mask=exists)
