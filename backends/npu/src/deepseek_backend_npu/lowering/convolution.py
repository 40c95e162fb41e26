"""Conv and ConvTranspose: int8 weights, exact int32 sums, one rescaling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek_backend_npu.lowering.emitter import Emitter
from deepseek_backend_npu.lowering.numbers import bias_codes, bounds, factors, scale_zero, tosa_dtype
from deepseek_backend_npu.lowering.windows import Window, as_image, exact_input, spread_kernel, window_of
from deepseek_backend_npu.tosa import DType, Op, Tensor
from deepseek_core import Operand, Role, Unit
from deepseek_core.lowering import channels_last, constant_of, shape_of

__all__ = ["LOWERINGS", "convolve", "finish", "sums"]


def sums(x: Tensor) -> DType:
    """Type of the sums over products with codes of `x`."""
    return DType.INT48 if x.dtype is DType.INT16 else DType.INT32


def convolve(
    emitter: Emitter,
    x: Tensor,
    weight: NDArray[Any],
    bias: NDArray[np.int64],
    window: Window,
    *,
    zero: int,
    depthwise: bool = False,
) -> Tensor:
    """int32 (int48) sums of [N, H, W, C] over an exact window.

    Args:
        weight: int8 [M, H, W, C]; [H, W, C, M / C] for a depthwise one.
        bias: [M].
        zero: code of 0 in `x`, padding included.
    """
    graph, wide = emitter.graph, sums(x)
    if depthwise and (window.is_coarse or weight.shape[3] > 1):  # Vela 5.2.0 places wrong what it cuts these into
        weight, depthwise = _dense(weight), False
    operands = [
        x,
        graph.constant(weight, DType.INT8),
        graph.constant(bias, wide),
        graph.constant(np.array([zero]), x.dtype),
        graph.constant(np.array([0]), DType.INT8),
    ]
    shape = (x.shape[0], window.output(0, x.shape[1]), window.output(1, x.shape[2]), len(bias))
    op = Op.DEPTHWISE_CONV2D if depthwise else Op.CONV2D
    return graph.add(
        op,
        operands,
        shape,
        wide,
        pad=window.tosa_pads,
        stride=list(window.stride),
        dilation=list(window.dilation),
        acc_type=wide,
    )


def _dense(weight: NDArray[Any]) -> NDArray[Any]:
    """Weights [H, W, C, M / C] of a depthwise convolution as those of one over all channels, [M, H, W, C]."""
    height, width, channels, outputs = weight.shape
    dense = np.zeros((channels, outputs, height, width, channels), weight.dtype)
    for channel in range(channels):
        dense[channel, :, :, :, channel] = weight[:, :, channel].transpose(2, 0, 1)
    return dense.reshape(-1, height, width, channels)


def finish(
    emitter: Emitter, unit: Unit, total: Tensor, scales: NDArray[Any] | Sequence[float], y: Operand | None = None
) -> Tensor:
    """Codes of the unit's output (`y`) from its sums, the fused activation included."""
    y = y or unit.outputs[0]
    codes = emitter.rescale(total, tosa_dtype(y), scales, 0, scale_zero(y)[1])
    return emitter.clamp(codes, *bounds(unit, y))


def _conv(unit: Unit, emitter: Emitter) -> None:
    (x,), (weight,), y = unit.operands(Role.DATA), unit.operands(Role.WEIGHT), unit.outputs[0]
    weights, rank = constant_of(weight.value), len(shape_of(x))
    window = window_of(unit, weights.shape[2:], shape_of(x)[2:])
    image = as_image(emitter, emitter.codes(x, channels_last(rank)))
    zero = scale_zero(x)[1]
    kernels = spread_kernel(weights.reshape(*weights.shape[:2], *window.kernel), window)
    image, window = exact_input(emitter, image, window.narrow(), zero)
    scales = np.broadcast_to(factors(x, weight, y), (len(weights),))
    _define(emitter, unit, _grouped(emitter, unit, image, kernels, window=window, scales=scales))


def _grouped(
    emitter: Emitter, unit: Unit, x: Tensor, kernels: NDArray[Any], *, window: Window, scales: NDArray[Any]
) -> Tensor:
    """Codes of a convolution in groups: one, as many as channels, or each a convolution of its own.

    Args:
        kernels: [M, C / group, H, W].
        scales: [M].
    """
    groups, zero = unit.node.attributes.get_int("group", 1), scale_zero(unit.operands(Role.DATA)[0])[1]
    channels, outputs = x.shape[3] // groups, len(kernels) // groups
    bias = bias_codes(unit, len(kernels))
    if channels == 1 and groups > 1:
        depthwise = kernels.reshape(groups, outputs, *window.kernel).transpose(2, 3, 0, 1)
        total = convolve(emitter, x, depthwise, bias, window, zero=zero, depthwise=True)
        return finish(emitter, unit, total, scales)
    parts = []
    for group in range(groups):
        piece = emitter.slice(x, (0, 0, 0, group * channels), (*x.shape[:3], channels))
        own = slice(group * outputs, (group + 1) * outputs)
        total = convolve(emitter, piece, kernels[own].transpose(0, 2, 3, 1), bias[own], window, zero=zero)
        parts.append(finish(emitter, unit, total, scales[own]))
    return emitter.concat(parts, 3)


