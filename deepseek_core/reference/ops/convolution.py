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
from deepseek_core.reference.accumulate import Sums, accumulate, finish, is_codes, product_scale
from deepseek_core.reference.values import Array, Dequantized, Value, real, shape_of
from deepseek_core.reference.windows import Window

__all__ = ["conv", "conv_transpose", "convolve"]


def conv(node: ir.Node, x: Value, w: Value, bias: Value = None) -> Value:
    """Conv-22. x [N, C, spatial…], w [M, C / group, kernel…], bias [M] → [N, M, positions…].

    On codes, with s_w per tensor or per output channel m:
        acc = Σ (x − z_x) · (w − z_w) + bias  in int32, padding counts as z_x
        real = float32(acc) · float32(s_x · s_w[m]);  behind a Q: see `codes.requantize`
    """
    group = _groups(node, shape_of(x), shape_of(w), inner=1)
    window = Window.over(node, shape_of(x)[2:], shape_of(w)[2:])
    sums = Sums(lambda a, b: convolve(a, b, window, group), math.prod(shape_of(w)[1:]))
    return _apply(sums, x, w, bias, channel_axis=0, repeats=1)


def conv_transpose(node: ir.Node, x: Value, w: Value, bias: Value = None) -> Value:
    """ConvTranspose-22. x [N, C, spatial…], w [C, M / group, kernel…], bias [M] → [N, M, positions…].

    On codes: as `conv`, with s_w per tensor or per index j of M / group (output channels g · M / group + j).
    """
    group = _groups(node, shape_of(x), shape_of(w), inner=0)
    window = Window.behind(node, shape_of(x)[2:], shape_of(w)[2:])
    terms = shape_of(w)[0] // group * math.prod(window.kernel)
    sums = Sums(lambda a, b: _spread(a, b, window, group), terms)
    return _apply(sums, x, w, bias, channel_axis=1, repeats=group)


def _apply(sums: Sums, x: Value, w: Value, bias: Value, *, channel_axis: int, repeats: int) -> Value:
    """Sums over codes where scales leave the summed axes alone, over real numbers otherwise.

    Args:
        channel_axis: the weight's axis of output channels.
        repeats: how often that axis follows itself along the output's channels.
    """
    rank = len(shape_of(x))
    if not (is_codes(x) and is_codes(w) and _varies_along(x.scale, None) and _varies_along(w.scale, channel_axis)):
        data = real(x)
        result = sums.of(*_widened(data, real(w)))
        if bias is not None:
            result = result + _along_channels(real(bias).astype(result.dtype), rank)
        return np.asarray(result).astype(data.dtype, copy=False)
    per_channel = np.tile(w.scale.reshape(-1), repeats if w.scale.size > 1 else 1)
    scale = product_scale(x.scale.reshape(()), _along_channels(per_channel, rank))
    if isinstance(bias, Dequantized):
        bias = bias.rearranged(lambda a: _along_channels(a, rank))
    elif bias is not None:
        bias = _along_channels(real(bias), rank)
    return finish(accumulate(x, w, sums), scale, x.dtype, bias)


def convolve(x: Array, w: Array, window: Window, group: int) -> Array:
    """Sums of products [N, M, positions…] of x [N, C, spatial…] and w [M, C / group, kernel…], in their dtype."""
    x = window.pad(x)
    if w.shape[1] == 1:
        return _depthwise(x, w, window, group)
    matrix = w.reshape(group, w.shape[0] // group, math.prod(w.shape[1:]))
    sums = [_sample(sample[np.newaxis], matrix, window, group) for sample in x]
    return np.stack(sums) if sums else np.zeros((0, w.shape[0], *window.positions), x.dtype)


def _sample(x: Array, matrix: Array, window: Window, group: int) -> Array:
    """One image at a time: the columns of a whole batch would take kernel times its memory."""
    rank = len(window.kernel)
    columns = np.moveaxis(window.unfold(x)[0], range(-rank, 0), range(1, rank + 1))
    columns = columns.reshape(group, matrix.shape[2], math.prod(window.positions))
    return np.asarray(matrix @ columns).reshape(group * matrix.shape[1], *window.positions)


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


def _groups(node: ir.Node, x: tuple[int, ...], w: tuple[int, ...], inner: int) -> int:
    """Number of groups, from the shapes of input and weight; `inner` is the weight's axis of input channels.

    Raises:
        ModelError: weight and input do not fit.
    """
    group = int(node.attributes.get_int("group", 1))
    if len(x) != len(w) or len(x) < 3 or x[1] != w[inner] * (group if inner else 1) or w[0] % group:
        raise ModelError(
            f"node '{node.name}' ({node.op_type}): weight {list(w)} in {group} group(s) does not fit input {list(x)}",
            fix="correct the shapes or the attribute 'group'",
        )
    return group


def _varies_along(scale: Array, axis: int | None) -> bool:
    """Whether a scale is the same along every axis but `axis`."""
    return all(size == 1 for i, size in enumerate(scale.shape) if i != axis)


def _along_channels(values: Array, rank: int) -> Array:
    return values.reshape([1, -1, *(1,) * (rank - 2)])


def _widened(x: Array, w: Array) -> tuple[Array, Array]:
    """float64 as it is, everything else in float32 (16-bit floats accumulate in float32 on every device)."""
    dtype = np.float64 if x.dtype == np.float64 else np.float32
    return x.astype(dtype, copy=False), w.astype(dtype, copy=False)
