"""Products of two matrices of real numbers, summed in float32."""

import triton
import triton.language as tl

__all__ = ["matmul_real"]


@triton.jit
def matmul_real(
    a, b, y,
    m, n, k, inner, a_outer, a_inner, b_outer, b_inner, y_outer, y_inner, a_row, a_k, b_k, b_column, y_row, low, high,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, A_ROWS: tl.constexpr, B_COLUMNS: tl.constexpr,
):  # fmt: skip
    """y[i, j] = Σ_k a[i, k] · b[k, j], cut off to [low, high]; program (i, j, batch).

    float16 goes to the matrix core as it is, float32 where one takes it, else to the lanes; arguments as
    `matrix.matmul` has them.
    """
    outer_batch, inner_batch = tl.program_id(2) // inner, tl.program_id(2) % inner
    row = tl.program_id(0) * BM + tl.arange(0, BM)
    column = tl.program_id(1) * BN + tl.arange(0, BN)
    at = tl.arange(0, BK)
    a += outer_batch * a_outer + inner_batch * a_inner + tl.minimum(row, m - 1)[:, None] * (a_row if A_ROWS else 1)
    b += outer_batch * b_outer + inner_batch * b_inner
    b += tl.minimum(column, n - 1)[None, :] * (b_column if B_COLUMNS else 1)
    acc = tl.zeros((BM, BN), dtype=tl.float32)
    for first in range(0, k, BK):
        index = first + at
        left = tl.load(a + (index if A_ROWS else index * a_k)[None, :], mask=(index < k)[None, :], other=0.0)
        right = tl.load(b + (index if B_COLUMNS else index * b_k)[:, None], mask=(index < k)[:, None], other=0.0)
        acc = tl.dot(left, right, acc, input_precision="ieee")
    acc = tl.where(acc < low, low, acc)
    acc = tl.where(acc > high, high, acc)
    y += outer_batch * y_outer + inner_batch * y_inner
    stored = (row < m)[:, None] & (column < n)[None, :]
    tl.store(y + row[:, None] * y_row + column[None, :], acc.to(y.dtype.element_ty), mask=stored)
