"""Poolings and reductions: exact sums, divided by the one rescaling that ends them."""

from __future__ import annotations

from math import prod

import numpy as np

from deepseek_backend_npu.lowering.convolution import convolve, finish
from deepseek_backend_npu.lowering.elementwise import to_output
from deepseek_backend_npu.lowering.emitter import Emitter
from deepseek_backend_npu.lowering.numbers import bounds, scale_zero
from deepseek_backend_npu.lowering.windows import Window, as_image, exact_input, window_of
from deepseek_backend_npu.tosa import DType, Op, Tensor
from deepseek_core import Role, Unit
from deepseek_core.lowering import canonical, channels_last, reduced_axes, shape_of

__all__ = ["LOWERINGS", "pool_problem"]

_LONGEST_PAD = 127
_LARGEST_WINDOW = 64
_LARGEST_PADDED = 8
_MIDDLE = 7
"""Fraction bits that an average keeps until its rescaling where pads make the divisor vary."""


def pool_problem(unit: Unit) -> str | None:
    """Why the NPU cannot pool like this; None when it can."""
    x, y = unit.operands(Role.DATA)[0], unit.outputs[0]
    kernel = tuple(unit.node.attributes.get_ints("kernel_shape", ()))
    sizes = shape_of(x)[2:]
    window = window_of(unit, kernel, sizes)
    image = (1, *sizes) if len(sizes) == 1 else (sizes[0], sizes[1])
    if window.dilation != (1, 1):
        return "pooling has no dilation"
    if [window.output(axis, image[axis]) for axis in (0, 1)][2 - len(sizes) :] != list(shape_of(y)[2:]):
        return "its last window lies outside of the image"
    if unit.op == "MaxPool":
        return None
    exact = window.exact(image)[0]
    if exact.pads == ((0, 0), (0, 0)):
        return None
    if unit.node.attributes.get_int("count_include_pad", 0):
        hangs = any(exact.pads[axis][1] > window.pads[axis][1] for axis in (0, 1))
        return "its last window hangs over the pads that it counts" if hangs else None
    if window.is_coarse:
        return "an average with pads cannot have strides above 3"
    if max(kernel) > _LARGEST_PADDED:
        return f"an average over more than {_LARGEST_PADDED} elements along an axis cannot have pads"
    return None


def _max_pool(unit: Unit, emitter: Emitter) -> None:
    (x,), y = unit.operands(Role.DATA), unit.outputs[0]
    image = as_image(emitter, emitter.codes(x, channels_last(len(shape_of(x)))))
    kernel = tuple(unit.node.attributes.get_ints("kernel_shape", ()))
    window = window_of(unit, kernel, shape_of(x)[2:])
    lowest = -128 if image.dtype is DType.INT8 else -32768
    image, window = exact_input(emitter, image, window, lowest, longest=_LONGEST_PAD)
    emitter_shape = _pooled(image, window)
    attributes = {"kernel": list(window.kernel), "stride": list(window.stride), "pad": window.tosa_pads}
    codes = emitter.graph.add(Op.MAX_POOL2D, [image], emitter_shape, image.dtype, **attributes)
    _define(emitter, unit, emitter.clamp(to_output(emitter, x, codes, y), *bounds(unit, y)))


def _average_pool(unit: Unit, emitter: Emitter) -> None:
    (x,) = unit.operands(Role.DATA)
    image = as_image(emitter, emitter.codes(x, channels_last(len(shape_of(x)))))
    kernel = tuple(unit.node.attributes.get_ints("kernel_shape", ()))
    window = window_of(unit, kernel, shape_of(x)[2:])
    zero, scale = scale_zero(x)[1], float(scale_zero(x)[0])
    exact = window.exact((image.shape[1], image.shape[2]))[0]
    if any(max(pads) for pads in exact.pads) and not unit.node.attributes.get_int("count_include_pad", 0):
        codes = _ragged_average(unit, emitter, image, window)
    else:
        image, window = exact_input(emitter, image, window, zero)
        total = _window_sum(emitter, image, window, zero)
        codes = finish(emitter, unit, total, [scale / prod(window.kernel) / float(scale_zero(unit.outputs[0])[0])])
    _define(emitter, unit, codes)


