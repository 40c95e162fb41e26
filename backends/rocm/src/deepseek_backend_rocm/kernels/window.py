"""Windows without matrix instructions: depthwise convolutions and pooling, NHWC."""

import triton
import triton.language as tl

from deepseek_backend_rocm.kernels.numerics import rounded

__all__ = ["depthwise", "pool"]


@triton.jit
def depthwise(
    x, w, bias, factor, y,
    rows, c, h, wide, oh, ow, kh, kw, sh, sw, dh, dw, top, left, x_zero, zero, low, high,
    BM: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """One input channel for each output channel; program (positions, channels).

    Args:
        x: int8 [images, h, wide, c].
        w: int8 [kh · kw, c].
        bias: int32 [c].
        factor: float32 [c].
        y: int8 [rows, c] with rows = images · oh · ow.
    """
    row = tl.program_id(0) * BM + tl.arange(0, BM)
    channel = tl.program_id(1) * BC + tl.arange(0, BC)
    exists = channel < c
    across, down, image = row % ow, row // ow % oh, row // (ow * oh)
    start_down, start_across = down * sh - top, across * sw - left
    acc = tl.zeros((BM, BC), dtype=tl.int32)
    for r in range(kh):
        at_down = start_down + r * dh
        for s in range(kw):
            at_across = start_across + s * dw
            valid = (at_down >= 0) & (at_down < h) & (at_across >= 0) & (at_across < wide) & (row < rows)
            place = ((image * h + at_down) * wide + at_across) * c
            codes = tl.load(x + place[:, None] + channel[None, :], mask=valid[:, None] & exists[None, :], other=0)
            weights = tl.load(w + (r * kw + s) * c + channel, mask=exists, other=0).to(tl.int32)
            centred = tl.where(valid[:, None], codes.to(tl.int32) - x_zero, 0)
            acc += centred * weights[None, :]
    acc += tl.load(bias + channel, mask=exists, other=0)[None, :]
    ratio = acc.to(tl.float32) * tl.load(factor + channel, mask=exists, other=0.0)[None, :]
    bounded = tl.minimum(tl.maximum(ratio, (low - zero).to(tl.float32)), (high - zero).to(tl.float32))
    result = (rounded(bounded) + zero).to(tl.int8)
    tl.store(y + row[:, None] * c + channel[None, :], result, mask=(row < rows)[:, None] & exists[None, :])


@triton.jit
def pool(
    x, y,
    rows, c, h, wide, oh, ow, kh, kw, sh, sw, dh, dw, top, left, bottom, right, include_pad, x_zero, zero,
    x_scale, y_scale,
    BM: tl.constexpr, BC: tl.constexpr, MEAN: tl.constexpr,
):  # fmt: skip
    """Largest code, or rescaled mean, of each window; program (positions, channels).

    Args:
        x: int8 [images, h, wide, c].
        y: int8 [rows, c] with rows = images · oh · ow.
        include_pad: whether means count padding; 0 or 1. Places beyond bottom and right never count.
    """
    row = tl.program_id(0) * BM + tl.arange(0, BM)
    channel = tl.program_id(1) * BC + tl.arange(0, BC)
    exists = channel < c
    across, down, image = row % ow, row // ow % oh, row // (ow * oh)
    start_down, start_across = down * sh - top, across * sw - left
    total = tl.zeros((BM, BC), dtype=tl.int32)
    if not MEAN:
        total -= 128
    count = tl.zeros((BM,), dtype=tl.int32)
    for r in range(kh):
        at_down = start_down + r * dh
        for s in range(kw):
            at_across = start_across + s * dw
            valid = (at_down >= 0) & (at_down < h) & (at_across >= 0) & (at_across < wide) & (row < rows)
            place = ((image * h + at_down) * wide + at_across) * c
            mask = valid[:, None] & exists[None, :]
            codes = tl.load(x + place[:, None] + channel[None, :], mask=mask, other=0).to(tl.int32)
            if MEAN:
                total += tl.where(valid[:, None], codes - x_zero, 0)
                padded = (at_down < h + bottom) & (at_across < wide + right) & (include_pad > 0)
                count += (valid | padded).to(tl.int32)
            else:
                total = tl.maximum(total, tl.where(valid[:, None], codes, -128))
    if MEAN:
        parts = tl.zeros_like(total).to(tl.float32) + tl.maximum(count, 1).to(tl.float32)[:, None]
        mean = tl.div_rn(total.to(tl.float32) * x_scale, parts)
        ratio = tl.div_rn(mean, tl.zeros_like(mean) + y_scale)
        bounded = tl.minimum(tl.maximum(ratio, (-128 - zero).to(tl.float32)), (127 - zero).to(tl.float32))
        total = rounded(bounded) + zero
    stored = (row < rows)[:, None] & exists[None, :]
    tl.store(y + row[:, None] * c + channel[None, :], total.to(tl.int8), mask=stored)
