"""Conv and ConvTranspose: windows for the matrix kernel, or the depthwise kernel where each group has one channel."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek_backend_arm.lowering.codes import scale_and_zero
from deepseek_backend_arm.lowering.emitter import Emitter, qparams_for
from deepseek_backend_arm.lowering.products import (
    Bias,
    as_declared,
    bias_of,
    finish,
    finish_real,
    held_weights,
    real_bounds,
    real_weights,
    scales_of,
    sides_of,
    sums_codes,
)
from deepseek_backend_arm.lowering.sums import Codes, CodeSums, RealSums, convolve
from deepseek_backend_arm.lowering.tensor import Tensor
from deepseek_backend_arm.lowering.windows import fits
from deepseek_core import Unit
from deepseek_core.lowering import Axis, channels_last, constant_of, shape_of, transposed_axes, window_axes

__all__ = ["LOWERINGS", "conv_problem"]


_Making = Callable[[NDArray[Any]], CodeSums | RealSums]
"""What is summed, by weights [M, C / groups, kernel…]."""


@dataclass(frozen=True, slots=True, eq=False)
class _Layer:
    """A convolution: its windows, groups and weights [M, C / groups, kernel…]."""

    axes: Sequence[Axis]
    groups: int
    weights: NDArray[Any]


def conv_problem(unit: Unit) -> str | None:
    """Why a convolution is not built; None when it is."""
    if sides_of(unit)[1].value.const_value is None:
        return "its weights are computed at run time"
    if len(shape_of(sides_of(unit)[0])) > 5:
        return "it has more than three spatial axes"
    return None if unit.op != "Conv" or fits(_axes(unit)) else "its window is larger than its padded input"


def _axes(unit: Unit) -> tuple[Axis, ...]:
    x, w = sides_of(unit)
    return window_axes(unit.node, shape_of(x)[2:], shape_of(unit.outputs[0])[2:], shape_of(w)[2:])


def _conv(unit: Unit, emitter: Emitter) -> None:
    """Emit by a function that takes the data and what to sum."""
    x, w = sides_of(unit)
    groups = unit.node.attributes.get_int("group", 1)
    weights = held_weights(w) if sums_codes(unit) else real_weights(w)
    if unit.op == "ConvTranspose":
        weights, axes = _turned(weights, groups), _axes_behind(unit)
    else:
        axes = _axes(unit)
    layer = _Layer(axes, groups, weights)
    emit = _spread if unit.op == "ConvTranspose" else _plain
    if not sums_codes(unit):
        _of_reals(unit, emitter, weights, lambda data, sums: emit(emitter, data, layer, sums))
        return
    channels = weights.shape[0]
    scale = np.asarray(_by_channel(scales_of(unit), channels))

    def make(codes: Codes | None, factors: NDArray[np.float32], bias: Bias, limits: tuple[float, float]) -> Tensor:
        def sums(part: NDArray[Any]) -> CodeSums:
            joined = np.broadcast_to(bias.joined, (channels,))
            shift = None if bias.real is None else np.broadcast_to(bias.real, (channels,)).astype(np.float32)
            return CodeSums(part, joined, factors, scale_and_zero(x)[1], codes, shift, *limits)

        return emit(emitter, emitter.codes(x), layer, sums)

    finish(unit, emitter, make, scale, bias_of(unit, scale, channels))


def _of_reals(
    unit: Unit,
    emitter: Emitter,
    weights: NDArray[Any],
    emit: Callable[[Tensor, Callable[[NDArray[Any]], RealSums]], Tensor],
) -> None:
    x, w = sides_of(unit)
    channels = weights.shape[0]
    bias = bias_of(unit, np.ones(1, np.float32), channels)
    real = None if bias.real is None else np.broadcast_to(bias.real, (channels,)).astype(np.float32)
    limits = real_bounds(unit) if bias.late is None else (-np.inf, np.inf)
    half = w.qparams is None and constant_of(w.value).dtype == np.float16
    result = emit(emitter.real(x), lambda part: RealSums(part, real, *limits, is_half=half))
    result = finish_real(unit, emitter, result, bias)
    for output in unit.outputs:
        tensor = result if output.qparams is None else emitter.quantize(result, qparams_for(output))
        emitter.define(output.value, as_declared(emitter, tensor, output.value))


def _by_channel(scale: NDArray[np.float32], channels: int) -> NDArray[np.float32]:
    """A grouped ConvTranspose has scales for the output channels of one group."""
    return np.tile(scale, channels // max(scale.size, 1))


def _plain(emitter: Emitter, x: Tensor, layer: _Layer, sums: _Making) -> Tensor:
    return convolve(emitter, x, layer.axes, layer.groups, sums(layer.weights))


def _turned(weights: NDArray[Any], groups: int) -> NDArray[Any]:
    """[C, M / groups, kernel…] → [M, C / groups, kernel…]."""
    c, m, *kernel = weights.shape
    split = weights.reshape(groups, c // groups, m, *kernel)
    return np.ascontiguousarray(split.swapaxes(1, 2).reshape(groups * m, c // groups, *kernel))


@dataclass(frozen=True, slots=True)
class _Phase:
    """Every stride-th output position along an axis: a convolution with some of the kernel's elements.

    Attributes:
        start, step: the output positions.
        axis: the window that makes them.
        taps: the kernel's elements, in the window's order; empty where none meets these positions.
    """

    start: int
    step: int
    axis: Axis
    taps: tuple[int, ...]


def _phases(axis: Axis, size: int) -> Iterator[_Phase]:
    """Of an axis of a ConvTranspose: out[i s − begin + k d] += x[i] w[k].

    Args:
        axis: `size` and `positions` are those of the output and the input.
        size: of the output.
    """
    for start in range(min(axis.stride, size)):
        found = [
            (start + axis.begin - k * axis.dilation, k)
            for k in range(axis.kernel)
            if (start + axis.begin - k * axis.dilation) % axis.stride == 0
        ][::-1]
        offsets = [reach // axis.stride for reach, _ in found] or [0]
        dilation = offsets[1] - offsets[0] if len(offsets) > 1 else 1
        positions = -(-(size - start) // axis.stride)
        window = Axis(axis.positions, positions, len(offsets), 1, dilation, -offsets[0])
        yield _Phase(start, axis.stride, window, tuple(k for _, k in found))


def _axes_behind(unit: Unit) -> tuple[Axis, ...]:
    """Windows over the output, with one position for each input element. ONNX operator ConvTranspose-22."""
    x, w = sides_of(unit)
    size, output, kernel = shape_of(x)[2:], shape_of(unit.outputs[0])[2:], shape_of(w)[2:]
    return transposed_axes(unit.node, output, size, kernel)


def _spread(emitter: Emitter, x: Tensor, layer: _Layer, sums: _Making) -> Tensor:
    """A convolution for each phase of the output, stored in steps of the stride."""
    axes, weights = layer.axes, layer.weights
    phases = list(product(*(_phases(axis, axis.size) for axis in axes)))
    results = []
    for phase in phases:
        part = weights
        for number, along in enumerate(phase):
            empty = np.zeros_like(part.take([0], 2 + number))
            part = part.take(along.taps, 2 + number) if along.taps else empty
        results.append(
            convolve(emitter, x, [along.axis for along in phase], layer.groups, sums(np.ascontiguousarray(part)))
        )
    if len(results) == 1:
        return results[0]
    shape = (x.shape[0], weights.shape[0], *(axis.size for axis in axes))
    result = emitter.new(results[0].dtype, shape, channels_last(len(shape)))
    for phase, made in zip(phases, results, strict=True):
        steps = (1, 1, *(along.step for along in phase))
        strides = tuple(step * stride for step, stride in zip(steps, result.strides, strict=True))
        offset = sum(along.start * stride for along, stride in zip(phase, result.strides[2:], strict=True))
        emitter.move(made, result, made.shape, made.strides, strides, target_offset=offset)
    return result


LOWERINGS = {"Conv": _conv, "ConvTranspose": _conv}