def _ragged_average(unit: Unit, emitter: Emitter, image: Tensor, window: Window) -> Tensor:
    """Averages over as many elements as the window has inside the image, with fraction bits until the end."""
    (x,), y = unit.operands(Role.DATA), unit.outputs[0]
    scale, zero = scale_zero(x)
    window, used = window.exact((image.shape[1], image.shape[2]))
    image = emitter.slice(image, (0, 0, 0, 0), (image.shape[0], *used, image.shape[3]))
    bits = _MIDDLE if image.dtype is DType.INT8 else 0
    wide = emitter.rescale(image, DType.INT16, [float(1 << bits)], zero, 0)
    zeros = [emitter.graph.constant(np.array([0]), DType.INT16)] * 2
    attributes = {"kernel": list(window.kernel), "stride": list(window.stride), "pad": window.tosa_pads}
    mean = emitter.graph.add(Op.AVG_POOL2D, [wide, *zeros], _pooled(image, window), DType.INT16, **attributes)
    return finish(emitter, unit, mean, [float(scale / scale_zero(y)[0]) / (1 << bits)])


def _window_sum(emitter: Emitter, image: Tensor, window: Window, zero: int) -> Tensor:
    """int32 sums of differences to the zero point: a depthwise convolution with ones."""
    channels = image.shape[3]
    ones = np.ones((*window.kernel, channels, 1), np.int8)
    return convolve(emitter, image, ones, np.zeros(channels, np.int64), window, zero=zero, depthwise=True)


def _global_average(unit: Unit, emitter: Emitter) -> None:
    (x,), y = unit.operands(Role.DATA), unit.outputs[0]
    image = as_image(emitter, emitter.codes(x, channels_last(len(shape_of(x)))))
    height, width = image.shape[1:3]
    if max(height, width) <= _LARGEST_WINDOW:
        total = _window_sum(emitter, image, _whole(height, width), scale_zero(x)[1])
    else:
        total = _reduced(emitter, emitter.widen(image, scale_zero(x)[1]), Op.REDUCE_SUM, (1, 2))
    factor = float(scale_zero(x)[0]) / (height * width) / float(scale_zero(y)[0])
    _define(emitter, unit, finish(emitter, unit, total, [factor]))


def _global_max(unit: Unit, emitter: Emitter) -> None:
    (x,), y = unit.operands(Role.DATA), unit.outputs[0]
    image = as_image(emitter, emitter.codes(x, channels_last(len(shape_of(x)))))
    codes = _reduced(emitter, image, Op.REDUCE_MAX, (1, 2))
    _define(emitter, unit, to_output(emitter, x, codes, y))


def _reduce_mean(unit: Unit, emitter: Emitter) -> None:
    (x,), y = unit.operands(Role.DATA), unit.outputs[0]
    shape = shape_of(x)
    axes = reduced_axes(unit.node, len(shape))
    order = emitter.order(x.value) or canonical(len(shape))
    codes = emitter.codes(x, order)
    if len(shape) == 4 and order == channels_last(4) and axes == (2, 3) and max(shape[2:]) <= _LARGEST_WINDOW:
        total = _window_sum(emitter, codes, _whole(shape[2], shape[3]), scale_zero(x)[1])
    else:
        places = tuple(order.index(axis) for axis in axes)
        total = _reduced(emitter, emitter.widen(codes, scale_zero(x)[1]), Op.REDUCE_SUM, places)
    factor = float(scale_zero(x)[0]) / prod(shape[axis] for axis in axes) / float(scale_zero(y)[0])
    result = finish(emitter, unit, total, [factor])
    if unit.node.attributes.get_int("keepdims", 1):
        emitter.define(y.value, result, order)
        return
    left = [axis for axis in order if axis not in axes]
    kept = tuple(sorted(left).index(axis) for axis in left)
    emitter.define(y.value, emitter.reshape(result, [shape[axis] for axis in left]), kept)


def _reduced(emitter: Emitter, x: Tensor, op: Op, axes: tuple[int, ...]) -> Tensor:
    for axis in axes:
        shape = [1 if position == axis else size for position, size in enumerate(x.shape)]
        x = emitter.graph.add(op, [x], shape, x.dtype, axis=axis)
    return x


def _whole(height: int, width: int) -> Window:
    return Window((height, width), (1, 1), (1, 1), ((0, 0), (0, 0)))


def _pooled(image: Tensor, window: Window) -> tuple[int, ...]:
    sizes = [window.output(axis, image.shape[1 + axis]) for axis in (0, 1)]
    return (image.shape[0], *sizes, image.shape[3])


def _define(emitter: Emitter, unit: Unit, codes: Tensor) -> None:
    y = unit.outputs[0]
    shape = shape_of(y)
    order = channels_last(len(shape))
    emitter.define(y.value, emitter.reshape(codes, [shape[axis] for axis in order]), order)


LOWERINGS = {
    "AveragePool": _average_pool,
    "GlobalAveragePool": _global_average,
    "GlobalMaxPool": _global_max,
    "MaxPool": _max_pool,
    "ReduceMean": _reduce_mean,
}
