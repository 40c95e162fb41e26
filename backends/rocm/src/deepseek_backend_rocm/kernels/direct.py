"""Products of int8 matrices whose fragments come straight from memory, for wavefronts of RDNA 3 and 4.

A WMMA instruction takes 16 places of a row of either side from each lane: rows of weights and of the left matrix have
them next to each other, so that one wide load brings a fragment. LDS is left out, and with it two thirds of what the
inner loop would issue beside its matrix instructions. Only a language with layouts of its own says that: this is Gluon.
"""

import triton.experimental.gluon.language as gl
from triton.experimental import gluon

from deepseek_backend_rocm.kernels.numerics import added, requantized

__all__ = ["direct"]


@gluon.constexpr_function
def _bases(down, across):
    """Which step of a tile each bit of a wavefront's number makes."""
    rows = [[1 << bit, 0] for bit in range(down.bit_length() - 1)]
    return rows + [[0, 1 << bit] for bit in range(across.bit_length() - 1)]


@gluon.jit
def _multiplied(a, b, acc, VERSION: gl.constexpr):
    if VERSION == 1:
        return gl.amd.rdna3.wmma(a, b, acc)
    else:  # noqa: RET505 (both are compiled otherwise)
        return gl.amd.rdna4.wmma(a, b, acc)


@gluon.jit
def direct(
    x, w, bias, factor, classes, table, addend, y,
    rows, n, c, depth, x_row, y_row, h, wide, oh, ow, kw, taps, sh, sw, dh, dw, top, left, columns,
    zero, low, high, addend_zero, sum_zero, sum_low, sum_high, own_scale, addend_scale, sum_scale, real_low, real_high,
    BM: gl.constexpr, BN: gl.constexpr, BK: gl.constexpr, DOWN: gl.constexpr, ACROSS: gl.constexpr,
    VERSION: gl.constexpr, EVEN: gl.constexpr, ADD: gl.constexpr, REAL: gl.constexpr,
):  # fmt: skip
    """What `matrix.conv` computes in POINT mode, with its arguments.

    Args:
        DOWN, ACROSS: wavefronts along the rows and columns of a tile; powers of two.
        VERSION: of WMMA: 1 on RDNA 3, 2 on RDNA 4.
    """
    sums: gl.constexpr = gl.amd.AMDWMMALayout(VERSION, True, _bases(DOWN, ACROSS))
    own_rows: gl.constexpr = gl.DotOperandLayout(0, sums, 16 // VERSION)
    own_columns: gl.constexpr = gl.DotOperandLayout(1, sums, 16 // VERSION)
    group = gl.program_id(2)
    x += group * c
    w += group * n * depth
    row = gl.program_id(0) * BM + gl.arange(0, BM, layout=gl.SliceLayout(1, own_rows))
    column = gl.program_id(1) * BN + gl.arange(0, BN, layout=gl.SliceLayout(0, own_columns))
    at_x = gl.arange(0, BK, layout=gl.SliceLayout(0, own_rows))
    places = gl.minimum(row, rows - 1)[:, None] * x_row + at_x[None, :]
    at_w = gl.arange(0, BK, layout=gl.SliceLayout(1, own_columns))
    weights = gl.minimum(column, n - 1)[None, :] * depth + at_w[:, None]
    acc = gl.zeros((BM, BN), gl.int32, layout=sums)
    whole = c // BK * BK
    for _ in range(0, whole, BK):
        a = gl.amd.cdna3.buffer_load(x, places)
        acc = _multiplied(a, gl.amd.cdna3.buffer_load(w, weights), acc, VERSION)
        places += BK
        weights += BK
    if not EVEN:
        a = gl.amd.cdna3.buffer_load(x, places, mask=(whole + at_x < c)[None, :], other=0)
        acc = _multiplied(a, gl.amd.cdna3.buffer_load(w, weights), acc, VERSION)
    line = gl.program_id(0) * BM + gl.arange(0, BM, layout=gl.SliceLayout(1, sums))
    own = gl.program_id(1) * BN + gl.arange(0, BN, layout=gl.SliceLayout(0, sums))
    exists = own < n
    own += group * n
    acc += gl.amd.cdna3.buffer_load(bias, own, mask=exists, other=0)[None, :]
    factors = gl.amd.cdna3.buffer_load(factor, own, mask=exists, other=0.0)[None, :]
    places_y = line[:, None] * y_row + own[None, :]
    stored = (line < rows)[:, None] & exists[None, :]
    if REAL:
        real = acc.to(gl.float32) * factors
        gl.amd.cdna3.buffer_store(gl.minimum(gl.maximum(real, real_low), real_high), y, places_y, mask=stored)
    else:
        codes = requantized(acc, factors, zero, low, high)
        if ADD:
            other = gl.amd.cdna3.buffer_load(addend, places_y, mask=stored, other=0).to(gl.int32)
            codes = added(
                codes, other, zero, addend_zero, sum_zero, sum_low, sum_high, own_scale, addend_scale, sum_scale
            )
        gl.amd.cdna3.buffer_store(codes.to(gl.int8), y, places_y, mask=stored)