def _conv_transpose(unit: Unit, emitter: Emitter) -> None:
    """TOSA's own operator where the hardware spreads its input; else a convolution over an input with zeros between."""
    (x,), (weight,) = unit.operands(Role.DATA), unit.operands(Role.WEIGHT)
    weights = constant_of(weight.value)  # [C, M / group, kH, kW]
    window = window_of(unit, weights.shape[2:], shape_of(x)[2:])
    image = as_image(emitter, emitter.codes(x, channels_last(len(shape_of(x)))))
    kernels = weights.reshape(*weights.shape[:2], *window.kernel)
    groups = unit.node.attributes.get_int("group", 1)
    channels = kernels.shape[1] * groups
    scales = np.resize(factors(x, weight, unit.outputs[0]), channels)  # those of one group, for each
    native = groups == 1 and window.dilation == (1, 1) and window.stride in ((1, 1), (2, 2))
    # Vela 5.2.0 refuses some of fewer rows or columns, and those of int16.
    native = native and min(image.shape[1:3]) > 1 and image.dtype is DType.INT8
    transpose = _native_transpose if native else _spread_transpose
    _define(emitter, unit, transpose(unit, emitter, image, kernels, window=window, scales=scales))


def _native_transpose(
    unit: Unit, emitter: Emitter, image: Tensor, kernels: NDArray[Any], *, window: Window, scales: NDArray[Any]
) -> Tensor:
    target = _image_shape(shape_of(unit.outputs[0]))
    front, behind = _cut(image, target, window)
    graph, wide = emitter.graph, sums(image)
    operands = [
        image,
        graph.constant(kernels.transpose(1, 2, 3, 0), DType.INT8),
        graph.constant(bias_codes(unit, len(scales)), wide),
        graph.constant(np.array([scale_zero(unit.operands(Role.DATA)[0])[1]]), image.dtype),
        graph.constant(np.array([0]), DType.INT8),
    ]
    pads = [-front[0], -behind[0], -front[1], -behind[1]]
    total = graph.add(
        Op.TRANSPOSE_CONV2D, operands, target, wide, out_pad=pads, stride=list(window.stride), acc_type=wide
    )
    return finish(emitter, unit, total, scales)


def _spread_transpose(
    unit: Unit, emitter: Emitter, image: Tensor, kernels: NDArray[Any], *, window: Window, scales: NDArray[Any]
) -> Tensor:
    """Zeros between rows and columns, then a convolution with the window turned around."""
    zero = scale_zero(unit.operands(Role.DATA)[0])[1]
    kernels, window = spread_kernel(kernels, window), window.narrow()
    front, behind = _cut(image, _image_shape(shape_of(unit.outputs[0])), window)
    for axis in (0, 1):
        image = _spread(emitter, image, axis, window.stride[axis], zero)
    spans = [window.span(axis) - 1 for axis in (0, 1)]
    pads = [(spans[a] - front[a], spans[a] - behind[a] - (window.stride[a] - 1)) for a in (0, 1)]
    image = _cropped(emitter, image, pads)
    grown = ((max(pads[0][0], 0), max(pads[0][1], 0)), (max(pads[1][0], 0), max(pads[1][1], 0)))
    image, plain = exact_input(emitter, image, Window(window.kernel, (1, 1), window.dilation, grown), zero)
    groups = unit.node.attributes.get_int("group", 1)
    channels, outputs = len(kernels) // groups, kernels.shape[1]
    turned = kernels[:, :, ::-1, ::-1].reshape(groups, channels, outputs, *window.kernel)
    dense = turned.transpose(0, 2, 1, 3, 4).reshape(groups * outputs, channels, *window.kernel)
    return _grouped(emitter, unit, image, dense, window=plain, scales=scales)


def _cut(image: Tensor, target: tuple[int, ...], window: Window) -> tuple[list[int], list[int]]:
    """Rows and columns of the full result that are cut off in front and behind; below 0: added."""
    front = [window.pads[axis][0] for axis in (0, 1)]
    full = [(image.shape[1 + axis] - 1) * window.stride[axis] + window.span(axis) for axis in (0, 1)]
    return front, [full[axis] - front[axis] - target[1 + axis] for axis in (0, 1)]


def _spread(emitter: Emitter, image: Tensor, axis: int, stride: int, zero: int) -> Tensor:
    """Stride - 1 rows (axis 0) or columns (1) of zeros behind each."""
    samples, height, width, channels = image.shape
    outer, inner = (samples * height, width * channels) if axis == 0 else (samples * height * width, channels)
    flat = emitter.reshape(image, (1, outer, 1, inner))
    wide = emitter.pad(flat, ((0, 0), (0, 0), (0, stride - 1), (0, 0)), zero)
    shape = [samples, height, width, channels]
    shape[1 + axis] *= stride
    return emitter.reshape(wide, shape)


def _cropped(emitter: Emitter, image: Tensor, pads: Sequence[tuple[int, int]]) -> Tensor:
    """What negative pads leave of [N, H, W, C]."""
    start = [0, *(max(-front, 0) for front, _ in pads), 0]
    ends = [image.shape[0], *(image.shape[1 + a] + min(pads[a][1], 0) for a in (0, 1)), image.shape[3]]
    return emitter.slice(image, start, [end - begin for begin, end in zip(start, ends, strict=True)])


def _image_shape(shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    height, width = (1, shape[2]) if len(shape) == 3 else (shape[2], shape[3])
    return shape[0], height, width, shape[1]


def _define(emitter: Emitter, unit: Unit, codes: Tensor) -> None:
    y = unit.outputs[0]
    shape = shape_of(y)
    order = channels_last(len(shape))
    emitter.define(y.value, emitter.reshape(codes, [shape[axis] for axis in order]), order)


LOWERINGS = {"Conv": _conv, "ConvTranspose": _conv_transpose}
