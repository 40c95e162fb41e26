"""Conv: a product of matrices on matrix instructions, or the depthwise kernel where each group has one channel."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import numpy as np
from numpy.typing import NDArray

from deepseek_backend_rocm.lowering.borders import Borders
from deepseek_backend_rocm.lowering.codes import activation_bounds, bounds, is_real, scale_and_zero
from deepseek_backend_rocm.lowering.emitter import Emitter
from deepseek_backend_rocm.lowering.tensor import Tensor
from deepseek_backend_rocm.lowering.weights import bias_of, factors, padded_depth, rows
from deepseek_backend_rocm.lowering.windows import Window, window_of
from deepseek_core import Role, Unit
from deepseek_core.lowering import channels_last, constant_of, shape_of

__all__ = ["LOWERINGS", "NO_ADDEND", "POINT", "TABLE", "TAPS", "conv_problem", "conv_window", "ends", "product"]

POINT, TAPS, TABLE = 0, 1, 2
"""Ways in which the kernel finds the rows of its left matrix; see `kernels/matrix.py`."""
NO_ADDEND: dict[str, int | float] = {
    **dict.fromkeys(("addend_zero", "sum_zero"), 0),
    "sum_low": -128,
    "sum_high": 127,
    **dict.fromkeys(("own_scale", "addend_scale", "sum_scale"), 1.0),
}
ELEMENT = {"float32": "fp32", "int8": "i8"}
_FEW = 16
"""Channels of a group below which products of several taps are taken in one go."""


def conv_window(unit: Unit) -> Window:
    """The window of a Conv unit."""
    (x,), (w,), y = unit.operands(Role.DATA), unit.operands(Role.WEIGHT), unit.outputs[0]
    return window_of(unit.node, shape_of(x)[2:], shape_of(y)[2:], shape_of(w)[2:])


def conv_problem(unit: Unit) -> str | None:
    """Why a convolution that the table accepts is not built; None when it is."""
    if not conv_window(unit).fits:
        return "its window is larger than its padded input"
    groups = unit.node.attributes.get_int("group", 1)
    return f"it has {groups:,} groups; a grid has {_MOST_GROUPS:,} at most" if groups > _MOST_GROUPS else None


_MOST_GROUPS = 65535


def _conv(unit: Unit, emitter: Emitter) -> None:
    (x,), (w,), y = unit.operands(Role.DATA), unit.operands(Role.WEIGHT), unit.outputs[0]
    order = channels_last(len(shape_of(x)))
    source = emitter.ordered(emitter.tensor(x.value), order)
    result = emitter.new("int8", shape_of(y), order)
    emitter.define(y.value, result)
    weights = constant_of(w.value).astype(np.int8)
    groups = unit.node.attributes.get_int("group", 1)
    if groups == shape_of(x)[1] == weights.shape[0]:
        _depthwise(unit, emitter, source, result, weights)
    else:
        _grouped(unit, emitter, source, result, weights)


def _depthwise(unit: Unit, emitter: Emitter, source: Tensor, result: Tensor, weights: NDArray[np.int8]) -> None:
    window, channels = conv_window(unit), weights.shape[0]
    taps = weights.reshape(channels, -1).T
    places: dict[str, Tensor] = {
        "x": source,
        "w": emitter.constant(np.ascontiguousarray(taps)),
        "bias": emitter.constant(bias_of(unit, np.zeros((1, channels), np.int64)).reshape(-1)),
        "factor": emitter.constant(factors(unit, channels)),
        "y": result,
    }
    values = {**window.values(), **ends(unit), "rows": source.shape[0] * prod(window.positions), "c": channels}
    x_zero = scale_and_zero(unit.operands(Role.DATA)[0])[1]
    emitter.emit("depthwise", places, {**values, "x_zero": x_zero})


def _grouped(unit: Unit, emitter: Emitter, source: Tensor, result: Tensor, weights: NDArray[np.int8]) -> None:
    window, groups = conv_window(unit), unit.node.attributes.get_int("group", 1)
    channels, inner = weights.shape[:2]
    by_tap = weights.reshape(channels, inner, -1).transpose(0, 2, 1)
    borders = Borders.of(window)
    sums = borders.inside.astype(np.int64) @ by_tap.sum(2, dtype=np.int64).T
    mode = POINT if _is_matrix(window) else TAPS if inner >= _FEW or by_tap.shape[1] == 1 else TABLE
    if mode == TABLE:
        by_tap = by_tap.reshape(channels, 1, -1)
    depth = padded_depth(by_tap.shape[2])
    table = _table(window, inner, source.shape[1], depth) if mode == TABLE else np.zeros(1, np.int32)
    values = {
        **window.values(),
        **ends(unit),
        "rows": source.shape[0] * prod(window.positions),
        "c": inner,
        "n": channels // groups,
        "x_row": source.shape[1],
        "y_row": channels,
        "columns": borders.columns,
        "taps": by_tap.shape[1],
        "depth": depth * by_tap.shape[1],
    }
    constants = (rows(by_tap, depth), bias_of(unit, sums), factors(unit, channels), borders.classes, table)
    product(emitter, source, result, values, constants, mode=mode, groups=groups, macs=result.count * weights[0].size)


def product(
    emitter: Emitter,
    source: Tensor,
    result: Tensor,
    values: Mapping[str, int | float],
    constants: tuple[NDArray[np.generic], ...],
    *,
    mode: int,
    groups: int = 1,
    macs: int,
) -> None:
    """Emit the kernel for products with weights.

    Args:
        constants: weights, bias, factors, classes of positions, table of products.
    """
    names = ("w", "bias", "factor", "classes", "table")
    places: dict[str, Tensor] = {"x": source, "y": result, "addend": source}
    places |= {name: emitter.constant(array) for name, array in zip(names, constants, strict=True)}
    shared: dict[str, int | bool | str] = {"MODE": mode, "ADD": False, "REAL": result.dtype == "float32"}
    types = {"y": ELEMENT[result.dtype]}
    emitter.emit("conv", places, {**NO_ADDEND, **values}, constants=shared, types=types, batch=groups, macs=macs)


def ends(unit: Unit) -> dict[str, int | float]:
    """Zero point of the result, and the codes or real numbers that its activation lets through."""
    if is_real(unit):
        return {"zero": 0, "low": 0, "high": 0, **activation_bounds(unit)}
    low, high = bounds(unit)
    return {"zero": scale_and_zero(unit.outputs[0])[1], "low": low, "high": high, "real_low": 0.0, "real_high": 0.0}


def _is_matrix(window: Window) -> bool:
    """Whether positions are the input's own."""
    return window.is_point and window.strides == (1, 1)


def _table(window: Window, inner: int, pitch: int, depth: int) -> NDArray[np.int32]:
    """Vertical and horizontal place, and offset, of each product [3, depth]; padding repeats the first."""
    down, across, channel = (axis.reshape(-1) for axis in np.indices((*window.kernel, inner)))
    down, across = down * window.dilations[0], across * window.dilations[1]
    table = np.stack([down, across, (down * window.size[1] + across) * pitch + channel])
    return np.pad(table, ((0, 0), (0, depth - table.shape[1]))).astype(np.int32)


LOWERINGS = {"Conv": _conv}
