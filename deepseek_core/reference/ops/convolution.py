"""Conv and ConvTranspose, on codes and on real numbers.

onnx.reference has both, but its Conv materializes a dilated kernel and gathers columns element by element: minutes
for a network at 224 px. The window arithmetic here serves codes and real numbers alike.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx_ir as ir

from deepseek_core.errors import ModelError
from deepseek_core.reference.accumulate import accumulate, finish, product_scale
from deepseek_core.reference.values import Array, Dequantized, Value, real
from deepseek_core.reference.windows import Window

__all__ = ["conv", "conv_transpose", "convolve"]


def conv(node: ir.Node, x: Value, w: Value, bias: Value = None) -> Value:
    """Conv-22. x [N, C, spatial…], w [M, C / group, kernel…], bias [M] → [N, M, positions…].

    On codes, with s_w per tensor or per output channel m:
        acc = Σ (x − z_x) · (w − z_w) + bias  in int32, padding counts as z_x
        real = float32(acc) · float32(s_x · s_w[m]);  behind a Q: see `codes.requantize`
    """
    if _on_codes(x, w, channel_axis=0):
        assert isinstance(x, Dequantized)
        assert isinstance(w, Dequantized)
        group = _groups(node, x.codes, w.codes, inner=1)
        window = Window.over(node, x.codes.shape[2:], w.codes.shape[2:])
        terms = math.prod(w.codes.shape[1:])
        sums = accumulate(x, w, terms, lambda a, b: convolve(a, b, window, group))
        scale = product_scale(x.scale.reshape(()), _along_channels(w.scale.reshape(-1), sums.ndim))
        return finish(sums, scale, x.dtype, _channelwise(bias, sums.ndim))
    data, weight = real(x), real(w)
    group = _groups(node, data, weight, inner=1)
    window = Window.over(node, data.shape[2:], weight.shape[2:])
    return _with_bias(convolve(*_widened(data, weight), window, group), real(bias), data.dtype)


def conv_transpose(node: ir.Node, x: Value, w: Value, bias: Value = None) -> Value:
    """ConvTranspose-22. x [N, C, spatial…], w [C, M / group, kernel…], bias [M] → [N, M, positions…].

    On codes: as `conv`, with s_w per tensor or per index j of M / group (output channels g · M / group + j).
    """
    if _on_codes(x, w, channel_axis=1):
        assert isinstance(x, Dequantized)
        assert isinstance(w, Dequantized)
        group = _groups(node, x.codes, w.codes, inner=0)
        window = Window.behind(node, x.codes.shape[2:], w.codes.shape[2:])
        terms = w.codes.shape[0] // group * math.prod(window.kernel)
        sums = accumulate(x, w, terms, lambda a, b: _spread(a, b, window, group))
        per_channel = np.tile(w.scale.reshape(-1), group if w.scale.size > 1 else 1)
        scale = product_scale(x.scale.reshape(()), _along_channels(per_channel, sums.ndim))
        return finish(sums, scale, x.dtype, _channelwise(bias, sums.ndim))
    data, weight = real(x), real(w)
    group = _groups(node, data, weight, inner=0)
    window = Window.behind(node, data.shape[2:], weight.shape[2:])
    return _with_bias(_spread(*_widened(data, weight), window, group), real(bias), data.dtype)


def convolve(x: Array, w: Array, window: Window, group: int) -> Array:
    """Sums of products [N, M, positions…] of x [N, C, spatial…] and w [M, C / group, kernel…], in their dtype."""
    x = window.pad(x)
    if w.shape[1] == 1:
        return _depthwise(x, w, window, group)
    matrix = w.reshape(group, w.shape[0] // group, -1)
    sums = [_sample(sample[np.newaxis], matrix, window, group) for sample in x]
    return np.stack(sums) if sums else np.zeros((0, w.shape[0], *window.positions), x.dtype)


def _sample(x: Array, matrix: Array, window: Window, group: int) -> Array:
    """One image at a time: the columns of a whole batch would take kernel times its memory."""
    rank = len(window.kernel)
    columns = np.moveaxis(window.unfold(x)[0], range(-rank, 0), range(1, rank + 1))
    columns = columns.reshape(group, matrix.shape[2], -1)
    return np.asarray(matrix @ columns).reshape(-1, *window.positions)


def _depthwise(x: Array, w: Array, window: Window, group: int) -> Array:
    """One input channel per output: a sum over kernel elements instead of products of thin matrices."""
    per_group, ones = w.shape[0] // group, (1,) * len(window.kernel)
    sums = np.zeros((x.shape[0], group, per_group, *window.positions), x.dtype)
    for tap, slices in window.taps():
        column: tuple[Any, ...] = (slice(None), 0, *tap)
        factors = w[column].reshape(group, per_group, *ones)
        sums += x[:, :, np.newaxis, *slices] * factors
    return sums.reshape(x.shape[0], w.shape[0], *window.positions)


def _spread(x: Array, w: Array, window: Window, group: int) -> Array:
    """The transpose of `convolve`: every element of x [N, C, spatial…] adds its kernel w [C, M / group, kernel…]."""
    n, per_group = x.shape[0], x.shape[1] // group
    matrix = np.swapaxes(w.reshape(group, per_group, *w.shape[1:]), 1, 2)
    columns = x.reshape(n, group, per_group, math.prod(window.positions))
    sums = np.zeros((n, group * w.shape[1], *window.reach), x.dtype)
    for tap, slices in window.taps():
        column: tuple[Any, ...] = (..., *tap)
        sums[:, :, *slices] += (matrix[column] @ columns).reshape(n, group * w.shape[1], *window.positions)
    return window.cut(sums)


def _groups(node: ir.Node, x: Array, w: Array, inner: int) -> int:
    """Number of groups; `inner` is the weight's axis that runs over input channels.

    Raises:
        ModelError: weight and input do not fit.
    """
    group = int(node.attributes.get_int("group", 1))
    channels = w.shape[inner] * (group if inner else 1)
    if x.ndim != w.ndim or x.ndim < 3 or x.shape[1] != channels or w.shape[0] % group:
        raise ModelError(
            f"node '{node.name}' ({node.op_type}): weight {list(w.shape)} in {group} group(s) does not fit "
            f"input {list(x.shape)}",
            fix="correct the shapes or the attribute 'group'",
        )
    return group


def _on_codes(x: Value, w: Value, channel_axis: int) -> bool:
    """Whether both are integer codes whose scales leave the summed axes alone."""
    return (
        isinstance(x, Dequantized)
        and isinstance(w, Dequantized)
        and x.accumulates
        and w.accumulates
        and _varies_along(x.scale, None)
        and _varies_along(w.scale, channel_axis)
    )


def _varies_along(scale: Array, axis: int | None) -> bool:
    """Whether a scale is the same along every axis but `axis`."""
    return all(size == 1 for i, size in enumerate(scale.shape) if i != axis)


def _channelwise(bias: Value, rank: int) -> Value:
    """A bias [M] as [1, M, 1…]."""
    if isinstance(bias, Dequantized):
        return bias.rearranged(lambda a: _along_channels(a, rank))
    return None if bias is None else _along_channels(real(bias), rank)


def _along_channels(values: Array, rank: int) -> Array:
    return values.reshape([1, -1, *(1,) * (rank - 2)])


def _with_bias(sums: Array, bias: Array | None, dtype: np.dtype[Any]) -> Array:
    total = sums if bias is None else sums + _along_channels(bias.astype(sums.dtype), sums.ndim)
    return total.astype(dtype, copy=False)


def _widened(x: Array, w: Array) -> tuple[Array, Array]:
    """float64 as it is, everything else in float32 (16-bit floats accumulate in float32 on every device)."""
    dtype = np.float64 if x.dtype == np.float64 else np.float32
    return x.astype(dtype, copy=False), w.astype(dtype, copy=False)
