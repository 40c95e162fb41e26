"""MaxPool, AveragePool, and the global pools.

onnx.reference visits every window in a Python loop (seconds for one layer of a real network) and, in ceil mode,
splits the missing padding between both ends, while the operator's windows start at the begin and reach over the end.
Its GlobalMaxPool takes the last two axes, whatever the rank, and it has no GlobalLpPool.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx_ir as ir

from deepseek_core.reference.values import Array, Value, real
from deepseek_core.reference.windows import Window

__all__ = ["average_pool", "global_average_pool", "global_lp_pool", "global_max_pool", "max_pool"]


def max_pool(node: ir.Node, x: Value) -> tuple[Value, ...]:
    """MaxPool-22: largest real number of each window [N, C, positions…]; padding never wins. Indices on demand."""
    data = real(x)
    window = _window(node, data)
    views = window.unfold(window.pad(data, _lowest(data.dtype)))
    largest = views.max(_kernel_axes(window))
    if len(node.outputs) < 2:
        return (largest,)
    flat = views.reshape(*data.shape[:2], *window.positions, math.prod(window.kernel))
    return largest, _indices(node, data, window, flat.argmax(-1))


def average_pool(node: ir.Node, x: Value) -> Value:
    """AveragePool-22: mean over each window, in float32 or wider.

    The divisor counts the elements inside the input, and with `count_include_pad` also those inside the padding.
    """
    data = real(x)
    window = _window(node, data)
    wide, axes = _wide(data), _kernel_axes(window)
    sums = window.unfold(window.pad(wide)).sum(axes)
    inside = np.ones((1, 1, *data.shape[2:]), wide.dtype)
    if node.attributes.get_int("count_include_pad", 0):
        pads = [(0, 0), (0, 0), *zip(window.begin, window.end, strict=True)]
        counts = window.unfold(window.extend(np.pad(inside, pads, constant_values=1))).sum(axes)
    else:
        counts = window.unfold(window.pad(inside)).sum(axes)
    return np.asarray(sums / counts).astype(data.dtype)


def global_average_pool(node: ir.Node, x: Value) -> Value:
    """GlobalAveragePool-22: mean over the spatial axes, kept as axes of size 1, in float32 or wider."""
    data = real(x)
    return np.asarray(_wide(data).mean(tuple(range(2, data.ndim)), keepdims=True)).astype(data.dtype)


def global_lp_pool(node: ir.Node, x: Value) -> Value:
    """GlobalLpPool-22: p-norm over the spatial axes, kept as axes of size 1, in float32 or wider."""
    data, p = real(x), node.attributes.get_int("p", 2)
    sums = (np.abs(_wide(data)) ** p).sum(tuple(range(2, data.ndim)), keepdims=True)
    return np.asarray(sums ** (1 / p)).astype(data.dtype)


def global_max_pool(node: ir.Node, x: Value) -> Value:
    """GlobalMaxPool-22: largest real number over the spatial axes, kept as axes of size 1."""
    data = real(x)
    return np.asarray(data.max(tuple(range(2, data.ndim)), keepdims=True))


def _wide(x: Array) -> Array:
    """float64 as it is, everything else in float32."""
    return x if x.dtype == np.float64 else x.astype(np.float32)


def _kernel_axes(window: Window) -> tuple[int, ...]:
    return tuple(range(-len(window.kernel), 0))


def _window(node: ir.Node, x: Array) -> Window:
    return Window.over(node, x.shape[2:], tuple(node.attributes["kernel_shape"].as_ints()))


def _lowest(dtype: np.dtype[Any]) -> float:
    return float(np.iinfo(dtype).min) if dtype.kind in "iu" else -np.inf


def _indices(node: ir.Node, x: Array, window: Window, winners: Array) -> Array:
    """Index of each winner in the flattened input; with storage_order 1 the spatial part is column-major."""
    within = np.unravel_index(winners, window.kernel)
    places = np.meshgrid(*(np.arange(n) for n in window.positions), indexing="ij")
    rows = zip(places, window.strides, within, window.dilations, window.begin, strict=True)
    coordinates = tuple(place * stride + tap * dilation - begin for place, stride, tap, dilation, begin in rows)
    spatial = x.shape[2:]
    flat = np.ravel_multi_index(coordinates, spatial, order="F" if node.attributes.get_int("storage_order", 0) else "C")
    image = np.arange(x.shape[0] * x.shape[1]).reshape(*x.shape[:2], *(1,) * len(spatial))
    return np.asarray(image * math.prod(spatial) + flat, np.int64)
