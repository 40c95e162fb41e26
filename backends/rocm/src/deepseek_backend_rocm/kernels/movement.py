"""Moves of elements: strided copies, constants, indices."""

import triton
import triton.language as tl

from deepseek_backend_rocm.kernels.pointwise import _places

__all__ = ["copy", "fill", "gather"]


@triton.jit
def copy(
    x, y,
    count, x_offset, y_offset, d1, d2, d3, d4, d5, x0, x1, x2, x3, x4, x5, y0, y1, y2, y3, y4, y5,
    RANK: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Each element of a box of sizes (…, d1, d2, …) from one place to another; offsets and strides in elements."""
    index = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    exists = index < count
    at_x = x_offset + _places(index, d1, d2, d3, d4, d5, x0, x1, x2, x3, x4, x5, RANK)
    at_y = y_offset + _places(index, d1, d2, d3, d4, d5, y0, y1, y2, y3, y4, y5, RANK)
    tl.store(y + at_y, tl.load(x + at_x, mask=exists, other=0), mask=exists)


@triton.jit
def fill(y, count, value, BLOCK: tl.constexpr):
    """The same code everywhere."""
    index = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y + index, (tl.zeros((BLOCK,), tl.int32) + value).to(tl.int8), mask=index < count)


@triton.jit
def gather(x, indices, y, count, axis, inner, taken, BLOCK: tl.constexpr):
    """y [outer, taken, inner] = x [outer, axis, inner] at indices [taken]; those below 0 count from the end."""
    index = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    exists = index < count
    at = tl.load(indices + index // inner % taken, mask=exists, other=0).to(tl.int32)
    at = tl.minimum(tl.maximum(tl.where(at < 0, at + axis, at), 0), axis - 1)
    place = (index // (inner * taken) * axis + at) * inner + index % inner
    tl.store(y + index, tl.load(x + place, mask=exists, other=0), mask=exists)
